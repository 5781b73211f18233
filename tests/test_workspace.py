import re
import shutil
from pathlib import Path

import pytest

from gexsent.errors import DataError
from gexsent.workspace import open_workspace, project_root


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("GEXSENT_DATA", raising=False)
    shutil.copy(Path(__file__).parents[1] / "params.yaml", tmp_path)
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "notebooks/deep").mkdir(parents=True)
    return tmp_path.resolve()


@pytest.mark.parametrize("folder", [".", "notebooks", "notebooks/deep"])
def test_the_root_is_found_from_any_folder_inside(project, monkeypatch, folder):
    monkeypatch.chdir(project / folder)
    assert project_root() == project
    assert open_workspace("lite", "mosei").root == project


def test_outside_a_project_the_message_says_where_to_go(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").touch()  # one of the two files is not enough
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"holds params\.yaml and dvc\.yaml; cd into the project"):
        project_root()


def test_an_unknown_data_set_is_named(project):
    with pytest.raises(DataError, match="unknown data set 'iemocap'; choose from mosi, mosei, memotion"):
        open_workspace("lite", "iemocap", project)


def test_the_edition_defaults_to_the_one_in_params(project):
    path = project / "params.yaml"
    for edition in ("sample", "full"):
        path.write_text(re.sub(r"^edition: \w+", f"edition: {edition}", path.read_text(), flags=re.MULTILINE))
        assert open_workspace(root=project).edition == edition
    assert open_workspace("lite", root=project).edition == "lite"


def test_raw_data_lie_where_params_or_the_environment_say(project, monkeypatch):
    assert open_workspace("lite", "mosi", project).raw == project / "data/raw/mosi"
    monkeypatch.setenv("GEXSENT_DATA", "/elsewhere")
    assert str(open_workspace("lite", "mosi", project).raw) == "/elsewhere/mosi"
    monkeypatch.setenv("GEXSENT_DATA", "copies")  # relative: the same folder whatever folder the command runs in
    monkeypatch.chdir(project / "notebooks")
    assert open_workspace("lite", "mosi", project).raw == project / "copies/mosi"
    monkeypatch.setenv("HOME", str(project))
    monkeypatch.setenv("GEXSENT_DATA", "~/mine")
    assert open_workspace("lite", "mosi", project).raw == project / "mine/mosi"


def test_generated_data_lie_among_what_is_derived_whatever_the_environment_says(project, monkeypatch):
    monkeypatch.setenv("GEXSENT_DATA", "/elsewhere")
    space = open_workspace("sample", "mosi", project)
    assert space.generated
    assert space.raw == project / "data/derived/sample/raw/mosi"
    assert not open_workspace("lite", "mosi", project).generated


def test_every_path_is_of_one_data_set_in_one_edition(project):
    space = open_workspace("lite", "memotion", project)
    derived, results = project / "data/derived/lite", project / "results/lite"
    assert space.source == derived / "source/memotion.json"
    assert space.table == derived / "memotion/table.parquet"
    assert space.fit_labels == derived / "memotion/labels/fit.parquet"
    assert space.test_labels == derived / "memotion/labels/test.parquet"
    assert space.found == derived / "memotion/found"
    assert space.features == derived / "memotion/features"
    assert space.fit("gexsent", "fold2", 3) == derived / "memotion/models/gexsent/fold2/seed3"
    assert space.predictions == results / "predictions/memotion.parquet"
    assert space.metrics == results / "metrics/memotion.json"
    assert space.seeds == results / "metrics/memotion_seeds.csv"
    assert space.figures("train") == results / "figures/memotion/train"


def test_notebooks_opened_by_hand_write_to_a_scratch_folder(project):
    space = open_workspace("quick", "mosi", project)
    for path in (space.raw, space.source, space.table, space.results, space.models):
        assert path.is_relative_to(project / ".scratch")
