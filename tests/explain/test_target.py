"""Hiding a token must be the same as not having it, however many variants share a pass."""

import torch

from gexsent.explain import target as targets
from gexsent.explain.target import Target, target_of
from gexsent.tasks import Task


def test_support_is_positive_at_first_and_negative_exactly_where_another_class_is_predicted():
    first, later = torch.randn(2, 500, 3, generator=torch.Generator().manual_seed(0))
    target = Target.of({"sentiment": first})
    assert (target.score({"sentiment": first}) > 0).all()
    turned = target.score({"sentiment": later}) < 0
    assert torch.equal(turned, later.argmax(1) != first.argmax(1))


def test_hidden_tokens_are_as_if_they_were_not_there(make_model, batch):
    model = make_model(temporal=True)  # frames are read in order: a hole must close
    target = target_of(model, batch)
    keep = torch.ones(1, 10, dtype=torch.bool)
    keep[0, [0, 6]] = False  # the first word and the second frame
    score = targets.scores_with(model, batch, target, torch.tensor([0]), keep)
    shorter = batch._replace(
        text=batch.text[:1, 1:], text_mask=batch.text_mask[:1, 1:],
        vision=batch.vision[:1, [0, 2, 3, 4]], vision_mask=batch.vision_mask[:1, [0, 2, 3, 4]],
    )  # fmt: skip
    torch.testing.assert_close(score, target.score(model(shorter).heads, torch.tensor([0])))


def test_variants_are_scored_alike_in_one_pass_or_many(model, batch, monkeypatch):
    target = target_of(model, batch)
    rows, keep = torch.tensor([0, 1, 0, 2]), torch.rand(4, 10, generator=torch.Generator().manual_seed(0)) > 0.3
    once = targets.scores_with(model, batch, target, rows, keep)
    monkeypatch.setattr(targets, "CHUNK", 3)
    torch.testing.assert_close(targets.scores_with(model, batch, target, rows, keep), once)


def test_variants_that_show_the_same_are_scored_once(model, batch):
    target, seen = target_of(model, batch), []
    keep = torch.ones(6, 10, dtype=torch.bool)
    keep[1, 4] = False  # padding of the first sample: nothing is hidden
    keep[2, 0] = keep[5, 0] = False
    rows = torch.tensor([0, 0, 0, 1, 1, 0])
    alone = torch.cat([targets.scores_with(model, batch, target, rows[[n]], keep[[n]]) for n in range(6)])
    hook = model.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0].text)))
    together = targets.scores_with(model, batch, target, rows, keep)
    hook.remove()
    torch.testing.assert_close(together, alone)
    assert seen == [3]
    assert targets.scores_with(model, batch, target, rows[:0], keep[:0]).shape == (0,)


YES = Task("liked", "binary", 1, "liked", ("no", "yes"))
LEVELS = Task("stars", "ordinal", 3, "stars", ("1", "2", "3", "4"))


def test_support_of_yes_or_no_falls_below_zero_exactly_where_the_answer_is_the_other():
    first, later = torch.randn(2, 500, 1, generator=torch.Generator().manual_seed(0))
    target = Target.of({"liked": first}, YES)
    assert (target.score({"liked": first}) > 0).all()
    assert torch.equal(target.score({"liked": later}) < 0, (later > 0)[:, 0] != (first > 0)[:, 0])


def test_support_of_a_level_is_the_margin_of_the_nearer_threshold():
    raw = torch.tensor([[2.0, 0.5, -1.0], [-3.0, -1.0, -2.0], [4.0, 3.0, 1.0]])  # levels 1 and 2 passed; none; all
    target = Target.of({"stars": raw}, LEVELS)
    assert target.choice.tolist() == [2, 0, 3]
    assert target.score({"stars": raw}).tolist() == [0.5, 3.0, 1.0]
    lower = torch.tensor([[2.0, -0.25, -1.0]])
    assert target.score({"stars": lower}, torch.tensor([0])).tolist() == [-0.25]
