"""Tables and figures. Reads what the stages left on disk; never loads a model."""
