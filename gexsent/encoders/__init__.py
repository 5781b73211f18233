"""Frozen encoders behind one small interface. Nothing else in the library imports transformers or open_clip."""
