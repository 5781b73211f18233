"""A training step looks at no value of the device, so that the host never waits for a GPU.

On the meta device tensors have shapes and no values: whatever would copy one to the host, or make a shape of one, raises.
"""

from contextlib import nullcontext

import pytest
import torch

from gexsent.model import SYSTEMS
from gexsent.training.loop import _Run

FINE_TUNED = "gexsent_finetuned"  # its encoder layers are another library's, which looks whether a mask hides anything
STEPPED = [*(name for name in SYSTEMS if name != FINE_TUNED), "gexsent+dropout"]

LOOKS = {
    "a number": lambda x: x.sum().item(),
    "a list": lambda x: x.tolist(),
    "a truth": lambda x: bool(x.any()),
    "a copy": lambda x: x.cpu(),
    "places": lambda x: x.nonzero(),
    "picking": lambda x: x[x > 0],
    "selecting": lambda x: x.masked_select(x > 0),
    "different values": lambda x: x.unique(),
    "repeating": lambda x: torch.repeat_interleave(x, x.long()),
}


@pytest.mark.parametrize("look", LOOKS)
def test_whatever_looks_at_a_value_raises_on_the_meta_device(look):
    with pytest.raises((NotImplementedError, RuntimeError)):
        LOOKS[look](torch.ones(3, device="meta"))


@pytest.fixture
def stepped(monkeypatch):
    """A run of a fit whose model, samples and optimiser are on the meta device, after one step; what the step gave."""
    plain = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda groups, lr, fused: plain(groups, lr=lr, foreach=True))
    monkeypatch.setattr(_Run, "_precision", lambda run: nullcontext())

    def step(job, params):
        run = _Run(job, params, "meta")
        return run.one_step(job.train_rows[:8])

    return step


@pytest.mark.parametrize("temporal", [False, True])
@pytest.mark.parametrize("dataset", ["mosi", "memotion"])
@pytest.mark.parametrize("system", STEPPED)
def test_a_step_looks_at_no_value(make_job, make_params, stepped, system, dataset, temporal):
    job = make_job(system, dataset=dataset, temporal=temporal)
    found = stepped(job, make_params(average=0.9))
    assert found["train_loss"].device.type == "meta"
    assert all(value.device.type == "meta" for value in found.values())
