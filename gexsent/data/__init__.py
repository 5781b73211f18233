"""From whatever files a user has to one checked table."""
