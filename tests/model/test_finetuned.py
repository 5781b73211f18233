"""GEXSent with text layers below it. What these are is not its business: here, plain torch."""

import pytest
import torch
from torch import Tensor, nn

from gexsent.errors import DataError
from gexsent.model import SYSTEMS, build, fine_tuned, load_model, save_model


class Attention(nn.Module):
    """One head of attention that starts as no change, and is NaN where a row's mask is empty, as a softmax is."""

    def __init__(self):
        super().__init__()
        self.description = {"width": 6}
        self.out = nn.Linear(6, 6)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        scores = (states @ states.transpose(1, 2)).masked_fill(~mask[:, None], float("-inf"))
        return states + self.out(scores.softmax(-1) @ states)


@pytest.fixture
def make_model(make_config):
    def make(seed=0):
        layers = Attention()
        torch.manual_seed(seed)
        return build(make_config("gexsent_finetuned"), layers)

    return make


def test_only_it_is_fine_tuned():
    assert [name for name in SYSTEMS if fine_tuned(name)] == ["gexsent_finetuned"]


def test_with_layers_that_change_nothing_it_is_gexsent(make_model, make_gexsent, make_batch):
    batch = make_batch((3, 0, 2), (4, 2, 0))
    plain, tuned = make_gexsent()(batch), make_model().eval()(batch)
    assert all(torch.equal(tuned.heads[task], scores) for task, scores in plain.heads.items())
    assert all(torch.equal(tuned.gates[name], gates) for name, gates in plain.gates.items())


def test_the_layers_change_what_it_reads_of_the_text_alone(make_model, make_batch, shake):
    model, batch = make_model().eval(), make_batch((3, 0, 2), (4, 2, 0))
    before = model(batch).heads["sentiment"]
    shake(model.text_layers)
    changed = (model(batch).heads["sentiment"] != before).any(1)
    assert changed.tolist() == [True, False, True]


def test_an_absent_text_leaves_every_gradient_finite(make_model, make_batch, shake):
    model = shake(make_model())
    output = model(make_batch((3, 0, 2), (4, 2, 0), fill=9.0))
    sum(scores.square().sum() for scores in output.heads.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    assert model.text_layers.out.weight.grad.any()


def test_a_longer_padding_changes_nothing(make_model, make_batch, shake):
    model = shake(make_model()).eval()
    short, long = (model(make_batch((3, 0, 2), (4, 2, 0), extra=extra, fill=extra)) for extra in (0, 3))
    for task, scores in short.heads.items():
        torch.testing.assert_close(long.heads[task], scores, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("system", "layers"), [("gexsent_finetuned", None), ("gexsent", Attention())])
def test_layers_are_for_a_fine_tuned_system_and_it_needs_them(make_config, system, layers):
    with pytest.raises(DataError, match=f"{system}: only a fine-tuned system has layers of a text encoder"):
        build(make_config(system), layers)


def test_a_folder_that_does_not_say_how_to_build_the_layers(make_model, make_config, tmp_path):
    save_model(make_model(), make_config("gexsent_finetuned"), tmp_path)
    with pytest.raises(DataError, match=r"text_layers\.json: does not describe the layers of a text encoder"):
        load_model(tmp_path)  # Attention is none that the encoders know
    (tmp_path / "text_layers.json").unlink()
    with pytest.raises(DataError, match=r"text_layers\.json"):
        load_model(tmp_path)
