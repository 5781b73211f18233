"""Counted costs, against products counted by hand."""

import pytest
import torch
from torch import nn

from gexsent.model import SYSTEMS, ModelConfig, build, fine_tuned
from gexsent.model.cost import multiply_adds, parameters, typical_batch

TEXT, VISION = 7, 3  # tokens
DT, DV, D, HIDDEN, HEADS = 6, 5, 8, 4, 2


class Read(nn.Module):
    """A module of the library as a model: it reads the text."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, batch):
        return self.inner(batch.text)


@pytest.fixture
def batch():
    return typical_batch((TEXT, DT), (VISION, DV))


def config(system, **changes):
    sizes = {"text_features": DT, "vision_features": DV, "outputs": {"intensity": 1, "sentiment": 3}, "width": D}
    sizes |= {"experts": 3, "expert_width": HIDDEN, "top_k": 2, "attention_heads": HEADS, "dropout": 0.1}
    sizes |= {"balance_weight": 0.01, "z_weight": 0.001, "group_weight": 0.01, "temporal": False, "frames": 4}
    return ModelConfig(system=system, **(sizes | changes))


def cost(system, batch, **changes):
    return multiply_adds(build(config(system, **changes)).eval(), batch)


def test_a_linear_layer_and_its_weights(batch):
    model = Read(nn.Linear(DT, 11))
    assert multiply_adds(model.eval(), batch) == TEXT * DT * 11
    assert parameters(model) == DT * 11 + 11
    assert parameters(model.requires_grad_(False)) == DT * 11 + 11


def test_fused_kernels_count_for_what_they_compute(batch):
    lstm = nn.LSTM(DT, 5, num_layers=2, batch_first=True)
    assert multiply_adds(Read(lstm).eval(), batch) == TEXT * 4 * (DT * 5 + 5 * 5 + 5 * 5 + 5 * 5)
    gru = nn.GRU(DT, 5, batch_first=True, bidirectional=True)
    assert multiply_adds(Read(gru).eval(), batch) == TEXT * 2 * 3 * (DT * 5 + 5 * 5)

    class Attention(nn.MultiheadAttention):
        def forward(self, tokens):
            return super().forward(tokens, tokens, tokens, need_weights=False)

    attention = Attention(DT, 2, batch_first=True)
    assert multiply_adds(Read(attention).eval(), batch) == 4 * TEXT * DT * DT + 2 * TEXT * TEXT * DT


def test_the_fast_kernels_are_back_afterwards(batch):
    before = torch.backends.mkldnn.enabled  # arithmetic.py may have switched it off
    try:
        for enabled in (True, False):
            torch.backends.mkldnn.set_flags(enabled)
            multiply_adds(Read(nn.Linear(DT, 11)).eval(), batch)
            assert torch.backends.mha.get_fastpath_enabled()
            assert torch.backends.mkldnn.enabled is enabled
    finally:
        torch.backends.mkldnn.set_flags(before)


def test_text_only_by_hand(batch):
    """Projection, pooling query, pooled sum, hidden layer, two heads."""
    tokens = TEXT * (DT * D + D + D)
    assert cost("text_only", batch) == tokens + D * D + D * (1 + 3)


def test_experts_that_are_not_chosen_cost_their_router_row_alone(batch):
    """Twice the experts, of which as many are chosen: one product more a token and group for each that is there."""
    routed = 2 * (TEXT + VISION)  # tokens that a group of its own sees, and then the shared one
    assert cost("gexsent", batch, experts=6) - cost("gexsent", batch) == 3 * D * routed
    # One more is chosen: its two layers (the first twice as wide, for its gate). Its weight in the sum is no product.
    one = D * 2 * HIDDEN + HIDDEN * D
    assert cost("gexsent", batch, top_k=3) - cost("gexsent", batch) == one * routed


def test_weights_that_are_there_count_whether_or_not_they_run():
    small, large = (build(config("gexsent", experts=experts)) for experts in (3, 6))
    expert = D * 2 * HIDDEN + 2 * HIDDEN + HIDDEN * D + D
    assert parameters(large) - parameters(small) == 3 * 3 * (expert + D)


@pytest.mark.parametrize("system", [name for name in SYSTEMS if not fine_tuned(name)])
def test_every_system_is_counted_and_the_values_of_the_sample_do_not_matter(system, batch):
    model = build(config(system)).eval()
    count = multiply_adds(model, batch)
    assert count > 0
    other = batch._replace(text=torch.randn_like(batch.text), vision=torch.randn_like(batch.vision))
    assert multiply_adds(model, other) == count


def test_layers_of_a_text_encoder_that_are_tuned_are_the_system_s_own(batch):
    class Layer(nn.Linear):
        def forward(self, states, mask):
            return super().forward(states)

    tuned, frozen = build(config("gexsent_finetuned"), Layer(DT, DT)).eval(), build(config("gexsent")).eval()
    assert multiply_adds(tuned, batch) - multiply_adds(frozen, batch) == TEXT * DT * DT
    assert parameters(tuned) - parameters(frozen) == DT * DT + DT


def test_an_absent_modality_and_longer_text():
    absent = typical_batch((TEXT, DT), (0, DV))
    assert absent.vision.shape == (1, 1, DV) and not absent.vision_mask.any()
    assert absent.text_mask.all() and absent.text.shape == (1, TEXT, DT)
    longer = typical_batch((TEXT + 1, DT), (0, DV))
    assert cost("text_only", longer) - cost("text_only", absent) == DT * D + 2 * D
    assert cost("released", longer) == cost("released", absent)  # padded to 24 tokens either way


def test_training_mode_is_refused(batch):
    with pytest.raises(ValueError, match="training mode"):
        multiply_adds(build(config("text_only")).train(), batch)
