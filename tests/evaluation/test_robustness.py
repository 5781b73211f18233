"""Damage against plain oracles, and the runner against models that say what they were shown."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from gexsent.datasets import SPOKEN
from gexsent.evaluation import robustness
from gexsent.evaluation.robustness import LEVELS, WHOLE, Condition
from gexsent.model import Batch, Output
from gexsent.training.data import Samples, Tokens

LENGTHS = [0, 1, 2, 3, 7, 10, 20, 1, 5, 4]


def ragged(lengths, width, seed):
    offsets = torch.tensor([0, *np.cumsum(lengths)])
    generator = torch.Generator().manual_seed(seed)
    return Tokens(torch.randn(int(offsets[-1]), width, generator=generator) + 3, offsets)


@pytest.fixture
def samples():
    text, vision = ragged(LENGTHS, 4, 0), ragged([2, 3, 0, 1, 6, 4, 5, 2, 2, 3], 3, 1)
    return Samples([f"s{i}" for i in range(len(LENGTHS))], text, vision, "")


def conditions_of(samples, draws=1, read_anew=()):
    ones = torch.ones(samples.vision.values.shape[1])
    return dict(robustness.conditions(samples, fill=0.5 * ones, deviation=2 * ones, draws=draws, read_anew=read_anew))


ALL = torch.arange(len(LENGTHS))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_that_share_of_each_sample_is_dropped_and_no_padding(rate):
    lengths = torch.tensor(LENGTHS)
    dropped = robustness.dropped_positions(lengths, rate, 0)
    for row, length in zip(dropped, LENGTHS, strict=True):
        assert not row[length:].any()
        assert abs(int(row.sum()) - rate * length) < 1
    if rate in (0.0, 1.0):
        assert dropped.sum(1).tolist() == [rate * length for length in LENGTHS]


def test_a_share_of_no_whole_number_is_exact_on_average_and_every_position_is_as_likely():
    lengths = torch.full((20_000,), 7)
    dropped = robustness.dropped_positions(lengths, 0.3, 5).double()  # 2.1 of 7
    assert float(dropped.sum(1).mean()) == pytest.approx(2.1, abs=0.01)
    assert dropped.mean(0).tolist() == pytest.approx([0.3] * 7, abs=0.015)
    single = robustness.dropped_positions(torch.ones(20_000, dtype=torch.int64), 0.3, 5)
    assert float(single.double().mean()) == pytest.approx(0.3, abs=0.015)


def test_draws_follow_their_seed_and_what_is_lost_stays_lost():
    lengths = torch.tensor(LENGTHS)
    sets = [robustness.dropped_positions(lengths, rate, 3) for rate in LEVELS["tokens"]]
    assert all((less & ~more).sum() == 0 for less, more in itertools.pairwise(sets))
    assert torch.equal(sets[5], robustness.dropped_positions(lengths, 0.5, 3))
    assert not torch.equal(sets[5], robustness.dropped_positions(lengths, 0.5, 4))


def test_hidden_text_loses_its_mask_and_nothing_else(samples):
    batch = samples.batch(ALL)
    dropped = robustness.dropped_positions(samples.text.lengths, 0.5, 0)
    hidden = robustness.hide_text(batch, dropped)
    for row in range(len(LENGTHS)):
        kept = [p for p in range(LENGTHS[row]) if not dropped[row, p]]
        assert hidden.text_mask[row].nonzero().flatten().tolist() == kept
    assert hidden.text is batch.text and hidden.vision is batch.vision and hidden.vision_mask is batch.vision_mask


def test_blank_vision_is_the_mean_feature_and_keeps_its_mask(samples):
    batch = samples.batch(ALL)
    dropped = robustness.dropped_positions(samples.vision.lengths, 0.5, 0)
    fill = torch.tensor([1.0, 2.0, 3.0])
    blank = robustness.blank_vision(batch, dropped, fill)
    for row in range(len(LENGTHS)):
        for place in range(batch.vision.shape[1]):
            expected = fill if dropped[row, place] else batch.vision[row, place]
            assert torch.equal(blank.vision[row, place], expected)
    assert blank.vision_mask is batch.vision_mask and blank.text is batch.text and blank.text_mask is batch.text_mask


@pytest.mark.parametrize(("modality", "other"), [("text", "vision"), ("vision", "text")])
def test_without_a_modality(samples, modality, other):
    batch = samples.batch(ALL)
    lost = robustness.without(batch, modality)
    assert not getattr(lost, f"{modality}_mask").any()
    assert torch.equal(getattr(lost, f"{other}_mask"), getattr(batch, f"{other}_mask"))


def test_noise_has_the_deviation_asked_for_and_grows_in_proportion():
    tokens, deviation = ragged([400] * 100, 2, 0), torch.tensor([0.5, 3.0])
    one, two = (robustness.add_noise(tokens, level, deviation, 1).values - tokens.values for level in (1.0, 2.0))
    assert one.std(0).tolist() == pytest.approx([0.5, 3.0], rel=0.02)
    assert one.mean(0).tolist() == pytest.approx([0.0, 0.0], abs=0.05)
    assert torch.allclose(two, 2 * one, atol=1e-4)
    assert torch.equal(robustness.add_noise(tokens, 1.0, deviation, 1).offsets, tokens.offsets)


def test_lost_samples_are_counted_and_nested():
    sets = [robustness.lost_samples(41, share, 2) for share in LEVELS["no_text"]]
    assert [int(s.sum()) for s in sets] == [0, 10, 20, 31, 41]
    assert all(not (less & ~more).any() for less, more in itertools.pairwise(sets))


def test_masks_of_the_modalities_and_of_the_draws_are_independent():
    """Two modalities with the same lengths: given that a position of one is hidden, the other's is as likely as ever."""
    count = 5000
    both = Samples([str(i) for i in range(count)], *(ragged([6] * count, 1, s) for s in (0, 1)), "")
    found = conditions_of(both, draws=2)

    def hidden(draw):
        batch = found[Condition("tokens", 0.5, draw)].batch(torch.arange(count))
        return ~batch.text_mask, batch.vision[..., 0] == 0.5

    (text, vision), (other, _) = hidden(0), hidden(1)
    for first, second in ((text, vision), (text, other)):
        assert float((first & second).double().mean()) == pytest.approx(0.25, abs=0.01)


def test_a_batch_sees_the_same_damage_whatever_its_size_and_order(samples):
    view = conditions_of(samples)[Condition("tokens", 0.5, 0)]
    whole = view.batch(ALL)
    for row in (6, 4, 1):
        alone = view.batch(torch.tensor([row]))
        length = alone.text_mask.shape[1]
        assert torch.equal(alone.text_mask[0], whole.text_mask[row, :length])
        assert torch.equal(alone.vision[0], whole.vision[row, : alone.vision.shape[1]])


def test_every_condition_of_a_data_set(samples):
    expected = [Condition(WHOLE, 0.0)]
    expected += [Condition(p, level, draw) for draw in (0, 1) for p in ("tokens", "noise") for level in LEVELS[p][1:]]
    expected += [Condition("no_text", 1.0), Condition("no_vision", 1.0)]
    assert set(conditions_of(samples, draws=2)) == set(expected)
    blind = Samples(samples.ids, samples.text, Tokens.empty(len(samples.ids)), "")
    assert {c.protocol for c in conditions_of(blind)} == {WHOLE, "tokens"}


def test_texts_read_anew_take_the_place_of_the_features_and_meet_the_same_hidden_frames(samples):
    text = ragged([3] * len(LENGTHS), 4, 9)
    anew = [(Condition(protocol, 0.3), text) for protocol in ("words", "typos")]
    found = conditions_of(samples, read_anew=anew)
    words, typos = (found[Condition(p, 0.3)].batch(ALL) for p in ("words", "typos"))
    assert torch.equal(words.text, text.gather(ALL)[0]) and torch.equal(typos.text, words.text)
    assert torch.equal(words.vision, found[Condition("tokens", 0.3)].batch(ALL).vision)
    assert torch.equal(typos.vision, samples.batch(ALL).vision)


class Counts(nn.Module):
    """Predicts what it is shown of one modality: the sum of its features."""

    def __init__(self, modality):
        super().__init__()
        self.modality = modality

    def forward(self, batch: Batch):
        tokens, mask = getattr(batch, self.modality), getattr(batch, f"{self.modality}_mask")
        return Output({"intensity": (tokens.sum(2) * mask).sum(1, keepdim=True)})


def outcomes_of(samples, models, draws=1):
    views = conditions_of(samples, draws).items()
    found = robustness.predict(models, views, ALL, SPOKEN, draws=draws, batch=4)
    return {(fit, condition): columns["pred_intensity"] for condition, fit, columns in found}


def test_a_model_of_one_modality_suffers_where_that_one_is_damaged_and_nowhere_else(samples):
    found = outcomes_of(samples, {(name, 0): Counts(name) for name in ("text", "vision")})
    moved = {
        (fit[0], condition.protocol)
        for (fit, condition), values in found.items()
        if not np.array_equal(values, found[fit, Condition(WHOLE, 0.0)])
    }
    assert moved == {
        ("text", "tokens"), ("text", "no_text"), ("vision", "tokens"), ("vision", "noise"), ("vision", "no_vision"),
    }  # fmt: skip


def test_what_a_model_is_shown_is_what_stays(samples):
    found = outcomes_of(samples, {("text", 0): Counts("text")})
    dropped = robustness.dropped_positions(samples.text.lengths, 0.4, 0)
    for row in range(len(LENGTHS)):
        tokens = samples.text.values[samples.text.offsets[row] : samples.text.offsets[row + 1]]
        kept = tokens[~dropped[row, : len(tokens)]]
        assert found[("text", 0), Condition("tokens", 0.4)][row] == pytest.approx(float(kept.sum()), rel=1e-5)


@pytest.mark.parametrize(
    ("seeds", "draws", "expected"),
    [(3, 2, [[0], [1], [0]]), (1, 2, [[0, 1]]), (2, 3, [[0, 2], [1]]), (2, 1, [[0], [0]])],
)
def test_draws_are_dealt_out_to_the_seeds(samples, seeds, draws, expected):
    assert [robustness.draws_of(seed, seeds, draws) for seed in range(seeds)] == expected
    found = outcomes_of(samples, {("text", seed): Counts("text") for seed in range(seeds)}, draws)
    for seed in range(seeds):
        met = [c.draw for (_, s), c in found if s == seed and c.protocol == "tokens" and c.level == 0.5]
        assert sorted(met) == expected[seed]


def test_shares_of_missing_text_put_both_extremes_together():
    whole, gone = {"pred_intensity": np.arange(8.0)}, {"pred_intensity": -np.ones(8)}
    found = dict(robustness.mixed(whole, gone, "no_text", [0, 1]))
    assert list(found) == [Condition("no_text", level, draw) for draw in (0, 1) for level in (0.25, 0.5, 0.75, 1.0)]
    for condition, columns in found.items():
        lost = columns["pred_intensity"] == -1
        assert lost.sum() == 8 * condition.level
        assert np.array_equal(columns["pred_intensity"][~lost], np.arange(8.0)[~lost])


class Routes(Counts):
    """Gates of a token are its first feature, the share of text the number of text tokens."""

    def forward(self, batch: Batch):
        count = batch.text_mask.sum(1).float()
        gates = {"text": batch.text[..., 0] * batch.text_mask, "vision": batch.vision[..., 0] * batch.vision_mask}
        shares = torch.stack([count, 0 * count, 1 - count], 1)
        return Output(super().forward(batch).heads, gates=gates, shares=shares)


def test_shares_and_mean_gates_stand_beside_the_predictions_in_the_order_of_the_rows(samples):
    rows = torch.tensor([6, 0, 3, 9])
    found = robustness.forward(Routes("text"), robustness.inputs(samples, rows, batch=2), SPOKEN)
    assert found["share_text"].tolist() == [20, 0, 3, 4] and found["share_shared"].tolist() == [-19, 1, -2, -3]
    for place, row in enumerate(rows.tolist()):
        for modality in ("text", "vision"):
            tokens = getattr(samples, modality)
            gates = tokens.values[tokens.offsets[row] : tokens.offsets[row + 1], 0]
            expected = float(gates.mean()) if len(gates) else float("nan")
            assert found[f"gate_{modality}"][place] == pytest.approx(expected, abs=1e-5, nan_ok=True)
    assert set(robustness.forward(Counts("text"), robustness.inputs(samples, rows, batch=2), SPOKEN)) == {
        "pred_intensity"
    }


def test_routing_is_the_mean_over_the_samples_that_have_a_gate(samples):
    view = conditions_of(samples)[Condition("tokens", 0.5)]
    runs = {Condition("tokens", 0.5): robustness.forward(Routes("text"), robustness.inputs(view, ALL, batch=4), SPOKEN)}
    outcomes = {("gexsent", 1): runs, ("text_only", 1): {Condition(WHOLE, 0.0): {"pred_intensity": np.zeros(2)}}}
    (row,) = robustness.routing(outcomes).to_dict("records")
    batch = view.batch(ALL)
    kept = batch.text_mask.sum(1)
    gates = (batch.text[..., 0] * batch.text_mask).sum(1)[kept > 0] / kept[kept > 0]
    assert (row["system"], row["seed"], row["protocol"], row["level"]) == ("gexsent", 1, "tokens", 0.5)
    assert row["gate_text"] == pytest.approx(float(gates.mean()), abs=1e-5)
    assert row["share_text"] == pytest.approx(float(kept.float().mean()), abs=1e-5)
