"""The batch that goes into every model, the masked mean, and the largest of a row."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gexsent.model.batch import Output, best, masked_mean


def test_masked_mean_by_hand():
    tokens = torch.tensor([[[1.0, 10.0], [3.0, 30.0], [99.0, 99.0]]])
    mask = torch.tensor([[True, True, False]])
    assert masked_mean(tokens, mask).tolist() == [[2.0, 20.0]]


def test_weights_are_normalised_over_the_real_tokens():
    tokens = torch.tensor([[[1.0], [5.0], [100.0]]])
    mask = torch.tensor([[True, True, False]])
    weights = torch.tensor([[0.1, 0.3, 7.0]])
    assert masked_mean(tokens, mask, weights).item() == pytest.approx((0.1 * 1 + 0.3 * 5) / 0.4)


def test_no_token_gives_zeros():
    tokens = torch.full((1, 2, 3), float("nan"))
    assert masked_mean(tokens, torch.zeros(1, 2, dtype=torch.bool)).tolist() == [[0.0, 0.0, 0.0]]


@settings(max_examples=25, deadline=None)
@given(mask=st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_masked_mean_is_the_mean_of_the_selected_rows(mask, seed):
    mask = np.array(mask)
    tokens = np.random.default_rng(seed).normal(size=(*mask.shape, 3))
    hidden = np.where(mask[..., None], tokens, np.nan)  # what is masked out must not matter, not even as NaN
    result = masked_mean(torch.tensor(hidden), torch.tensor(mask)).numpy()
    for row, keep, found in zip(tokens, mask, result, strict=True):
        assert found == pytest.approx(row[keep].mean(0) if keep.any() else np.zeros(3))


def test_to_moves_every_tensor(make_batch):
    moved = make_batch().to("meta")
    assert [tensor.device.type for tensor in moved] == ["meta"] * 4
    assert moved._fields == ("text", "text_mask", "vision", "vision_mask")


def test_an_output_needs_heads_only():
    first, second = Output(heads={}), Output(heads={})
    assert (first.losses, first.gates, first.shares, first.usage) == ({}, {}, None, {})
    assert first.losses is not second.losses


def test_of_equally_probable_experts_the_first_are_chosen():
    values, places = best(torch.tensor([[0.2, 0.4, 0.4], [0.3, 0.3, 0.3]]), 2)
    assert places.tolist() == [[1, 2], [0, 1]]
    torch.testing.assert_close(values, torch.tensor([[0.4, 0.4], [0.3, 0.3]]))
