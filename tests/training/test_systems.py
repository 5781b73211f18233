"""Every system learns in the same loop."""

import pytest
import torch

from gexsent.model import SYSTEMS, load_model
from gexsent.training import loop
from gexsent.training.loop import _Run, forward


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_trains_and_its_saved_fit_predicts(tmp_path, make_job, make_params, system):
    job, params = make_job(system, dataset="memotion"), make_params(epochs=1, epoch_steps=2)
    start = _Run(job, params, "cpu").model
    loop.fit(job, params, tmp_path)
    model, config = load_model(tmp_path)
    assert config == job.config
    fixed = [name for name, p in start.named_parameters() if not p.requires_grad]
    assert bool(fixed) is (system in ("random_router", "dense_ffn"))
    before, after = start.state_dict(), model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in fixed)
    learned = [name for name in before if not torch.equal(after[name], before[name])]
    assert len(learned) > len(before) / 2
    heads = loop.predict(tmp_path, job.samples, torch.arange(64), batch=16)
    assert {name: tuple(scores.shape) for name, scores in heads.items()} == {t.name: (64, t.outputs) for t in job.tasks}
    assert all(scores.isfinite().all() for scores in heads.values())
    untrained = forward(start, job.samples, torch.arange(64), batch=16)
    assert all(not torch.allclose(heads[name], scores) for name, scores in untrained.items())
