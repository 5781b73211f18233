"""Each method against a loop or a formula written out."""

import numpy as np
import pytest
import torch

from gexsent.explain import relevance
from gexsent.explain.modality import guided, left_out
from gexsent.explain.target import Target, hidden, real, split, target_of
from gexsent.explain.trace import OTHER, trace
from gexsent.model import Batch


def score(model, batch, target):
    with torch.no_grad():
        return target.score(model(batch).heads)


def test_the_target_is_support_for_what_the_model_says():
    heads = {"intensity": torch.tensor([[2.0], [-1.5]]), "sentiment": torch.zeros(2, 3)}
    target = Target.of(heads)
    assert target.score(heads).tolist() == [2.0, 1.5]
    assert target.score({"intensity": torch.tensor([[1.0]])}, torch.tensor([1])).tolist() == [-1.0]
    probability = torch.tensor([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]])
    heads = {"sentiment": probability.log() + 3}
    target = Target.of(heads)
    assert target.choice.tolist() == [0, 2]
    assert target.score(heads).exp().tolist() == pytest.approx([0.7 / 0.2, 0.5 / 0.25], rel=1e-5)


def test_occlusion_is_a_loop_over_tokens(model, batch):
    target = target_of(model, batch)
    found = relevance.occlusion(model, batch, target)
    whole = score(model, batch, target)
    for row, place in real(batch).nonzero().tolist():
        keep = torch.ones(3, 10, dtype=torch.bool)
        keep[row, place] = False
        expected = whole[row] - score(model, hidden(batch, keep), target)[row]
        assert found[row, place].item() == pytest.approx(expected.item(), abs=1e-5)
    assert not found[~real(batch)].any()


def test_gradients_of_a_linear_model_are_its_terms(linear, batch):
    model = linear
    target = target_of(model, batch)
    found = relevance.integrated_gradients(model, batch, target, steps=2)
    start = batch._replace(text=torch.full_like(batch.text, 0.2), vision=torch.zeros_like(batch.vision))
    expected = target.choice[:, None] * (model.parts(batch) - model.parts(start))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("tokens", [1, 70, 10_000])  # in a pass: one step, two of them, all five
def test_gradients_are_a_loop_over_samples_and_steps(model, batch, monkeypatch, tokens):
    monkeypatch.setattr(relevance, "TOKENS", tokens)
    target = target_of(model, batch)
    found = relevance.integrated_gradients(model, batch, target, steps=5)
    places, weights = (values / 2 for values in np.polynomial.legendre.leggauss(5))
    for row in range(3):
        own = [row]
        alone = Batch(*(part[own] for part in batch))
        expected = torch.zeros(10)
        for place, weight in zip(places + 0.5, weights, strict=True):
            inputs = [alone.text.clone(), alone.vision.clone()]
            for x, base in zip(inputs, (model.text_in.mean, model.vision_in.mean), strict=True):
                x.copy_(base + place * (x - base)).requires_grad_()
            heads = model(alone._replace(text=inputs[0], vision=inputs[1])).heads
            target.score(heads, torch.tensor(own)).sum().backward()
            terms = [
                (weight * x.grad * (real_ - base)).sum(-1)
                for x, real_, base in zip(
                    inputs, (alone.text, alone.vision), (model.text_in.mean, model.vision_in.mean), strict=True
                )
                if x.grad is not None
            ]
            expected[: sum(part.shape[1] for part in terms)] += torch.cat(terms, 1)[0]
        torch.testing.assert_close(found[row], expected * real(batch)[row], atol=1e-5, rtol=1e-4)


def test_gradients_sum_to_the_change_of_the_score(make_model, batch):
    """With all experts on there is no jump in the way, and more steps close the gap."""
    model = make_model(top_k=3)
    target = target_of(model, batch)
    found = relevance.integrated_gradients(model, batch, target, steps=64)
    change, gap = relevance.completeness(model, batch, target, found)
    assert change.abs().max() > 0.05
    assert gap.abs().max() < 1e-3
    assert not found[~real(batch)].any()


def test_completeness_says_what_the_sum_lacks(linear, batch):
    model = linear
    target = target_of(model, batch)
    found = relevance.integrated_gradients(model, batch, target)
    change, gap = relevance.completeness(model, batch, target, found * 0.75)
    torch.testing.assert_close(gap, change * 0.25, atol=1e-5, rtol=1e-4)


def test_rollout_is_products_of_matrices(model, batch):
    """Row by row, with padding cut off, as the docstring has it."""
    found, seen = relevance.rollout(model, batch), trace(model, batch)
    masks = {"text": batch.text_mask, "vision": batch.vision_mask}
    for row in range(3):
        total = {m: torch.zeros(int(masks[m][row].sum())) for m in OTHER}
        for m, other in OTHER.items():
            own, others = masks[m][row], masks[other][row]
            size = int(own.sum())
            passed = seen.pool[m][row][own] @ (torch.eye(size) + seen.attention[m][row][own][:, own]) / 2
            if others.any():
                total[m] += passed / 2
                total[other] += passed @ seen.cross[m][row][own][:, others] / 2
            else:
                total[m] += passed
        expected = torch.cat(list(total.values()))
        torch.testing.assert_close(found[row][real(batch)[row]], expected / expected.sum(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.sum(1), torch.ones(3))


def test_gates_are_the_models_own(model, batch):
    with torch.no_grad():
        gates = model(batch).gates
    assert split(relevance.gates(model, batch), batch)["vision"].equal(gates["vision"])


def test_leaving_a_modality_out_is_a_batch_without_it(model, batch):
    target = target_of(model, batch)
    found = left_out(model, batch, target)
    without = batch._replace(text_mask=torch.zeros_like(batch.text_mask))
    expected = score(model, batch, target) - score(model, without, target)
    torch.testing.assert_close(found["text"], expected, atol=1e-5, rtol=1e-4)
    assert found["vision"][1].item() == pytest.approx(0, abs=1e-6)  # it has none
    assert found["vision"][0].abs() > 1e-3


def test_unguided_tokens_see_no_other_modality_and_nothing_else_changes(model, batch):
    target = target_of(model, batch)
    found = guided(model, batch, target)
    # A text without cross-attention to vision is what a model sees whose text attention always finds nothing.
    own, cross = model.attention["text"].cross, model.attention["text"].cross.forward
    own.forward = lambda tokens, rows, other, mask: cross(tokens, rows, other, torch.zeros_like(mask))
    expected = score(model, batch, target)
    own.forward = cross
    whole = score(model, batch, target)
    torch.testing.assert_close(found["text"], whole - expected, atol=1e-5, rtol=1e-4)
    assert found["text"][0].abs() > 1e-4
    assert found["text"][1].abs() < 1e-6  # there was nothing to see before
