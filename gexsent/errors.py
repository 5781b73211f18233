"""The one exception that means "your input, not our code": its message says where and what to do."""


class DataError(ValueError):
    """Input cannot be used. The message names the file, the row or key, and the remedy."""
