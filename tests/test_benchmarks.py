"""The measuring code of `make bench`: what it counts, how it forms ratios, and that contestants do the same work. Nothing
here looks at a clock."""

from pathlib import Path

import numpy as np
import papermill
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks import counting, experts, machine, memory, shares, stacked, systems, tables, timing
from benchmarks.__main__ import FULL
from benchmarks.worker import Worker
from gexsent.model import build, cost, fine_tuned

ROOT = Path(__file__).parents[1]


def test_ratios_are_formed_inside_a_round_and_given_with_their_spread():
    found = timing.speeds({"slow": [4.0, 2.0, 6.0], "fast": [1.0, 1.0, 2.0]}, "slow")
    assert found.loc["slow"].tolist() == [1, 1, 1]
    assert found.loc["fast"].tolist() == [2, 3, 4]  # of 4, 2 and 3, and not of the sorted times
    assert list(found.columns) == ["min", "median", "max"]


@pytest.mark.parametrize("warm", [True, False])
def test_rounds_measure_everyone_once_and_turn_round(warm):
    calls = []
    measures = {name: lambda name=name: calls.append(name) or float(len(calls)) for name in "ab"}
    found = timing.in_rounds(measures, 2, warm=warm)
    assert "".join(calls) == ("baabba" if warm else "baab")
    assert found == ({"a": [3, 6], "b": [4, 5]} if warm else {"a": [2, 3], "b": [1, 4]})


def test_a_call_is_repeated_until_the_time_is_full(monkeypatch):
    clock = iter(np.arange(0, 10, 0.25))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    calls = []
    assert timing.seconds_a_call(lambda: calls.append(1), 1.0) == 0.25
    assert len(calls) == 4


def test_flops_of_a_linear_layer_are_those_counted_by_hand():
    layer, inputs = nn.Linear(12, 7), torch.randn(5, 12)
    once = 2 * 5 * 12 * 7
    assert counting.count(lambda: layer(inputs)).flops == once
    assert counting.count(lambda: layer(inputs).sum().backward()).flops == 2 * once  # and the gradient of the weights
    inputs.requires_grad_()
    assert counting.count(lambda: layer(inputs).sum().backward()).flops == 3 * once  # and of the inputs
    with torch.inference_mode():
        assert counting.count(lambda: layer(inputs.detach())).flops == once
    assert machine.product_flops((5, 12, 7)) == once


def test_flops_of_attention_are_those_of_its_two_products():
    query = torch.randn(2, 3, 10, 4)  # samples, heads, tokens, width
    counted = counting.count(lambda: F.scaled_dot_product_attention(query, query, query))
    assert counted.flops == 2 * (2 * 2 * 3 * 10 * 10 * 4)


def test_flops_of_a_recurrent_layer_are_those_of_each_of_its_steps():
    layer, frames = nn.LSTM(6, 8, batch_first=True), torch.randn(3, 11, 6)
    counted = counting.count(lambda: layer(frames))
    assert counted.flops == 11 * 2 * 3 * (4 * 8) * (6 + 8)


def test_flops_of_a_model_agree_with_the_table_of_costs():
    job, _ = systems.job("gexsent", systems.SHAPES["mosei"])
    model = build(job.config).eval()
    batch = job.samples.batch(torch.arange(2))
    assert counting.count(lambda: model(batch)).flops == 2 * cost.multiply_adds(model, batch)


def test_bytes_are_those_read_and_written_outside_products():
    values, table = torch.randn(6, 10), torch.randn(1000, 10)
    one = 4 * 60
    assert counting.count(values.relu).bytes == 2 * one
    assert counting.count(values.relu_).bytes == 2 * one
    assert counting.count(lambda: values + values).bytes == 3 * one
    assert counting.count(lambda: values.view(60).unsqueeze(0)).bytes == 0
    assert counting.count(lambda: values @ values.T).bytes == 0
    assert counting.count(lambda: torch.empty(100)).bytes == 0
    assert counting.count(lambda: values + torch.as_strided(values, (6, 10), (0, 1))).bytes == 3 * one
    assert counting.count(lambda: table.index_select(0, torch.arange(6))).bytes < 4 * one  # not of the whole table


def test_shares_are_the_time_at_the_ceiling_over_the_time_taken():
    work = {"step": [64, 1000, 50, 0]}
    seconds = {"products": [0.001, 0.002], "other operations": [0.01, 0.01], "disk": [1.0, 1.0], "step": [4.0, 4.0]}
    found = shares.shares(work, seconds)["step"]
    assert found["products"].tolist() == [0.25, 0.5]
    assert found["other operations"].tolist() == [0.125, 0.125]
    assert found["disk"].tolist() == [0, 0]
    row = shares.table({"step": found}, work, seconds).loc["step"]
    assert row.tolist() == ["16", "products", "0.38 (0.25 to 0.50)", "0.50"]


def test_memory_is_drawn_on_along_a_line_that_must_be_one():
    line = memory.line([1, 2, 4], [5.0, 7.0, 11.0])
    assert (line.start, line.slope, line.at(10)) == pytest.approx((3, 2, 23))
    assert line.off == pytest.approx(0)
    assert memory.line([1, 2, 4], [1.0, 4.0, 16.0]).off > 0.2
    with pytest.raises(ValueError, match="three or more"):
        memory.line([1, 2], [5.0, 7.0])


def test_stores_of_made_up_features_load_as_the_train_stage_loads_them(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_held", [])
    monkeypatch.setattr(memory, "forget_peak", lambda: None)
    memory.build(folder=str(tmp_path), samples=3)
    assert memory.load(folder=str(tmp_path)).keys() == {"held", "peak", "seconds"}
    (samples,) = memory._held
    batch = samples.batch(torch.arange(3))
    assert batch.text.shape == (3, 24, 768) and batch.vision.shape == (3, 8, 512)
    assert batch.text_mask.all() and batch.vision_mask.all()
    stored = sum(tokens.values.nbytes for tokens in (samples.text, samples.vision))
    assert stored == 3 * memory.BYTES
    assert memory.gather(at_least=0) > 0


def test_all_ways_to_compute_experts_give_the_same_results_and_gradients():
    group, tokens = experts.group_of(4, 2, tokens=20)
    results, slopes = {}, {}
    for name, way in experts.WAYS.items():
        results[name] = way(group, tokens).detach()
        experts.step(way, group, tokens)
        slopes[name] = [weight.grad.clone() for weight in group.parameters()]
    for name in experts.WAYS:
        torch.testing.assert_close(results[name], results[experts.BASELINE], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(slopes[name], slopes[experts.BASELINE], atol=1e-5, rtol=1e-4)


def test_seeds_learn_the_same_side_by_side_as_one_after_another():
    ways = stacked.steps(3)
    losses = {name: torch.stack([step() for _ in range(3)]) for name, step in ways.items()}
    assert losses[stacked.BASELINE].shape == (3, 3)
    torch.testing.assert_close(losses[stacked.STACKED], losses[stacked.BASELINE], atol=1e-4, rtol=1e-3)
    assert (losses[stacked.STACKED][2] < losses[stacked.STACKED][0]).all()


@pytest.mark.parametrize("shape", systems.SHAPES)
def test_a_measured_training_step_is_one_of_the_shape_that_is_named(shape):
    steps = systems.Steps("text_only", systems.SHAPES[shape])
    before = [weight.clone() for weight in steps.run.model.parameters()]
    steps()
    batch = steps.run.samples.batch(steps.batches[0])
    assert batch.text.shape == (systems.BATCH, *systems.SHAPES[shape].text)
    assert batch.vision.shape == (systems.BATCH, *systems.SHAPES[shape].vision)
    assert all((new != old).any() for new, old in zip(steps.run.model.parameters(), before, strict=True))


def test_every_system_but_the_fine_tuned_is_measured():
    assert {"gexsent", "text_only", "released"} <= set(systems.NAMES)
    assert not any(map(fine_tuned, systems.NAMES))


def test_a_worker_answers_and_says_what_went_wrong():
    with Worker() as worker:
        assert worker.ask("machine.product_flops", size=[2, 3, 4]) == 48
        with pytest.raises(RuntimeError, match="no attribute 'nothing'"):
            worker.ask("machine.nothing")
        assert worker.ask("machine.product_flops", size=[1, 1, 1], copied=True) == 2  # it lives on
        with pytest.raises(RuntimeError, match="the copy failed"):
            worker.ask("machine.product_flops", size=[1], copied=True)
    assert worker.process.returncode == 0


def test_tables_are_shown_and_kept(tmp_path):
    seconds = {"": {"slow": [4.0, 4.0, 4.0], "fast": [2.0, 1.0, 4.0]}}
    table, data = tables.ratios(seconds, ["slow"], 8, "samples/s")
    assert table.loc["fast"].tolist() == ["2.00 (1.00 to 4.00)", "4"]
    assert data["median"].tolist() == [1, 2]
    shown = tables.keep(table, tmp_path, "some", "A caption.", data)
    assert "2.00 (1.00 to 4.00)" in shown.data and (tmp_path / "some.md").read_text() == shown.data
    assert (tmp_path / "some.csv").read_text().splitlines()[0] == "name,min,median,max,heading,baseline"
    assert [tables.rounded(value) for value in (1234.5, 12.345, 0.01234)] == ["1,234", "12.3", "0.0123"]


def test_the_full_settings_are_those_that_the_notebook_takes():
    taken = papermill.inspect_notebook(str(ROOT / "notebooks" / "11_speed.ipynb"))
    assert FULL.keys() == taken.keys()
