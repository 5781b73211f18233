"""Tiny encoders, built once."""

import pytest

from gexsent.encoders.text import load_text_encoder
from gexsent.encoders.vision import load_vision_encoder


@pytest.fixture(scope="session")
def tiny_text():
    return load_text_encoder("tiny-modernbert", max_tokens=32)


@pytest.fixture(scope="session")
def tiny_vision():
    return load_vision_encoder("tiny-clip")
