"""Why a trained model says what it says: relevance of tokens, ways to test it, and an explanation of one's own post."""
