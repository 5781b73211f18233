"""Token input, attention pooling and heads."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gexsent.model.parts import AttentionPool, Heads, TokenInput


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru(sequence, w, suffix):
    """(L, d) -> (L, hidden): one direction of torch's GRU, step by step (gates in the order reset, update, new)."""
    w_ih, w_hh = w[f"order.weight_ih_l0{suffix}"], w[f"order.weight_hh_l0{suffix}"]
    b_ih, b_hh = w[f"order.bias_ih_l0{suffix}"], w[f"order.bias_hh_l0{suffix}"]
    hidden, steps = np.zeros(w_hh.shape[1]), []
    for x in sequence:
        (r_x, u_x, n_x), (r_h, u_h, n_h) = np.split(w_ih @ x + b_ih, 3), np.split(w_hh @ hidden + b_hh, 3)
        update = sigmoid(u_x + u_h)
        hidden = (1 - update) * np.tanh(n_x + sigmoid(r_x + r_h) * n_h) + update * hidden
        steps.append(hidden)
    return np.stack(steps)


@pytest.fixture
def tokens_in(shake):
    def make(temporal=False, dropout=0.0):
        module = shake(TokenInput(5, 8, dropout=dropout, temporal=temporal)).eval()
        module.standardise(torch.linspace(-1, 1, 5), torch.linspace(0.5, 2, 5))
        return module

    return make


@pytest.fixture
def oracle(arrays, layer_norm):
    def oracle(module, sequence, temporal):
        w = arrays(module)
        scaled = (sequence - np.linspace(-1, 1, 5)) / np.linspace(0.5, 2, 5)
        hidden = layer_norm(scaled @ w["project.weight"].T + w["project.bias"], w["norm.weight"], w["norm.bias"])
        if temporal:
            backward = gru(hidden[::-1], w, "_reverse")[::-1]
            hidden = hidden + np.concatenate([gru(hidden, w, ""), backward], 1)
        return hidden

    return oracle


@pytest.mark.parametrize("temporal", [False, True])
def test_token_input_against_plain_numpy(tokens_in, oracle, make_batch, temporal):
    lengths = (3, 5, 0, 1)
    batch = make_batch(vision=lengths, text=lengths, extra=2, fill=float("nan"))
    module = tokens_in(temporal)
    result = module(batch.vision, batch.vision_mask)
    assert result.shape == (4, 7, 8)
    for row, length, found in zip(batch.vision, lengths, result, strict=True):
        if length:
            expected = oracle(module, row[:length].double().numpy(), temporal)
            np.testing.assert_allclose(found[:length].detach(), expected, atol=1e-5)
        assert (found[length:] == 0).all()


def test_hidden_frames_are_skipped_by_the_recurrence(tokens_in, oracle, make_batch):
    """A mask with holes, as token dropout makes it, reads like the clip without those frames."""
    batch = make_batch(text=(1, 1), vision=(6, 4))
    mask = batch.vision_mask.clone()
    mask[0, [1, 4]] = False
    mask[1, 0] = False
    module = tokens_in(temporal=True)
    result = module(batch.vision, mask).detach()
    for row, keep, found in zip(batch.vision, mask, result, strict=True):
        np.testing.assert_allclose(found[keep], oracle(module, row[keep].double().numpy(), True), atol=1e-5)
        assert (found[~keep] == 0).all()


def test_a_mask_that_is_not_read_gives_the_same_tokens(request, tokens_in, make_batch):
    batch = make_batch(text=(1, 1, 1), vision=(6, 4, 0), fill=float("nan"))
    mask = batch.vision_mask.clone()
    mask[0, [1, 4]] = False
    module = tokens_in(temporal=True)
    read = module(batch.vision, mask)
    request.getfixturevalue("unread")
    torch.testing.assert_close(module(batch.vision, mask), read)


def test_temporal_makes_order_matter(tokens_in, make_batch):
    batch = make_batch(text=(1,), vision=(4,))
    backwards = batch.vision.flip(1)
    for temporal in (False, True):
        module = tokens_in(temporal)
        same = torch.allclose(
            module(batch.vision, batch.vision_mask), module(backwards, batch.vision_mask).flip(1), atol=1e-5
        )
        assert same is not temporal


def test_dropout_acts_in_training_only(tokens_in, make_batch):
    batch = make_batch(vision=(20, 20), text=(1, 1))
    module = tokens_in(dropout=0.5)
    still = module(batch.vision, batch.vision_mask)
    assert torch.equal(still, module(batch.vision, batch.vision_mask))
    torch.manual_seed(0)
    share = (module.train()(batch.vision, batch.vision_mask) == 0).float().mean().item()
    assert 0.4 < share < 0.6


def test_standardised_training_tokens_have_mean_0_and_deviation_1():
    tokens = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 10, 0.1, 0]) + 7
    module = TokenInput(4, 4, dropout=0.0)
    module.standardise(tokens.mean(0), tokens.std(0, correction=0))
    seen = []
    module.project.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    module(tokens.unsqueeze(0), torch.ones(1, 50, dtype=torch.bool))
    (inputs,) = seen
    torch.testing.assert_close(inputs.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    # The last feature is constant: it becomes 0, not NaN.
    torch.testing.assert_close(inputs.std(0, correction=0), torch.tensor([1.0, 1, 1, 0]), atol=1e-4, rtol=0)


def test_statistics_are_saved_and_not_trained():
    module = TokenInput(3, 4, dropout=0.0)
    module.standardise(torch.ones(3), torch.full((3,), 2.0))
    assert module.state_dict()["mean"].tolist() == [1, 1, 1]
    assert module.state_dict()["deviation"].tolist() == [2, 2, 2]
    assert not {"mean", "deviation"} & dict(module.named_parameters()).keys()


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4), extra=st.integers(0, 4), seed=st.integers(0, 99))
def test_attention_pool_against_plain_numpy(make_batch, shake, arrays, softmax, lengths, extra, seed):
    batch = make_batch(lengths, lengths, seed=seed, extra=extra, fill=50.0)
    module = shake(AttentionPool(5), seed)
    w = arrays(module)
    result = module(batch.vision, batch.vision_mask).detach().numpy()
    for row, length, found in zip(batch.vision.double().numpy(), lengths, result, strict=True):
        expected = softmax(row[:length] @ w["score.weight"][0]) @ row[:length] if length else np.zeros(5)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_gates_scale_the_weights_of_the_pool(make_batch, shake, arrays, softmax):
    lengths = (3, 5, 1, 0)
    batch = make_batch(lengths, lengths, extra=2, fill=50.0)
    module = shake(AttentionPool(5))
    gates = torch.rand(4, 7, generator=torch.Generator().manual_seed(0))
    result = module(batch.vision, batch.vision_mask, gates).detach().numpy()
    query = arrays(module)["score.weight"][0]
    for row, gate, length, found in zip(batch.vision.double().numpy(), gates.numpy(), lengths, result, strict=True):
        weights = softmax(row[:length] @ query) * gate[:length] if length else np.zeros(0)
        expected = weights @ row[:length] / weights.sum() if length else np.zeros(5)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not np.allclose(result[0], module(batch.vision, batch.vision_mask)[0].detach(), atol=1e-3)


def test_a_pool_is_one_query():
    """A constant added to all scores would leave a softmax as it was: there is no bias."""
    assert {name: tuple(p.shape) for name, p in AttentionPool(5).named_parameters()} == {"score.weight": (1, 5)}


def test_heads_against_plain_numpy(shake, arrays, layer_norm, gelu):
    heads = shake(Heads(6, 4, {"intensity": 1, "classes": 3}, dropout=0.5)).eval()
    fused = torch.randn(7, 6, generator=torch.Generator().manual_seed(0))
    w = arrays(heads)
    normed = layer_norm(fused.double().numpy(), w["hidden.0.weight"], w["hidden.0.bias"])
    hidden = gelu(normed @ w["hidden.2.weight"].T + w["hidden.2.bias"])
    result = heads(fused)
    assert list(result) == ["intensity", "classes"]
    for task, scores in result.items():
        expected = hidden @ w[f"tasks.{task}.weight"].T + w[f"tasks.{task}.bias"]
        np.testing.assert_allclose(scores.detach(), expected, atol=1e-5)


def test_heads_dropout_acts_in_training_only():
    torch.manual_seed(0)
    fused = torch.randn(3, 6)
    for dropout, same in ((0.0, True), (0.5, False)):
        heads = Heads(6, 16, {"task": 2}, dropout=dropout).train()
        assert torch.equal(heads(fused)["task"], heads(fused)["task"]) is same
        heads.eval()
        assert torch.equal(heads(fused)["task"], heads(fused)["task"])


def test_heads_shift_adds_to_what_the_named_heads_give():
    torch.manual_seed(0)
    heads, fused = Heads(6, 8, {"a": 3, "b": 1, "c": 2}, dropout=0.0), torch.randn(4, 6)
    before = heads(fused)
    heads.shift({"a": torch.tensor([1.0, -2, 0]), "c": torch.tensor([0.5, 0.25])})
    after = heads(fused)
    torch.testing.assert_close(after["a"], before["a"] + torch.tensor([1.0, -2, 0]))
    torch.testing.assert_close(after["c"], before["c"] + torch.tensor([0.5, 0.25]))
    assert torch.equal(after["b"], before["b"])
    assert all(parameter.requires_grad for parameter in heads.parameters())
