"""Metrics, which know arrays and not models, and scores of saved predictions."""
