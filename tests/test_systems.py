import pandas as pd
import pytest

from gexsent import systems
from gexsent.model import SYSTEMS
from gexsent.report.style import COLOURS, SYSTEM_NAMES, system_name


def test_every_ablation_and_mended_fault_is_a_system_of_its_reference_s_class():
    """And every other one is of the main family: a system cannot fall out of all tables."""
    for name, reference in (("ablations", "gexsent"), ("mended", "released")):
        found = [system for system in SYSTEMS if systems.family(system) == name]
        model = SYSTEMS[reference].model
        assert found == [s for s, built in SYSTEMS.items() if built.model is model and s != reference]
        assert systems.members(name, SYSTEMS) == sorted([reference, *found], key=list(SYSTEMS).index)
    main = [system for system in SYSTEMS if systems.family(system) == "main"]
    assert {"gexsent", "text_only", "misa", "released"} <= set(main)
    assert len(main) == len(SYSTEMS) - len(systems.ABLATIONS) - len(systems.MENDED)


@pytest.mark.parametrize(
    ("system", "family"),
    [
        ("my_model", "main"),
        ("gexsent_finetuned", "main"),
        ("gexsent+dropout", "variants"),
        ("no_gam+dropout", "variants"),
    ],
)
def test_systems_that_are_not_in_the_lists(system, family):
    assert systems.family(system) == family


def test_main_rows():
    frame = pd.DataFrame({"system": ["gexsent", "no_gam", "released", "released_masked", "gexsent+dropout"]})
    assert systems.main_rows(frame)["system"].tolist() == ["gexsent", "released"]
    alone = frame[frame["system"] == "no_gam"]
    assert systems.main_rows(alone)["system"].tolist() == ["no_gam"]


def test_every_system_has_a_name_of_its_own_and_the_main_ones_a_colour():
    assert set(SYSTEMS) <= set(SYSTEM_NAMES)
    assert len(set(SYSTEM_NAMES.values())) == len(SYSTEM_NAMES)
    assert {system for system in SYSTEMS if systems.family(system) == "main"} <= set(COLOURS)
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_names_of_variants_and_of_systems_without_a_name():
    assert system_name("gexsent+dropout") == "GEXSent + modality dropout"
    assert system_name("late_fusion+noise") == "Late fusion + noise"
    assert system_name("early_fusion") == "Early fusion"
