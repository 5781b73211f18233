"""Tables of one's own posts: read, learned from and scored, whatever their columns are called."""
