"""Packing a padded batch and padding it again, where the mask can be read and where it cannot."""

import pytest
import torch

from gexsent.model.rows import Rows, join

MASK = torch.tensor([[True, False, True], [False, False, False], [True, True, False]])


@pytest.fixture(params=["read", "unread"])
def rows(request):
    if request.param == "unread":
        request.getfixturevalue("unread")
    return Rows(MASK)


@pytest.fixture
def tokens():
    tokens = torch.randn(3, 3, 2, generator=torch.Generator().manual_seed(0))
    return torch.where(MASK.unsqueeze(-1), tokens, float("nan")).requires_grad_()


def real(rows, values):
    return values if rows.real is None else values[rows.real]


def test_real_tokens_stand_in_order_and_come_back_to_their_places(rows, tokens):
    packed = rows.pack(tokens)
    assert torch.equal(real(rows, packed), tokens[MASK])
    assert packed.isfinite().all()
    assert torch.equal(rows.pad(packed), torch.where(MASK.unsqueeze(-1), tokens, 0))


def test_gradients_pass_to_real_tokens_alone(rows, tokens):
    rows.pad(rows.pack(tokens).square()).sum().backward()
    assert torch.equal(tokens.grad, torch.where(MASK.unsqueeze(-1), 2 * tokens.detach(), 0))


def test_each_row_knows_its_sample(rows):
    found = rows.each(torch.tensor([5.0, 6.0, 7.0]))
    assert real(rows, found).tolist() == [[5], [5], [7], [7]]


def test_several_masks_one_after_the_other(rows):
    joined = join(rows, rows)
    assert joined is None if rows.real is None else torch.equal(joined, torch.cat([MASK.flatten()] * 2))
