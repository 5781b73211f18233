"""From a configuration to a model, and to a folder and back."""

import json

import pytest
import safetensors.torch
import torch
from torch import nn

from gexsent.errors import DataError
from gexsent.model import SYSTEMS, Released, build, fine_tuned, load_model, save_model, system
from gexsent.model.build import settings_of
from gexsent.model.config import construct

FROZEN = [name for name in SYSTEMS if not fine_tuned(name)]


@pytest.fixture
def saved(make_config, tmp_path):
    """A function that saves a small model of a system and returns the folder, the model and its configuration."""

    def save(system="gexsent", **changes):
        config = make_config(system, **changes)
        torch.manual_seed(1)
        model = build(config)
        for module in model.modules():
            if hasattr(module, "standardise"):  # statistics that only a trained model has
                module.standardise(torch.randn_like(module.mean), torch.rand_like(module.deviation) + 0.5)
        folder = tmp_path / "new" / system
        save_model(model, config, folder)
        return folder, model, config

    return save


@pytest.mark.parametrize("temporal", [False, True])
@pytest.mark.parametrize("system", FROZEN)
def test_save_and_load_give_the_same_bits(saved, make_batch, system, temporal):
    folder, model, config = saved(system, temporal=temporal)
    loaded, read = load_model(folder)
    assert read == config
    assert not loaded.training
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    batch = make_batch((3, 0, 2), (4, 2, 0))
    for task, scores in model.eval()(batch).heads.items():
        assert scores.shape == (3, config.outputs[task])
        assert torch.equal(loaded(batch).heads[task], scores)


@pytest.mark.parametrize("system", FROZEN)
def test_the_same_seed_builds_the_same_model(make_config, system):
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(build(make_config(system)).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_every_value_reaches_gexsent(make_config):
    model = build(
        make_config(
            text_features=7,
            vision_features=3,
            outputs={"a": 4},
            width=12,
            experts=5,
            expert_width=9,
            top_k=3,
            attention_heads=4,
            dropout=0.3,
            balance_weight=0.1,
            z_weight=0.2,
            group_weight=0.3,
            temporal=True,
        )
    )
    assert model.text_in.project.weight.shape == (12, 7)
    assert model.vision_in.project.weight.shape == (12, 3)
    assert model.heads.tasks["a"].weight.shape == (4, 12)
    for group in model.experts.groups.values():
        assert (group.count, group.top_k, group.w_out.shape[1]) == (5, 3, 9)
    assert {m: attention.heads for m, attention in model.attention.items()} == {"text": 4, "vision": 4}
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {0.3}
    assert model.weights == {"balance": 0.1, "z": 0.2, "group": 0.3}
    assert model.vision_in.order is not None
    assert model.text_in.order is None


@pytest.mark.parametrize("temporal", [False, True])
def test_only_vision_is_read_in_order(make_config, temporal):
    assert build(make_config("text_only", temporal=temporal)).tokens_in.order is None
    assert (build(make_config("vision_only", temporal=temporal)).tokens_in.order is not None) is temporal


@pytest.mark.parametrize("system", ["text_only", "vision_only", "late_fusion"])
def test_values_reach_the_baselines(make_config, system):
    model = build(make_config(system, text_features=7, vision_features=3, width=12, dropout=0.3, outputs={"a": 4}))
    widths = [m.in_features for name, m in model.named_modules() if name.endswith("project")]
    assert widths == {"text_only": [7], "vision_only": [3], "late_fusion": [7, 3]}[system]
    assert model.heads.tasks["a"].weight.shape == (4, 12)
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {0.3}


@pytest.mark.parametrize(("frames", "positions"), [(4, 4), (370, 370), (5000, 370)])
def test_the_released_model_has_as_many_positions_as_needed_and_370_at_most(make_config, frames, positions):
    model = build(make_config("released", frames=frames))
    assert isinstance(model, Released)
    assert model.frames == positions


def test_an_unknown_system_is_named_with_the_known_ones(make_config):
    for ask in (lambda: build(make_config("gexcent")), lambda: system("gexcent")):
        with pytest.raises(DataError, match=r"unknown system 'gexcent'.*gexsent.*no_gam.*released"):
            ask()


@pytest.mark.parametrize("name", FROZEN)
def test_a_system_is_its_class_with_its_changes(make_config, name):
    """The same seed and the same arguments, written out, give the same weights and the same kind of model."""
    model, changes = system(name).model, system(name).changes
    config = make_config(name)
    torch.manual_seed(3)
    built = build(config)
    torch.manual_seed(3)
    written = construct(model, config, changes)
    assert type(built) is type(written) is model
    assert str(built) == str(written)
    assert all(torch.equal(value, written.state_dict()[key]) for key, value in built.state_dict().items())


def test_modality_dropout_is_a_way_of_training_and_no_other_model():
    assert not system("gexsent").drops_modality
    assert system("gexsent+dropout") == system("gexsent")._replace(drops_modality=True)


@pytest.mark.parametrize("name", ["text_only+dropout", "vision_only+dropout"])
def test_modality_dropout_needs_two_modalities(name):
    with pytest.raises(DataError, match=r"uses one modality alone, and modality dropout needs two"):
        system(name)


def test_no_two_systems_are_the_same():
    pairs = [(model, tuple(changes.items())) for model, changes, *_ in SYSTEMS.values()]
    assert len(set(pairs)) == len(pairs)


def test_construct_passes_what_the_constructor_names_and_the_changes(make_config):
    class Named(nn.Module):
        def __init__(self, *, width, frames, extra=0, temporal_too=False):
            super().__init__()
            self.given = (width, frames, extra, temporal_too)

    assert construct(Named, make_config(width=12, frames=9), {}).given == (12, 9, 0, False)
    assert construct(Named, make_config(width=12, frames=9), {"extra": 5}).given == (12, 9, 5, False)

    class Wrapped(Named):
        def __init__(self, *, top_k, **rest):
            super().__init__(**rest)
            self.given += (top_k,)

    assert construct(Wrapped, make_config(width=12, frames=9, top_k=1), {}).given == (12, 9, 0, False, 1)


def change_config(**changes):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def drop_key(folder):
    path = folder / "config.json"
    values = json.loads(path.read_text())
    del values["top_k"]
    path.write_text(json.dumps(values))


def change_weights(change):
    def rewrite(folder):
        path = folder / "model.safetensors"
        state = safetensors.torch.load_file(path)
        change(state)
        safetensors.torch.save_file(state, path)

    return rewrite


BAD = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json.*cannot be read"),
    "config is no JSON": (lambda folder: (folder / "config.json").write_text("{"), "config.json.*cannot be read"),
    "config is no UTF-8": (lambda folder: (folder / "config.json").write_bytes(b'"\xff"'), "config.json.*cannot be"),
    "config is a list": (lambda folder: (folder / "config.json").write_text("[1]"), "config.json.*key"),
    "unknown key": (change_config(experts_per_token=2), "config.json.*'experts_per_token'"),
    "missing key": (drop_key, "config.json.*'top_k'"),
    "unknown system": (change_config(system="other"), "unknown system 'other'"),
    "a word for a number": (change_config(width="wide"), "config.json: width: found 'wide', expected .*int"),
    "a fraction for a count": (change_config(experts=2.5), "config.json: experts: found 2.5, expected .*int"),
    "a yes for a count": (change_config(top_k=True), "config.json: top_k: found True, expected .*int"),
    "a yes for a number": (change_config(dropout=False), "config.json: dropout: found False, expected .*float"),
    "nothing for a number": (change_config(dropout=None), "config.json: dropout: found None"),
    "a number for a yes": (change_config(temporal=1), "config.json: temporal: found 1, expected .*bool"),
    "a number for a name": (change_config(system=5), "config.json: system: found 5, expected .*str"),
    "a list of outputs": (change_config(outputs=["sentiment"]), "config.json: outputs: found .'sentiment'."),
    "half an output": (change_config(outputs={"a": 1.5}), "config.json: outputs: found .'a': 1.5."),
    "an impossible top_k": (change_config(top_k=9), "config.json.*top_k"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
    "weights cut short": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9]),
        "model.safetensors",
    ),
    "weights are text": (lambda folder: (folder / "model.safetensors").write_text("hello"), "model.safetensors"),
    "a missing weight": (
        change_weights(lambda state: state.pop("text_in.mean")),
        r"(?s)model.safetensors.*text_in\.mean",
    ),
    "an unknown weight": (
        change_weights(lambda state: state.update(adapter=torch.ones(2))),
        "(?s)model.safetensors.*adapter",
    ),
    "a wrong shape": (
        change_weights(lambda state: state.update({"text_in.mean": torch.ones(2)})),
        r"(?s)model.safetensors.*text_in\.mean",
    ),
    "a config of another size": (change_config(width=16), "(?s)model.safetensors.*size mismatch"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_folder_is_an_error_that_names_the_file_and_the_fault(case, saved):
    folder, _, _ = saved()
    spoil, message = BAD[case]
    spoil(folder)
    with pytest.raises(DataError, match=message):
        load_model(folder)


def test_a_whole_number_will_do_for_a_float(saved):
    folder, _, _ = saved()
    change_config(dropout=0, z_weight=1)(folder)
    assert load_model(folder)[1].dropout == 0


def test_saving_again_replaces_the_model(saved, make_config):
    folder, _, _ = saved()
    config = make_config(width=16)
    save_model(build(config), config, folder)
    assert load_model(folder)[1] == config


def test_an_ablation_shares_the_settings_of_the_whole_and_a_baseline_has_its_own():
    assert (
        settings_of("flat_moe")
        == settings_of("no_gam")
        == settings_of("gexsent_finetuned")
        == settings_of("gexsent")
        == "gexsent"
    )
    assert settings_of("released_masked") == settings_of("released") == "released"
    assert settings_of("text_only") == "text_only"
    for own in SYSTEMS.values():
        if own.settings_of:
            assert issubclass(own.model, SYSTEMS[own.settings_of].model)
