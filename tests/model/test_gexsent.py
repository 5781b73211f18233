"""The invariants of the whole model."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from gexsent.model import Batch

# (text tokens, visual tokens) of each sample, absent modalities among them.
lengths = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=4)
few = settings(max_examples=15, deadline=None)


def same(first, second):
    for task, scores in first.heads.items():
        torch.testing.assert_close(second.heads[task], scores, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(second.shares, first.shares, atol=1e-5, rtol=1e-4)


@few
@given(lengths=lengths, temporal=st.booleans(), extra=st.integers(1, 5), seed=st.integers(0, 99))
def test_padding_further_changes_nothing(make_gexsent, make_batch, lengths, temporal, extra, seed):
    model = make_gexsent(seed, temporal=temporal)
    sizes = list(zip(*lengths, strict=True))
    short = model(make_batch(*sizes, seed=seed))
    long = model(make_batch(*sizes, seed=seed, extra=extra, fill=7.0))
    same(short, long)
    for modality, gates in short.gates.items():
        width = gates.shape[1]
        torch.testing.assert_close(long.gates[modality][:, :width], gates, atol=1e-5, rtol=1e-4)
        assert (long.gates[modality][:, width:] == 0).all()
    for name, loss in short.losses.items():
        torch.testing.assert_close(long.losses[name], loss)
    for group, usage in short.usage.items():
        torch.testing.assert_close(long.usage[group], usage)


@few
@given(lengths=lengths, temporal=st.booleans(), seed=st.integers(0, 99))
def test_each_sample_is_scored_as_if_it_were_alone(make_gexsent, make_batch, lengths, temporal, seed):
    model = make_gexsent(seed, temporal=temporal)
    batch = make_batch(*zip(*lengths, strict=True), seed=seed)
    together = model(batch).heads
    for row in range(len(lengths)):
        alone = model(Batch(*(tensor[row : row + 1] for tensor in batch))).heads
        for task, scores in alone.items():
            torch.testing.assert_close(together[task][row : row + 1], scores, atol=1e-5, rtol=1e-4)


@few
@given(lengths=lengths, temporal=st.booleans(), seed=st.integers(0, 99))
def test_order_inside_a_batch_changes_nothing(make_gexsent, make_batch, lengths, temporal, seed):
    model = make_gexsent(seed, temporal=temporal)
    batch = make_batch(*zip(*lengths, strict=True), seed=seed)
    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed))
    shuffled = model(Batch(*(tensor[order] for tensor in batch)))
    straight = model(batch)
    for task, scores in straight.heads.items():
        torch.testing.assert_close(shuffled.heads[task], scores[order], atol=1e-5, rtol=1e-4)
    for name, loss in straight.losses.items():
        torch.testing.assert_close(shuffled.losses[name], loss)


@pytest.mark.parametrize("temporal", [False, True])
@pytest.mark.parametrize("fill", [1e6, float("nan"), float("inf")])
def test_contents_of_padding_and_of_absent_modalities_change_nothing(make_gexsent, make_batch, fill, temporal):
    model = make_gexsent(temporal=temporal)
    clean, dirty = (make_batch((3, 0, 2, 0), (2, 4, 0, 0), extra=1, fill=value) for value in (0.0, fill))
    expected, found = model(clean), model(dirty)
    for task, scores in expected.heads.items():
        assert torch.equal(found.heads[task], scores)
        assert scores.isfinite().all()
    # Training is as blind to it as scoring is.
    for output in (expected, found):
        model.zero_grad()
        (sum(scores.square().sum() for scores in output.heads.values()) + sum(output.losses.values())).backward()
        gradients = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)
        if output is expected:
            first = gradients
    assert all(torch.equal(a, b) for a, b in zip(first, gradients, strict=True))


def test_a_data_set_without_vision(make_gexsent, make_batch):
    """Vision of shape (B, 1, 1) with nothing in it, as the data give it where no sample has a picture."""
    model = make_gexsent(vision_features=1)
    output = model(make_batch((3, 2), (0, 0), widths=(6, 1)))
    assert (output.shares[:, 1] == 0).all()
    assert (output.gates["vision"] == 0).all()
    assert output.usage["vision"].tolist() == [0, 0, 0]
    assert all(torch.isfinite(value).all() for value in (*output.heads.values(), *output.losses.values()))


@few
@given(lengths=lengths, seed=st.integers(0, 99))
def test_shares_and_gates(make_gexsent, make_batch, lengths, seed):
    batch = make_batch(*zip(*lengths, strict=True), seed=seed)
    output = make_gexsent(seed)(batch)
    torch.testing.assert_close(output.shares.sum(1), torch.ones(len(lengths)))
    absent = [[not text, not vision, False] for text, vision in lengths]
    assert (output.shares == 0).tolist() == absent
    for modality, gates in output.gates.items():
        mask = getattr(batch, f"{modality}_mask")
        assert ((gates > 0) & (gates < 1))[mask].all()
        assert (gates[~mask] == 0).all()


def test_gates_differ_between_tokens_and_follow_the_other_modality(make_gexsent, make_batch):
    model = make_gexsent()
    batch = make_batch((5, 4), (3, 4))
    gates = model(batch).gates
    for modality, other in (("text", "vision"), ("vision", "text")):
        mask = getattr(batch, f"{modality}_mask")
        assert gates[modality][mask].std() > 1e-3
        changed = model(batch._replace(**{other: -getattr(batch, other)})).gates[modality]
        assert (changed - gates[modality])[mask].abs().max() > 1e-4


def test_pooling_is_weighted_by_the_gates(make_gexsent, make_batch, softmax):
    """Each token's answer to the learned query times its gate, the products normalised."""
    model = make_gexsent()
    batch = make_batch((4, 2, 0), (2, 3, 3))
    seen, fused = {}, []
    for modality in ("text", "vision"):
        module = model.attention[modality]
        module.register_forward_hook(lambda _, args, result, m=modality: seen.__setitem__(m, result))
    model.heads.register_forward_pre_hook(lambda _, args: fused.append(args[0].detach().numpy()))
    output = model(batch)
    for index, (modality, (tokens, gates)) in enumerate(seen.items()):
        assert torch.equal(output.gates[modality], gates)
        tokens, gates = tokens.detach().double().numpy(), gates.detach().double().numpy()
        query = model.pools[modality].score.weight[0].detach().double().numpy()
        for b, length in enumerate(getattr(batch, f"{modality}_mask").sum(1).tolist()):
            weights = softmax(tokens[b, :length] @ query) * gates[b, :length] if length else np.zeros(0)
            expected = (weights / weights.sum()) @ tokens[b, :length] if length else np.zeros(8)
            np.testing.assert_allclose(fused[0][b, 8 * index : 8 * index + 8], expected, atol=1e-5)


def test_the_parts_are_joined_as_described(make_gexsent, make_batch):
    """Experts read the projected tokens; each side of the gated attention reads both sides of the experts."""
    model = make_gexsent()
    calls = {}
    for name in ("text_in", "vision_in", "experts", "attention.text", "attention.vision"):
        module = model.get_submodule(name)
        module.register_forward_hook(lambda _, args, result, n=name: calls.__setitem__(n, (args, result)))
    batch = make_batch()
    model(batch)
    text, text_mask, vision, vision_mask = calls["experts"][0]
    assert text is calls["text_in"][1] and vision is calls["vision_in"][1]
    assert text_mask is batch.text_mask and vision_mask is batch.vision_mask
    mixed = calls["experts"][1]
    expected = {
        "attention.text": (mixed.text, batch.text_mask, mixed.vision, batch.vision_mask),
        "attention.vision": (mixed.vision, batch.vision_mask, mixed.text, batch.text_mask),
    }
    for name, arguments in expected.items():
        assert all(found is wanted for found, wanted in zip(calls[name][0], arguments, strict=True))


def test_every_parameter_and_every_expert_gets_gradient(make_gexsent, make_batch):
    model = make_gexsent(temporal=True)
    batch = make_batch((12, 9, 0, 8), (9, 12, 8, 0))  # an absent modality each, so that "nothing there" is learned too
    output = model(batch)
    for group, usage in output.usage.items():
        assert (usage > 0).all(), group
    sum(scores.square().sum() for scores in output.heads.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
        if ".w_" in name or ".b_" in name:
            assert (parameter.grad.flatten(1).abs().sum(1) > 0).all(), name


def test_losses_teach_the_routers(make_gexsent, make_batch):
    model = make_gexsent()
    batch = make_batch((6, 5), (5, 6))
    targets = {"balance": "groups.text.router", "z": "groups.shared.router", "group": "experts.router"}
    for loss, router in targets.items():
        model.zero_grad()
        model(batch).losses[loss].backward()
        assert model.get_submodule(router if router.startswith("experts") else f"experts.{router}").weight.grad.any()


def test_a_batch_of_32_can_be_overfitted(make_gexsent, make_batch):
    generator = torch.Generator().manual_seed(0)
    sizes = torch.randint(1, 5, (2, 32), generator=generator).tolist()
    batch = make_batch(*sizes)
    classes = torch.randint(0, 3, (32,), generator=generator)
    scores = torch.randn(32, generator=generator)
    model = make_gexsent(width=16, expert_width=8, balance_weight=0.01, z_weight=0.001, group_weight=0.01).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(50):
        optimiser.zero_grad()
        output = model(batch)
        loss = F.cross_entropy(output.heads["sentiment"], classes)
        loss = loss + F.mse_loss(output.heads["intensity"][:, 0], scores) + sum(output.losses.values())
        loss.backward()
        optimiser.step()
    heads = model.eval()(batch).heads
    assert (heads["sentiment"].argmax(1) == classes).all()
    assert F.mse_loss(heads["intensity"][:, 0], scores).item() < 0.02


@pytest.mark.parametrize("name", ["balance", "z", "group"])
def test_weights_scale_their_losses_and_nothing_else(make_gexsent, make_batch, name):
    batch = make_batch()
    plain, changed = make_gexsent()(batch), make_gexsent(**{f"{name}_weight": 0.25})(batch)
    for loss, value in plain.losses.items():
        torch.testing.assert_close(changed.losses[loss], value * (0.25 if loss == name else 1))
        assert value > 0
    same(plain, changed)


@pytest.mark.parametrize("change", [{"top_k": 1}, {"attention_heads": 4}, {"temporal": True}])
def test_settings_change_the_scores_at_the_same_weights(make_gexsent, make_batch, change):
    plain, changed = make_gexsent(), make_gexsent(**change)
    changed.load_state_dict(plain.state_dict(), strict="temporal" not in change)
    batch = make_batch()
    assert not torch.allclose(plain(batch).heads["sentiment"], changed(batch).heads["sentiment"], atol=1e-4)


def test_sizes_reach_the_parts_that_they_name(make_gexsent):
    model = make_gexsent(
        text_features=7, vision_features=3, width=12, experts=5, expert_width=9, outputs={"a": 4, "b": 1}
    )
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert shapes["text_in.project.weight"] == (12, 7)
    assert shapes["vision_in.project.weight"] == (12, 3)
    for group in ("text", "vision", "shared"):
        assert shapes[f"experts.groups.{group}.w_in"] == (5, 12, 18)
        assert shapes[f"experts.groups.{group}.w_out"] == (5, 9, 12)
    assert shapes["heads.tasks.a.weight"] == (4, 12)
    assert shapes["heads.tasks.b.weight"] == (1, 12)


@pytest.mark.parametrize("temporal", [False, True])
def test_order_of_the_visual_tokens_matters_in_clips_only(make_gexsent, make_batch, temporal):
    model = make_gexsent(temporal=temporal)
    batch = make_batch((3, 3), (4, 4))
    backwards = batch._replace(vision=batch.vision.flip(1))
    change = (model(batch).heads["sentiment"] - model(backwards).heads["sentiment"]).abs().max()
    assert bool(change > 1e-4) is temporal


def test_dropout_acts_on_tokens_and_heads_in_training_only(make_gexsent, make_batch):
    batch = make_batch()
    for dropout, still in ((0.0, True), (0.5, False)):
        model = make_gexsent(dropout=dropout).train()
        first, second = model(batch), model(batch)
        assert torch.equal(first.heads["sentiment"], second.heads["sentiment"]) is still
        assert torch.equal(first.shares, second.shares) is still
        model.eval()
        assert torch.equal(model(batch).heads["sentiment"], model(batch).heads["sentiment"])


@pytest.mark.parametrize(("change", "message"), [({"top_k": 4}, "top_k"), ({"attention_heads": 3}, "divide the width")])
def test_impossible_settings_are_named(make_gexsent, change, message):
    with pytest.raises(ValueError, match=message):
        make_gexsent(**change)
