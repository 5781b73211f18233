"""Gated attention against plain numpy, sample by sample and head by head."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gexsent.model.attention import SHORT, CrossAttention, GatedAttention, ShortAttention, attend
from gexsent.model.rows import Rows


@pytest.fixture(scope="session")
def plain_attention(softmax):
    """(L, d), (M, d), (M, d) -> (L, d) in `heads` heads."""

    def attention(query, key, value, heads):
        parts = [np.split(x, heads, axis=1) for x in (query, key, value)]
        mixed = [softmax(q @ k.T / np.sqrt(q.shape[1])) @ v for q, k, v in zip(*parts, strict=True)]
        return np.concatenate(mixed, 1)

    return attention


@pytest.fixture(scope="session")
def plain_cross(plain_attention):
    def cross(w, tokens, other, heads, prefix=""):
        def linear(name, x):
            return x @ w[f"{prefix}{name}.weight"].T + w[f"{prefix}{name}.bias"]

        other = other if len(other) else w[f"{prefix}nothing"][None]
        key, value = np.split(linear("key_value", other), 2, axis=1)
        return linear("out", plain_attention(linear("query", tokens), key, value, heads))

    return cross


@pytest.fixture(scope="session")
def plain_block(plain_attention, plain_cross, layer_norm, gelu):
    """One sample without padding: (L, d), (M, d) -> tokens (L, d), gates (L,). No weights for the gate: it is 1."""

    def block(w, tokens, other, heads):
        def linear(name, x):
            return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

        def norm(name, x):
            return layer_norm(x, w[f"{name}.weight"], w[f"{name}.bias"])

        tokens = tokens + plain_cross(w, norm("norm_in", tokens), other, heads, "cross.")
        normed = norm("norm_gate", tokens)
        gate = 1 / (1 + np.exp(-linear("gate", normed))) if "gate.weight" in w else np.ones((len(tokens), 1))  # (L, 1)
        query, key, value = np.split(linear("query_key_value", normed), 3, axis=1)
        tokens = tokens + linear("out", plain_attention(query * gate, key * gate, value, heads))
        inner = gelu(linear("feed_forward.1", norm("feed_forward.0", tokens)))
        return tokens + linear("feed_forward.3", inner), gate[:, 0]

    return block


@pytest.fixture(scope="session")
def gated(shake):
    return shake(GatedAttention(8, heads=2))


lengths = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=3)


@settings(max_examples=20, deadline=None)
@given(
    lengths=lengths,
    heads=st.sampled_from([1, 2, 4]),
    live=st.booleans(),
    extra=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_block_against_plain_numpy(make_batch, shake, arrays, plain_block, lengths, heads, live, extra, seed):
    block = shake(GatedAttention(8, heads=heads, live=live), seed)
    text, vision = zip(*lengths, strict=True)
    batch = make_batch(text, vision, seed=seed, extra=extra, fill=3.0, widths=(8, 8))
    tokens, gates = block(*batch)
    w = arrays(block)
    for b, (own, other) in enumerate(lengths):
        if own:
            expected, gate = plain_block(
                w, batch.text[b, :own].double().numpy(), batch.vision[b, :other].double().numpy(), heads
            )
            np.testing.assert_allclose(tokens[b, :own].detach(), expected, atol=2e-5)
            np.testing.assert_allclose(gates[b, :own].detach(), gate, atol=1e-5)
        assert (tokens[b, own:] == 0).all()
        assert (gates[b, own:] == 0).all()


def test_cross_attention_against_plain_numpy(make_batch, shake, arrays, plain_cross):
    cross = shake(CrossAttention(8, heads=4))
    batch = make_batch((3, 3, 3), (2, 4, 0), extra=2, fill=5.0, widths=(8, 8))
    rows = Rows(batch.text_mask)
    result = rows.pad(cross(rows.pack(batch.text), rows, batch.vision, batch.vision_mask))
    for b, other in enumerate((2, 4, 0)):
        tokens, seen = batch.text[b, :3].double().numpy(), batch.vision[b, :other].double().numpy()
        np.testing.assert_allclose(result[b, :3].detach(), plain_cross(arrays(cross), tokens, seen, 4), atol=1e-5)


def test_absence_is_one_learned_vector_and_plays_no_part_elsewhere(make_batch, shake):
    cross = shake(CrossAttention(8, heads=2))
    present, absent = (make_batch((3,), (n,), widths=(8, 8)) for n in (2, 0))
    for batch, expected in ((present, False), (absent, True)):
        cross.zero_grad()
        rows = Rows(batch.text_mask)
        cross(rows.pack(batch.text), rows, batch.vision, batch.vision_mask).sum().backward()
        assert bool(cross.nothing.grad.abs().sum() > 0) is expected


def test_gates_lie_between_0_and_1_and_differ_between_tokens(gated, make_batch):
    batch = make_batch((6, 5), (3, 3), widths=(8, 8))
    _, gates = gated(*batch)
    real = gates[batch.text_mask]
    assert ((real > 0) & (real < 1)).all()
    assert real[:6].std() > 1e-2


def test_gates_that_are_not_live_are_all_1_and_cost_no_weights(gated, make_batch):
    """As if the live gates were wide open."""
    dead = GatedAttention(8, heads=2, live=False)
    dead.load_state_dict({k: v for k, v in gated.state_dict().items() if not k.startswith("gate.")})
    batch = make_batch((4, 2, 0), (3, 0, 2), extra=1, fill=9.0, widths=(8, 8))
    tokens, gates = dead(*batch)
    assert torch.equal(gates, batch.text_mask.to(gates.dtype))
    open_ = GatedAttention(8, heads=2)
    open_.load_state_dict(gated.state_dict())
    with torch.no_grad():
        open_.gate.weight.zero_()
        open_.gate.bias.fill_(40.0)
    torch.testing.assert_close(open_(*batch)[0], tokens)
    assert not torch.allclose(gated(*batch)[0], tokens, atol=1e-3)


def test_gates_change_when_the_other_modality_changes(gated, make_batch):
    batch = make_batch((6, 5), (3, 3), widths=(8, 8))
    _, gates = gated(*batch)
    _, others = gated(batch.text, batch.text_mask, batch.vision.flip(0), batch.vision_mask)
    _, alone = gated(batch.text, batch.text_mask, batch.vision, torch.zeros_like(batch.vision_mask))
    assert (gates - others).abs().max() > 1e-2
    assert (gates - alone).abs().max() > 1e-2


def test_the_gate_scales_queries_and_keys(gated, make_batch, arrays, layer_norm):
    """With the gates shut, all keys look alike: every token reads the plain mean of the values."""
    shut = GatedAttention(8, heads=2)
    shut.load_state_dict(gated.state_dict())
    with torch.no_grad():
        shut.gate.weight.zero_()
        shut.gate.bias.fill_(-40.0)
    inputs = []
    shut.out.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    normed = []
    shut.norm_gate.register_forward_hook(lambda module, args, result: normed.append(result))
    batch = make_batch((4,), (3,), widths=(8, 8))
    shut(*batch)
    w = arrays(shut)
    values = (normed[0].detach().double().numpy() @ w["query_key_value.weight"].T + w["query_key_value.bias"])[:, 16:]
    np.testing.assert_allclose(inputs[0].detach(), np.repeat(values.mean(0)[None], 4, 0), atol=1e-5)


def test_heads_split_the_width(gated, make_batch):
    batch = make_batch((4,), (3,), widths=(8, 8))
    other = GatedAttention(8, heads=4)
    other.load_state_dict(gated.state_dict())
    assert not torch.allclose(gated(*batch)[0], other(*batch)[0], atol=1e-4)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match=r"heads \(3\).*width \(8\)"):
        GatedAttention(8, heads=3)


def test_every_parameter_gets_gradient(shake, make_batch):
    block = shake(GatedAttention(8, heads=2))
    batch = make_batch((6, 5), (3, 0), widths=(8, 8))
    block(*batch)[0].square().sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_where_the_mask_is_not_read_the_block_gives_the_same(request, make_batch, shake):
    """As on a GPU: every position is computed, and the library's own kernel mixes the values."""
    batch = make_batch((4, 2, 0), (3, 0, 2), extra=1, fill=float("nan"), widths=(8, 8))
    found = []
    for _ in range(2):
        block = shake(GatedAttention(8, heads=2))
        tokens, gates = block(*batch)
        tokens.square().sum().backward()
        found.append([tokens.detach(), gates.detach(), *(parameter.grad for parameter in block.parameters())])
        request.getfixturevalue("unread")
    for read, unread in zip(*found, strict=True):
        torch.testing.assert_close(read, unread, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("keys", [3, SHORT, SHORT + 1])
def test_short_and_long_attention_are_the_same(plain_attention, keys):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, n, 8, generator=generator) for n in (5, keys, keys))
    mask = torch.arange(keys) < torch.tensor([[keys], [2]])
    found = attend(query, key, value, mask, 2)
    for b, there in enumerate(mask):
        parts = query[b].double().numpy(), *(x[b, there].double().numpy() for x in (key, value))
        np.testing.assert_allclose(found[b], plain_attention(*parts, 2), atol=1e-5)


def test_gradients_of_short_attention():
    generator = torch.Generator().manual_seed(0)
    shapes = (3, 4, 2), (3, 5, 2), (3, 5, 2)
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]
    hidden = torch.zeros(3, 1, 5, dtype=torch.float64).index_fill(2, torch.tensor([1]), -torch.inf)
    assert torch.autograd.gradcheck(lambda *parts: ShortAttention.apply(*parts, hidden), inputs)
