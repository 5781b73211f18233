"""Ragged tokens, batches, and the order in which they come."""

import numpy as np
import pytest
import torch

from gexsent.datasets import SPOKEN
from gexsent.model.batch import Batch
from gexsent.training.data import Samples, Tokens, epoch, hide_modality, hide_tokens, in_order, targets


@pytest.fixture
def tokens():
    """Three samples with two, no and one token of width 2."""
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]], dtype=torch.float16)
    return Tokens(values, torch.tensor([0, 2, 2, 3]))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_gather_pads_to_the_longest_of_its_own_rows(tokens):
    values, mask = tokens.gather(torch.tensor([2, 0, 1]))
    assert values.tolist() == [[[5, 9], [0, 0]], [[1, 2], [3, 4]], [[0, 0], [0, 0]]]
    assert mask.tolist() == [[True, False], [True, True], [False, False]]
    assert values.dtype == torch.float32
    assert tokens.gather(torch.tensor([2]))[0].shape == (1, 1, 2)


def test_a_batch_without_any_token_has_length_1(tokens):
    values, mask = tokens.gather(torch.tensor([1, 1]))
    assert values.shape == (2, 1, 2) and not values.any() and not mask.any()


def test_a_modality_that_nobody_has():
    tokens = Tokens.empty(4)
    assert tokens.lengths.tolist() == [0, 0, 0, 0]
    values, mask = tokens.gather(torch.tensor([0, 3]))
    assert values.shape == (2, 1, 1) and not mask.any()
    assert [s.tolist() for s in tokens.statistics(torch.tensor([0, 1]))] == [[0], [1]]


def test_statistics_are_over_the_tokens_of_these_rows(make_tokens):
    tokens, rows = make_tokens(20, 3, 0), torch.tensor([7, 2, 11, 3])
    offsets, values = tokens.offsets.numpy(), tokens.values.double().numpy()
    kept = np.concatenate([values[offsets[r] : offsets[r + 1]] for r in rows.tolist()])
    mean, deviation = tokens.statistics(rows)
    np.testing.assert_allclose(mean, kept.mean(0), rtol=1e-5)
    np.testing.assert_allclose(deviation, kept.std(0), rtol=1e-5)


def test_statistics_of_half_precision_do_not_overflow():
    tokens = Tokens(torch.full((2000, 1), 60000.0, dtype=torch.float16), torch.tensor([0, 2000]))
    mean, deviation = tokens.statistics(torch.tensor([0]))
    assert float(mean) == float(torch.tensor(60000.0).half()) and float(deviation) == 0


def test_samples_find_rows_by_id(tokens):
    samples = Samples(["a", "b", "c"], tokens, Tokens.empty(3), digest="")
    assert samples.rows(["c", "a"]).tolist() == [2, 0]
    batch = samples.batch(samples.rows(["c", "a"]))
    assert batch.text[:, 0].tolist() == [[5, 9], [1, 2]]
    assert batch.vision.shape == (2, 1, 1) and not batch.vision_mask.any()


def test_targets_stand_in_the_order_of_the_tasks():
    labels = {"sentiment": np.array([-1.0, np.nan]), "intensity": np.array([2.5, -1.0])}
    made = targets(labels, SPOKEN)
    np.testing.assert_array_equal(made, np.array([[2.5, 0.0], [-1.0, np.nan]], np.float32))
    assert made.dtype == torch.float32


@pytest.mark.parametrize(("count", "batch"), [(50, 8), (48, 8), (300, 4), (8, 8), (3, 8), (131, 2)])
def test_an_epoch_visits_every_position_once(count, batch):
    lengths = torch.randint(0, 9, (count,), generator=generator(5))
    batches = list(epoch(lengths, batch, generator()))
    seen = torch.cat(batches).tolist()
    assert len(seen) == len(set(seen))
    lost = 1 if count % batch == 1 else 0
    assert len(seen) == count - lost
    assert all(1 < len(rows) <= batch for rows in batches)


def test_a_last_batch_of_one_is_dropped_and_not_always_the_same():
    lengths = torch.ones(9, dtype=torch.int64)
    lost = set()
    for seed in range(20):
        batches = list(epoch(lengths, 4, generator(seed)))
        assert sorted(len(rows) for rows in batches) == [4, 4]
        lost |= set(range(9)) - set(torch.cat(batches).tolist())
    assert len(lost) > 1


def test_batches_are_of_similar_length_and_in_random_order():
    lengths = torch.arange(64)
    batches = list(epoch(lengths, 8, generator()))
    assert all(int(lengths[rows].max() - lengths[rows].min()) == 7 for rows in batches)  # one stretch, sorted
    firsts = [int(lengths[rows].min()) for rows in batches]
    assert firsts != sorted(firsts)


def test_beyond_a_stretch_of_16_batches_chance_mixes_lengths():
    """Sorted as a whole, each batch of 4 would span 3 steps of length, and the same rows would always meet."""
    lengths = torch.arange(640)
    spans = [int(lengths[rows].max() - lengths[rows].min()) for rows in epoch(lengths, 4, generator())]
    assert max(spans) > 3


def test_the_order_follows_the_generator():
    lengths = torch.randint(0, 9, (50,), generator=generator(5))
    first, again, other = ([r.tolist() for r in epoch(lengths, 8, generator(seed))] for seed in (1, 1, 2))
    assert first == again
    assert first != other
    shared = generator(1)
    assert [r.tolist() for r in epoch(lengths, 8, shared)] != [r.tolist() for r in epoch(lengths, 8, shared)]


def test_evaluation_visits_every_position_even_a_last_one():
    lengths = torch.tensor([3, 1, 2, 1, 5])
    assert [rows.tolist() for rows in in_order(lengths, 2)] == [[1, 3], [2, 0], [4]]


@pytest.fixture
def batch():
    """200 samples with up to 10 tokens of text and 6 of vision; some lack one of them."""
    text, vision = torch.arange(10) < torch.arange(200)[:, None] % 11, torch.arange(6) < torch.arange(200)[:, None] % 7
    return Batch(torch.ones(200, 10, 2), text, torch.ones(200, 6, 3), vision)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95, 1.0])
def test_hiding_never_hides_all_and_never_shows_padding(batch, share):
    hidden = hide_tokens(batch, share, generator())
    for before, after in ((batch.text_mask, hidden.text_mask), (batch.vision_mask, hidden.vision_mask)):
        assert not (after & ~before).any()
        assert (after.any(1) == before.any(1)).all()
    assert hidden.text is batch.text and hidden.vision is batch.vision


def test_hiding_hides_that_share(batch):
    long = batch.text_mask.sum(1) >= 8  # with 8 tokens, all are lost once in 65,536 times
    kept = hide_tokens(batch, 0.25, generator()).text_mask[long].sum() / batch.text_mask[long].sum()
    assert float(kept) == pytest.approx(0.75, abs=0.05)


def test_hiding_nothing(batch):
    hidden = hide_tokens(batch, 0.0, generator())
    assert torch.equal(hidden.text_mask, batch.text_mask) and torch.equal(hidden.vision_mask, batch.vision_mask)


def test_hiding_follows_the_generator_and_treats_the_modalities_apart(batch):
    first, again, other = (hide_tokens(batch, 0.5, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.text_mask, again.text_mask) and torch.equal(first.vision_mask, again.vision_mask)
    assert not torch.equal(first.text_mask, other.text_mask)
    both = (batch.text_mask.sum(1) >= 6) & (batch.vision_mask.sum(1) >= 6)
    assert not torch.equal(first.text_mask[both, :6], first.vision_mask[both])


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_modality_is_hidden_whole_and_never_the_last_one(batch, share):
    hidden = hide_modality(batch, share, generator())
    both = batch.text_mask.any(1) & batch.vision_mask.any(1)
    lost = {}
    for name in ("text_mask", "vision_mask"):
        before, after = getattr(batch, name), getattr(hidden, name)
        lost[name] = (after != before).any(1)
        assert not after[lost[name]].any() and torch.equal(after[~lost[name]], before[~lost[name]])
        assert not lost[name][~both].any()
    assert not (lost["text_mask"] & lost["vision_mask"]).any()
    either = (lost["text_mask"] | lost["vision_mask"])[both].float().mean()
    assert float(either) == pytest.approx(share, abs=0.1)
    assert float(lost["text_mask"][both].float().mean()) == pytest.approx(share / 2, abs=0.1)
    assert hidden.text is batch.text and hidden.vision is batch.vision


def test_hiding_no_modality_draws_nothing(batch):
    source = generator()
    before = source.get_state()
    assert hide_modality(batch, 0.0, source) is batch
    assert torch.equal(source.get_state(), before)
