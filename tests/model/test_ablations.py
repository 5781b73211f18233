"""GEXSent with one part taken away: each variant against a plain statement of what it means."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gexsent.model import SYSTEMS, Batch, GEXSent, build
from gexsent.params import load

VARIANTS = [name for name, (model, changes, *_) in SYSTEMS.items() if model is GEXSent and changes]
PARAMS = Path(__file__).parents[2] / "params.yaml"
few = settings(max_examples=5, deadline=None)
lengths = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=4)


def hook(model, name, seen):
    """Keep what a part of the model was given and what it gave."""
    model.get_submodule(name).register_forward_hook(lambda _, args, result: seen.__setitem__(name, (args, result)))


def close(first, second):
    for task, scores in first.heads.items():
        torch.testing.assert_close(second.heads[task], scores, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", VARIANTS)
def test_padding_neighbours_and_order_change_nothing(make_gexsent, make_batch, name):
    model = make_gexsent(system=name)

    @few
    @given(lengths=lengths, extra=st.integers(1, 4), seed=st.integers(0, 99))
    def check(lengths, extra, seed):
        sizes = list(zip(*lengths, strict=True))
        batch = make_batch(*sizes, seed=seed)
        plain = model(batch)
        padded = model(make_batch(*sizes, seed=seed, extra=extra, fill=float("nan")))
        close(plain, padded)
        for loss, value in plain.losses.items():
            torch.testing.assert_close(padded.losses[loss], value)
        for row in range(len(lengths)):
            alone = model(Batch(*(tensor[row : row + 1] for tensor in batch)))
            for task, scores in alone.heads.items():
                torch.testing.assert_close(plain.heads[task][row : row + 1], scores, atol=1e-5, rtol=1e-4)
        shuffled = model(Batch(*(tensor.flip(0) for tensor in batch)))
        for task, scores in shuffled.heads.items():
            torch.testing.assert_close(plain.heads[task].flip(0), scores, atol=1e-5, rtol=1e-4)

    check()


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("sizes", [((0, 0), (0, 0)), ((3, 0, 2, 0), (2, 4, 0, 0))])
def test_absent_contents_change_nothing_and_nothing_is_a_number(make_gexsent, make_batch, name, sizes):
    """Samples without one modality or without any: scores, losses and gradients are finite, whatever stands there."""
    model, found = make_gexsent(system=name), []
    for fill in (0.0, float("nan")):
        output = model(make_batch(*sizes, extra=1, fill=fill))
        model.zero_grad()
        (sum(scores.square().sum() for scores in output.heads.values()) + sum(output.losses.values())).backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        found.append([*output.heads.values(), *output.losses.values(), *gradients])
    for clean, dirty in zip(*found, strict=True):
        assert clean.isfinite().all()
        assert torch.equal(clean, dirty)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "random_router"])
def test_each_variant_scores_otherwise_with_the_weights_that_it_shares(make_gexsent, make_batch, name):
    whole, variant, batch = make_gexsent(), make_gexsent(system=name), make_batch()
    variant.load_state_dict(whole.state_dict(), strict=False)
    assert not torch.allclose(whole(batch).heads["sentiment"], variant(batch).heads["sentiment"], atol=1e-4)


def test_uniform_gates_are_1_and_pooling_is_a_plain_softmax(make_gexsent, make_batch, softmax):
    model, seen = make_gexsent(system="uniform_gates"), {}
    batch = make_batch((4, 2, 0), (2, 3, 3), extra=1)
    for part in ("attention.text", "attention.vision", "heads"):
        hook(model, part, seen)
    output = model(batch)
    for index, m in enumerate(("text", "vision")):
        mask = getattr(batch, f"{m}_mask")
        assert torch.equal(output.gates[m], mask.float())
        query = model.pools[m].score.weight[0].detach().numpy()
        for b, length in enumerate(mask.sum(1).tolist()):
            tokens = seen[f"attention.{m}"][1][0][b, :length].detach().numpy()
            expected = softmax(tokens @ query) @ tokens if length else np.zeros(8)
            np.testing.assert_allclose(seen["heads"][0][0][b, 8 * index :][:8].detach(), expected, atol=1e-5)


def test_uniform_gates_are_the_whole_with_its_gates_wide_open(make_gexsent, make_batch):
    whole, variant, batch = make_gexsent(), make_gexsent(system="uniform_gates"), make_batch()
    with torch.no_grad():
        for block in whole.attention.values():
            block.gate.weight.zero_()
            block.gate.bias.fill_(40.0)
    weights = {k: v for k, v in whole.state_dict().items() if ".gate." not in k}
    variant.load_state_dict(weights)
    close(whole(batch), variant(batch))


def test_without_the_gam_the_tokens_of_the_experts_are_pooled(make_gexsent, make_batch, softmax):
    model, seen = make_gexsent(system="no_gam"), {}
    batch = make_batch((4, 2, 0), (2, 3, 3), extra=1)
    for part in ("experts", "heads"):
        hook(model, part, seen)
    output = model(batch)
    assert not [name for name, _ in model.named_parameters() if name.startswith("attention")]
    for index, m in enumerate(("text", "vision")):
        mask = getattr(batch, f"{m}_mask")
        assert torch.equal(output.gates[m], mask.float())
        query = model.pools[m].score.weight[0].detach().numpy()
        for b, length in enumerate(mask.sum(1).tolist()):
            tokens = getattr(seen["experts"][1], m)[b, :length].detach().numpy()
            expected = softmax(tokens @ query) @ tokens if length else np.zeros(8)
            np.testing.assert_allclose(seen["heads"][0][0][b, 8 * index :][:8].detach(), expected, atol=1e-5)


def test_without_the_sample_level_it_is_the_whole_with_a_router_that_knows_nothing(make_gexsent, make_batch):
    whole, variant, batch = make_gexsent(), make_gexsent(system="no_sample_level"), make_batch((4, 2, 0), (2, 0, 3))
    torch.nn.init.zeros_(whole.experts.router.weight)
    torch.nn.init.zeros_(whole.experts.router.bias)
    variant.load_state_dict({k: v for k, v in whole.state_dict().items() if not k.startswith("experts.router")})
    first, second = whole(batch), variant(batch)
    close(first, second)
    torch.testing.assert_close(second.shares, first.shares)


def test_without_a_shared_group_it_is_the_whole_with_that_group_shut(make_gexsent, make_batch):
    whole, variant, batch = make_gexsent(), make_gexsent(system="no_shared_group"), make_batch((4, 2, 0), (2, 0, 3))
    with torch.no_grad():
        whole.experts.router.bias[2] = -1e4
    variant.load_state_dict({k: v for k, v in whole.state_dict().items() if "groups.shared" not in k})
    first, second = whole(batch), variant(batch)
    close(first, second)
    assert (second.shares[:, 2] == 0).all()
    assert list(second.usage) == ["text", "vision"]


def test_a_random_router_starts_as_the_whole_does_and_stays_so_while_the_experts_learn(make_gexsent, make_batch):
    model, batch = make_gexsent(system="random_router"), make_batch((6, 5, 4), (5, 6, 3))
    close(make_gexsent()(batch), model(batch))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(5):
        output = model(batch)
        optimiser.zero_grad()
        (sum(scores.square().sum() for scores in output.heads.values()) + sum(output.losses.values())).backward()
        optimiser.step()
    for name, value in model.state_dict().items():
        if name.endswith(("mean", "deviation", "nothing")):
            continue  # statistics, and vectors that this batch has no use for
        fixed = name.startswith("experts.groups") and ".router." in name
        assert torch.equal(value, before[name]) is fixed, name


@pytest.mark.parametrize("edition", ["lite", "full"])
@pytest.mark.parametrize("name", ["flat_moe", "dense_ffn"])
def test_controls_have_the_weights_of_the_whole(make_config, edition, name):
    sizes = vars(load(PARAMS, edition).model)
    count = {
        system: sum(p.numel() for p in build(make_config(system, **sizes)).experts.parameters())
        for system in ("gexsent", name)
    }
    assert count[name] == pytest.approx(count["gexsent"], rel=0.02)


def test_the_flat_mixture_chooses_as_many_of_all_experts_as_the_whole_does(make_gexsent, make_batch):
    model, seen = make_gexsent(system="flat_moe", experts=4, top_k=3), {}
    hook(model, "experts.group", seen)
    output = model(make_batch())
    assert seen["experts.group"][1].chosen.shape == (9 + 8, 6), "three of a modality's own and three shared"
    assert output.usage["all"].shape == (12,)
    assert output.usage["all"].sum().item() == pytest.approx(1)
    assert output.shares is None
    assert set(output.losses) == {"balance", "z"}


def test_the_dense_control_is_a_plain_feed_forward_network(make_gexsent, make_batch, arrays, layer_norm, gelu):
    """h + W_out (value * GELU(gate)) for each real token, with 3 E times the width of an expert inside."""
    model, seen = make_gexsent(system="dense_ffn", experts=4, expert_width=5), {}
    batch = make_batch((4, 2, 0), (2, 0, 3))
    hook(model, "experts", seen)
    output, w = model(batch), arrays(model.experts)
    (text, _, vision, _), result = seen["experts"]
    assert w["group.w_out"].shape == (1, 3 * 4 * 5, 8)
    for m, tokens in (("text", text), ("vision", vision)):
        mask = getattr(batch, f"{m}_mask")
        x = tokens[mask].detach().double().numpy()
        h = layer_norm(x, w[f"norms.{m}.weight"], w[f"norms.{m}.bias"])
        value, gate = np.split(h @ w["group.w_in"][0] + w["group.b_in"][0], 2, axis=1)
        expected = x + (value * gelu(gate)) @ w["group.w_out"][0] + w["group.b_out"][0]
        np.testing.assert_allclose(getattr(result, m)[mask].detach(), expected, atol=1e-5)
    assert output.losses == {}
    assert output.usage["all"].tolist() == [1]


def test_an_unknown_mixture_is_named_with_the_known_ones():
    settings = {"text_features": 6, "vision_features": 5, "outputs": {"a": 1}, "width": 8, "experts": 2}
    settings |= {"expert_width": 4, "top_k": 1, "attention_heads": 2, "dropout": 0.0, "temporal": False}
    settings |= {"balance_weight": 1.0, "z_weight": 1.0, "group_weight": 1.0}
    with pytest.raises(ValueError, match="mixture must be one of hierarchical, flat, dense, found 'deep'"):
        GEXSent(**settings, mixture="deep")
