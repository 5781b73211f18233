"""Where everything lies: one object that knows the paths of one data set in one edition.

Light to import: it runs at the start of every command.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from gexsent import datasets
from gexsent import params as params_module
from gexsent.datasets import DatasetSpec
from gexsent.errors import DataError
from gexsent.params import Params


def project_root() -> Path:
    """The nearest folder above the working directory that holds params.yaml and dvc.yaml.

    Papermill runs in the root, tests and hand-opened notebooks in notebooks/: this is the one place that bridges them.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "params.yaml").exists() and (folder / "dvc.yaml").exists():
            return folder
    raise DataError(f"{here}: neither this folder nor one above it holds params.yaml and dvc.yaml; cd into the project")


@dataclass(frozen=True)
class Workspace:
    """Paths and parameters of one data set in one edition."""

    root: Path
    edition: str
    dataset: str
    params: Params

    @property
    def spec(self) -> DatasetSpec:
        """What the data set is."""
        if self.dataset not in datasets.SPECS:  # in a process of its own, which has not read params.yaml
            params_module.load(self.root / "params.yaml", self.edition)
        return datasets.spec(self.dataset)

    @property
    def generated(self) -> bool:
        """True where the data are made by the library and may be shown anywhere."""
        return self.params.data.rows is not None

    @property
    def raw(self) -> Path:
        """The raw files of this data set: generated, or the user's own."""
        if self.generated:
            return self._derived_root / "raw" / self.dataset
        return raw_root(self.root, self.params) / self.dataset

    @property
    def _derived_root(self) -> Path:
        if self.edition == "quick":  # notebooks opened by hand and under test must not touch what the pipeline made
            return self.root / ".scratch" / "derived"
        return self.root / "data" / "derived" / self.edition

    @property
    def source(self) -> Path:
        return self._derived_root / "source" / f"{self.dataset}.json"

    @property
    def derived(self) -> Path:
        return self._derived_root / self.dataset

    @property
    def table(self) -> Path:
        return self.derived / "table.parquet"

    @property
    def fit_labels(self) -> Path:
        return self.derived / "labels" / "fit.parquet"

    @property
    def test_labels(self) -> Path:
        return self.derived / "labels" / "test.parquet"

    @property
    def found(self) -> Path:
        """Features found in the raw folder, as read."""
        return self.derived / "found"

    @property
    def features(self) -> Path:
        return self.derived / "features"

    @property
    def models(self) -> Path:
        return self.derived / "models"

    def fit(self, system: str, partition: str, seed: int) -> Path:
        return self.models / system / partition / f"seed{seed}"

    @property
    def results(self) -> Path:
        if self.edition == "quick":
            return self.root / ".scratch" / "results"
        return self.root / "results" / self.edition

    @property
    def search(self) -> Path:
        """The trials from which settings were chosen."""
        return self.results / "search" / f"{self.dataset}.csv"

    @property
    def predictions(self) -> Path:
        return self.results / "predictions" / f"{self.dataset}.parquet"

    @property
    def metrics(self) -> Path:
        return self.results / "metrics" / f"{self.dataset}.json"

    @property
    def seeds(self) -> Path:
        """One row a system and seed: what mean and deviation are made of."""
        return self.results / "metrics" / f"{self.dataset}_seeds.csv"

    @property
    def costs(self) -> Path:
        """One row a system: weights and multiply-adds."""
        return self.results / "metrics" / f"{self.dataset}_cost.csv"

    @property
    def audit(self) -> Path:
        """Effects of faults of protocol; the seeds behind them lie beside it, in <dataset>_seeds.csv."""
        return self.results / "audit" / f"{self.dataset}.csv"

    def figures(self, stage: str) -> Path:
        return self.results / "figures" / self.dataset / stage


def raw_root(root: Path, params: Params) -> Path:
    """The folder with one sub-folder per data set: $GEXSENT_DATA, else data.root; relative: to the project."""
    return (root / Path(os.environ.get("GEXSENT_DATA") or params.data.root).expanduser()).resolve()


def open_workspace(edition: str | None = None, dataset: str | None = None, root: Path | None = None) -> Workspace:
    """The workspace of one edition (default: the one params.yaml names) and data set (default: the first it names).

    Raises:
        DataError: no project here, a fault in params.yaml, or an unknown data set.
    """
    root = root or project_root()
    path = root / "params.yaml"
    if dataset is None:
        dataset = params_module.load(path, edition).datasets[0]
    params = params_module.load(path, edition, dataset)
    return Workspace(root, params.edition, dataset, params)
