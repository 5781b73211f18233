"""What must hold for every baseline, however it joins the two modalities."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gexsent.model import Batch

# Each with how many places drop something: inputs, what is special to it, heads.
DROPOUTS = {"text_only": 3, "vision_only": 3, "late_fusion": 6, "tfn": 6, "lmf": 6, "mult": 12, "misa": 6}
TWO = ("late_fusion", "tfn", "lmf", "mult", "misa")
ORDERED = ("vision_only", "mult", "misa")  # the others take the mean of the frames
few = settings(max_examples=10, deadline=None)
lengths = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=4)


@pytest.mark.parametrize("temporal", [False, True])
@pytest.mark.parametrize("system", DROPOUTS)
def test_outputs_do_not_depend_on_padding_order_or_neighbours(make_batch, make_system, system, temporal):
    model = make_system(system, temporal=temporal)

    @few
    @given(lengths=lengths, extra=st.integers(0, 3), seed=st.integers(0, 99))
    def check(lengths, extra, seed):
        sizes = list(zip(*lengths, strict=True))
        together = model(make_batch(*sizes, seed=seed))
        padded = make_batch(*sizes, seed=seed, extra=extra, fill=float("nan"))
        backwards = model(Batch(*(tensor.flip(0) for tensor in padded)))
        for name, loss in together.losses.items():
            assert loss.isfinite()
            torch.testing.assert_close(backwards.losses[name], loss, atol=1e-5, rtol=1e-4)
        for task, scores in together.heads.items():
            assert scores.isfinite().all()
            torch.testing.assert_close(backwards.heads[task].flip(0), scores, atol=1e-5, rtol=1e-4)
            for row in range(len(lengths)):
                alone = model(Batch(*(tensor[row : row + 1] for tensor in padded))).heads[task]
                torch.testing.assert_close(alone, scores[row : row + 1], atol=1e-5, rtol=1e-4)

    check()


@pytest.mark.parametrize("modality", ["text", "vision"])
@pytest.mark.parametrize("system", TWO)
def test_contents_of_an_absent_modality_change_nothing(make_batch, make_system, system, modality):
    model, batch = make_system(system, temporal=True), make_batch()
    mask = getattr(batch, f"{modality}_mask").clone()
    mask[1] = False
    for gone in (mask, torch.zeros_like(mask)):  # of one sample, of all
        hidden = batch._replace(**{f"{modality}_mask": gone})
        tokens = torch.where(gone.unsqueeze(-1), getattr(batch, modality), float("nan"))
        plain, ruined = model(hidden), model(hidden._replace(**{modality: tokens}))
        for task, scores in plain.heads.items():
            assert torch.equal(ruined.heads[task], scores)
            assert scores.isfinite().all()
            assert not torch.allclose(model(batch).heads[task], scores, atol=1e-4)
        for name, loss in plain.losses.items():
            assert torch.equal(ruined.losses[name], loss)
            assert loss.isfinite()


@pytest.mark.parametrize("system", ORDERED)
def test_temporal_reads_the_order_of_frames(make_batch, make_system, system):
    batch = make_batch((2, 2), (4, 4))
    backwards = batch._replace(vision=batch.vision.flip(1))
    for temporal in (False, True):
        model = make_system(system, temporal=temporal)
        change = (model(batch).heads["sentiment"] - model(backwards).heads["sentiment"]).abs().max()
        assert bool(change > 1e-4) is temporal


@pytest.mark.parametrize("system", DROPOUTS)
def test_dropout_acts_in_training_only(make_batch, make_system, system):
    batch = make_batch()
    for dropout, still in ((0.0, True), (0.5, False)):
        model = make_system(system, dropout=dropout).train()
        assert torch.equal(model(batch).heads["sentiment"], model(batch).heads["sentiment"]) is still
        model.eval()
        assert torch.equal(model(batch).heads["sentiment"], model(batch).heads["sentiment"])
    modules = make_system(system, dropout=0.3).modules()
    drops = [module.p for module in modules if isinstance(module, torch.nn.Dropout)]
    assert drops == [0.3] * DROPOUTS[system]


@pytest.mark.parametrize("system", DROPOUTS)
def test_outputs_and_width_set_the_shapes(make_batch, make_system, system):
    model = make_system(system, outputs={"a": 4, "b": 2}, width=12)
    heads = model(make_batch()).heads
    assert {task: tuple(scores.shape) for task, scores in heads.items()} == {"a": (3, 4), "b": (3, 2)}
    assert model.heads.tasks["a"].weight.shape == (4, 12)


@pytest.mark.parametrize("system", DROPOUTS)
def test_every_parameter_gets_gradient(make_batch, make_system, system):
    output = (model := make_system(system, temporal=True))(make_batch((4, 2, 0, 3), (2, 0, 3, 4)))
    (sum(scores.square().sum() for scores in output.heads.values()) + sum(output.losses.values())).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
