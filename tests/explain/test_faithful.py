"""Curves of a linear model are known in closed form; so is what a correlation and a random model must give."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from gexsent.explain import faithful
from gexsent.explain.measure import measure, routing, sanity
from gexsent.explain.relevance import METHODS
from gexsent.explain.target import hidden, real, target_of
from gexsent.explain.trace import trace
from gexsent.model import Batch, build


@pytest.fixture
def ladder():
    """One sample whose ten tokens are worth 4, 3, 2, 1, 0 (text) and 5, 4, 3, 2, 1 (vision), 25 together."""
    text, vision = torch.zeros(1, 5, 6), torch.zeros(1, 5, 5)
    text[0, :, 2], vision[0, :, 1] = torch.arange(4.0, -1, -1), torch.arange(5.0, 0, -1)
    there = torch.ones(1, 5, dtype=torch.bool)
    return Batch(text, there, vision, there)


def test_deletion_and_insertion_of_a_linear_model(linear, ladder):
    model = linear
    target, worth = target_of(model, ladder), model.parts(ladder)
    falling = np.sort(worth[0].numpy())[::-1]
    counts = [round(10 * fraction) for fraction in faithful.FRACTIONS]
    deleted = faithful.curve(model, ladder, target, worth)[0].numpy()
    shown = faithful.curve(model, ladder, target, worth, insert=True)[0].numpy()
    assert deleted == pytest.approx([falling[count:].sum() for count in counts])
    assert shown == pytest.approx([falling[:count].sum() for count in counts])
    worst = faithful.curve(model, ladder, target, -worth)[0].numpy()
    assert (worst >= deleted).all() and worst.sum() > deleted.sum()


def test_curves_of_many_orders_are_a_loop_over_orders_samples_and_points(model, batch):
    generator = torch.Generator().manual_seed(0)
    orders = [(torch.rand(3, 10, generator=generator), insert) for insert in (False, True, True)]
    target, there = target_of(model, batch), real(batch)
    found = faithful.curves(model, batch, target, orders)
    for order, (relevance, insert) in enumerate(orders):
        for row in range(3):
            tokens = sorted(there[row].nonzero()[:, 0].tolist(), key=lambda place: -relevance[row, place].item())
            for point, fraction in enumerate(faithful.FRACTIONS):
                keep = torch.full((3, 10), not insert)
                keep[row, tokens[: round(fraction * len(tokens))]] = insert
                with torch.no_grad():
                    expected = target.score(model(hidden(batch, keep)).heads)[row]
                assert found[order, row, point].item() == pytest.approx(expected.item(), abs=1e-5)


def test_padding_is_never_taken_in_place_of_a_token(linear, ladder):
    model, mask = linear, torch.tensor([[True, True, False, False, False]])
    batch = ladder._replace(text_mask=mask, vision_mask=mask)
    target = target_of(model, batch)
    order = torch.tensor([[1.0, 2, 9, 9, 9, 4, 3, 9, 9, 9]])
    shown = faithful.curve(model, batch, target, order, insert=True)[0].tolist()
    assert shown == pytest.approx([0, 0, 5, 9, 12, 16, 16])  # of 4 tokens: 0, 0.4, 1, 2, 3, 3.6, 4


def test_random_orders_are_seeded_and_lie_on_the_line(linear, ladder):
    model = linear
    target = target_of(model, ladder)
    many = Batch(*(part.repeat(400, *[1] * (part.dim() - 1)) for part in ladder))
    curves = faithful.random_curve(model, many, target_of(model, many), torch.Generator().manual_seed(0))
    counts = np.array([round(10 * fraction) for fraction in faithful.FRACTIONS])
    assert curves.mean(0).numpy() == pytest.approx(25 * (1 - counts / 10), abs=0.4)
    once, again = (faithful.random_curve(model, ladder, target, torch.Generator().manual_seed(3)) for _ in range(2))
    assert once.equal(again)


@pytest.mark.parametrize("count", [3, 5, 7, 15])  # fractions of these are rounded
def test_where_all_tokens_are_worth_the_same_no_order_is_better_than_a_random_one(linear, count):
    text = torch.zeros(1, count, 6)
    text[..., 2] = 1.0  # each token adds 1 to the score
    nothing = torch.zeros(1, 1, dtype=torch.bool)
    batch = Batch(text, torch.ones(1, count, dtype=torch.bool), torch.zeros(1, 1, 5), nothing)
    target, order = target_of(linear, batch), torch.arange(count + 1.0)[None]
    for insert in (False, True):
        chance = faithful.random_curve(linear, batch, target, torch.Generator().manual_seed(0), insert=insert)
        torch.testing.assert_close(chance, faithful.curve(linear, batch, target, order, insert=insert))


def test_the_area_is_the_mean_height():
    assert faithful.area(torch.tensor(faithful.FRACTIONS)).item() == pytest.approx(0.5)
    assert faithful.area(torch.full((2, len(faithful.FRACTIONS)), 3.0)).tolist() == pytest.approx([3.0, 3.0])


def test_agreement_is_spearmans_of_sizes_over_real_tokens():
    first, second = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    second[2] = 1.0
    there = torch.arange(6) < torch.tensor([[5], [2], [6]])
    found = faithful.agreement(first, second, there)
    assert found[0] == pytest.approx(spearmanr(first[0, :5].abs(), second[0, :5].abs()).statistic)
    assert np.isnan(found[1:]).all()


def test_weights_are_drawn_anew_from_the_output_down(model, config):
    before = dict(model.named_parameters())
    for depth, part in enumerate(faithful.PARTS):
        changed = faithful.randomised(model, config, part, seed=0)
        tops = {"inputs" if n.split(".")[0] in ("text_in", "vision_in") else n.split(".")[0]
                for n, weight in changed.named_parameters() if not weight.equal(before[n])}  # fmt: skip
        assert tops == set(faithful.PARTS[: depth + 1])
        assert changed.text_in.mean.equal(model.text_in.mean)
    one, two = (faithful.randomised(model, config, "heads", seed=seed) for seed in (0, 1))
    assert any(not a.equal(b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_random_weights_are_not_those_that_a_fit_with_this_seed_starts_from(model, config, seed):
    torch.manual_seed(seed)  # as a fit does
    start, drawn = build(config), faithful.randomised(model, config, "inputs", seed=seed)
    first, second = (torch.cat([w.flatten() for w in m.parameters() if w.dim() > 1]) for m in (start, drawn))
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.2


def test_a_random_model_finds_a_token_no_more_often_than_chance(model, config):
    generator = torch.Generator().manual_seed(1)
    rows, length = 300, 8
    there = torch.ones(rows, length, dtype=torch.bool)
    text = torch.randn(rows, length, 6, generator=generator)
    batch = Batch(text, there, torch.zeros(rows, 1, 5), torch.zeros(rows, 1, dtype=torch.bool))
    right = torch.randint(length, (rows,), generator=generator)
    drawn = faithful.randomised(model, config, "inputs", seed=0)
    for name, method in METHODS.items():
        found = method(drawn, batch, target_of(drawn, batch))[:, :length].abs().argmax(1)
        assert abs((found == right).float().mean() - 1 / length) < 4 * (7 / 64 / rows) ** 0.5, name


def test_tables_hold_what_the_functions_say(model, config, batch):
    ids = ["a", "b", "c"]
    tables = measure(model, batch, ids, torch.Generator().manual_seed(0))
    target, there = target_of(model, batch), real(batch)
    chance = faithful.random_curve(model, batch, target, torch.Generator().manual_seed(0))
    worth = METHODS["occlusion"](model, batch, target)
    fall = faithful.area(chance) - faithful.area(faithful.curve(model, batch, target, worth))
    areas = tables["areas"].set_index(["method", "id"])
    assert areas.loc["occlusion", "deletion"].tolist() == pytest.approx(fall.tolist(), abs=1e-5)
    curves = tables["curves"].set_index(["method", "kind"])
    assert curves.loc[("random", "insertion"), "at_0"].tolist() == pytest.approx(
        curves.loc[("random", "deletion"), "at_1"].tolist()
    )
    assert len(tables["agreement"]) == 6 * 3 and tables["truth"].empty
    same = faithful.agreement(worth, METHODS["gates"](model, batch, target), there)
    pairs = tables["agreement"].set_index(["first", "second"]).sort_index()
    assert pairs.loc[("occlusion", "gates"), "correlation"].tolist() == pytest.approx(same.tolist())
    rows = tables["modalities"]
    assert (rows["turns_text"] == (rows["without_text"] > rows["score"])).all()
    again = sanity(model, config, batch, ids, seed=0).set_index(["method", "part"]).sort_index()
    assert again.loc[("gates", "heads"), "correlation"].tolist() == pytest.approx([1.0] * 3)  # gates come before heads
    assert again.loc[("gates", "inputs"), "correlation"].mean() < 0.99


def test_routing_counts_assignments_and_averages_gates(model, batch):
    word = torch.zeros_like(batch.text_mask)
    word[:, 1] = True
    tables, seen = routing(model, batch, ["a", "b", "c"], word), trace(model, batch)
    gates = tables["gates"].set_index("id")
    assert gates.loc["a", "gate_text"] == pytest.approx(seen.output.gates["text"][0, :4].mean().item())
    assert gates.loc["b", "gate_word"] == pytest.approx(seen.output.gates["text"][1, 1].item())
    assert np.isnan(gates.loc["b", "gate_vision"]) and np.isnan(gates.loc["c", "gate_word"])
    shares = tables["experts"].set_index(["group", "id"]).sort_index()["share"]
    fired = (seen.experts["shared"][0] > 0).sum(0).double()
    assert shares["shared", "a"].tolist() == pytest.approx((fired / fired.sum()).tolist())
    assert shares["vision", "b"].isna().all()
