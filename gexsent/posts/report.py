"""How good a model of one's own posts is: scores on posts that it has not seen, beside simpler models and a constant."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from gexsent import datasets
from gexsent.digest import write_atomically
from gexsent.errors import DataError
from gexsent.evaluation import compare
from gexsent.posts import learn
from gexsent.tasks import Task

NAME = "report.json"
CONSTANT = "constant"
NAMES = {
    "gexsent": "GEXSent",
    "text_only": "Text only",
    "vision_only": "Vision only",
    "late_fusion": "Late fusion",
    CONSTANT: "Constant",
}
ALPHA = 0.05
# What each of the simpler models is there to answer: what is said if GEXSent is better, worse, or neither for certain.
QUESTIONS = {
    CONSTANT: (
        "GEXSent has learned something",
        "GEXSent is worse than a constant",
        "Whether GEXSent has learned anything",
    ),
    "text_only": ("What is seen helps", "What is seen makes it worse", "Whether what is seen helps"),
    "vision_only": ("The text helps", "The text makes it worse", "Whether the text helps"),
    "late_fusion": (
        "GEXSent is better than late fusion",
        "Late fusion is better",
        "Whether GEXSent is better than late fusion",
    ),
}


@dataclass(frozen=True)
class Report:
    """Scores on test posts.

    scores: one row per label, metric and system: value, and its 95 % interval low to high over groups of test posts; for all
        but GEXSent also difference (from GEXSent), difference_low, difference_high, p, and p_holm after Holm's correction.
    outcomes: one row per test post and fit of GEXSent: seed, and for each label its true and its predicted value.
    posts: {role: number}. groups: of test posts. seeds: fits of each system, over which scores are means.
    kept: the fit that is kept, the best on validation posts.
    """

    scores: pd.DataFrame
    outcomes: pd.DataFrame
    tasks: tuple[Task, ...]
    posts: dict[str, int]
    groups: int
    seeds: int

    def verdicts(self) -> list[str]:
        """In words, one sentence per label and question: is it better than a constant, do words and pictures each help, and
        is it better than late fusion, which puts both together simply?"""
        said = []
        for task in self.tasks:
            metric = _metrics(task)[0]
            chosen = (self.scores["label"] == task.label) & (self.scores["metric"] == metric)
            part = self.scores[chosen].set_index("system")
            own = part.loc["gexsent"]
            for other, (better, worse, question) in QUESTIONS.items():
                if other != CONSTANT and not {"text_only", "vision_only"} <= set(part.index):
                    continue  # there is one modality alone: nothing beside it could help
                row = part.loc[other]
                gain = row["difference"] if metric == "MAE" else -row["difference"]  # how much better GEXSent is
                verdict = f"{question} cannot be told from these test posts"
                if row["p_holm"] < ALPHA:
                    verdict = better if gain > 0 else worse
                said.append(
                    f"{task.label}: {verdict}: {metric} {own['value']:.3f} [{own['low']:.3f}, {own['high']:.3f}] against "
                    f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}] of {NAMES[other].lower()}."
                )
        return said

    def table(self) -> pd.DataFrame:
        """One row per system, a column per label and metric: the score and its interval, as text."""
        cells = {}
        for record in self.scores.to_dict("records"):
            arrow = "↓" if record["metric"] == "MAE" else "↑"
            heading = f"{record['label']}: {record['metric']} {arrow}"
            value = "–"
            if np.isfinite(record["value"]):
                value = f"{record['value']:.3f} [{record['low']:.3f}, {record['high']:.3f}]"
            cells.setdefault(heading, {})[NAMES[record["system"]]] = value
        return pd.DataFrame(cells).rename_axis("System")

    def __str__(self) -> str:
        counts = ", ".join(f"{number:,} {learn.ROLES[role]}" for role, number in self.posts.items())
        lines = [self.table().to_string(), "", *self.verdicts(), ""]
        lines.append(
            f"Posts: {counts}. Mean over {self.seeds} fit{'s' * (self.seeds > 1)}; in brackets the 95 % interval over "
            f"{self.groups:,} groups of test posts."
        )
        return "\n".join(lines)

    def figures(self) -> list:
        """Two matplotlib figures: every score with its interval; and what was predicted for what was true."""
        from gexsent.posts import figures

        return [figures.scores(self), figures.outcomes(self)]

    def save(self, folder: Path) -> None:
        """Write report.json into a model's folder."""
        content = {
            "tasks": [asdict(task) for task in self.tasks],
            "posts": self.posts,
            "groups": self.groups,
            "seeds": self.seeds,
            "scores": json.loads(self.scores.to_json(orient="split", index=False, double_precision=6)),
            "outcomes": json.loads(self.outcomes.to_json(orient="split", index=False, double_precision=6)),
        }
        write_atomically(folder / NAME, (json.dumps(content) + "\n").encode())

    @classmethod
    def load(cls, folder: Path) -> "Report | None":
        """What `save` wrote; None where there is no such file, as of a model that the pipeline trained.

        Raises:
            DataError: the file is no report.
        """
        path = folder / NAME
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            tasks = tuple(Task(**{**task, "classes": tuple(task["classes"])}) for task in content.pop("tasks"))
            frames = {
                name: pd.DataFrame(content[name]["data"], columns=content[name]["columns"])
                for name in ("scores", "outcomes")
            }
            frames["scores"] = frames["scores"].astype(
                {c: float for c in SCORES if c not in ("label", "metric", "system")}
            )
            return cls(tasks=tasks, **{**content, **frames})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path}: cannot be read as a report: {error}") from error


SCORES = [
    "label", "metric", "system", "value", "low", "high", "difference", "difference_low", "difference_high", "p", "p_holm",
]  # fmt: skip


def judge(study: learn.Study, folder: Path, seeds: int) -> Report:
    """The report of the fits in a folder, on the test posts of a study."""
    test = study.roles == "test"
    # Labels may be called anything, also what the columns beside them are called here.
    tasks = tuple(replace(task, label=f"true_{task.name}") for task in study.tasks)
    spec = datasets.DatasetSpec("posts", "Your posts", "table", tasks, "groups of posts", "", ())
    ids = [str(place) for place in np.flatnonzero(test)]
    known = {f"true_{task.name}": study.values[task.label][test] for task in study.tasks}
    labels = pd.DataFrame({"partition": "test", "id": ids, "group": study.groups[test], **known})
    frames = []
    for system in study.systems():
        for seed in range(seeds):
            columns = learn.predictions(study, folder, system, seed, "test")
            frames.append(pd.DataFrame({"system": system, "seed": seed, "partition": "test", "id": ids, **columns}))
    constant = {f"pred_{task.name}": _constant(task, study) for task in study.tasks}
    frames.append(pd.DataFrame({"system": CONSTANT, "seed": 0, "partition": "test", "id": ids, **constant}))
    predicted = pd.concat(frames, ignore_index=True)
    boots = compare.bootstrap(predicted, labels, spec)
    own = compare.intervals(boots)
    pairs = compare.pairs(boots).rename(columns={"low": "difference_low", "high": "difference_high"})
    scores = own.merge(pairs.drop(columns=["n_groups", "seeds"]), on=["metric", "system"], how="left")
    told = {
        name: (task.label, shown)
        for task, inner in zip(study.tasks, tasks, strict=True)
        for name, shown in zip(spec.score_names(inner), _metrics(task), strict=False)
    }
    scores.insert(0, "label", scores["metric"].map(lambda name: told[name][0]))
    scores["metric"] = scores["metric"].map(lambda name: told[name][1])
    mine = predicted[predicted["system"] == "gexsent"]
    outcomes = {"seed": mine["seed"].to_numpy()}
    for task in study.tasks:
        outcomes[f"true_{task.name}"] = np.tile(known[f"true_{task.name}"], seeds)
        outcomes[f"pred_{task.name}"] = mine[f"pred_{task.name}"].to_numpy()
    counts = {role: int((study.roles == role).sum()) for role in learn.ROLES}
    return Report(scores[SCORES], pd.DataFrame(outcomes), study.tasks, counts, len(set(study.groups[test])), seeds)


def _metrics(task: Task) -> tuple[str, ...]:
    return ("MAE", "correlation") if task.kind == "regression" else ("macro-F1",)


def _constant(task: Task, study: learn.Study) -> float:
    """The best answer that looks at nothing: the median, or the commonest class, of the posts to train on."""
    values = study.values[task.label][study.roles == "train"]
    values = values[~np.isnan(values)]
    return float(np.median(values)) if task.kind == "regression" else float(np.bincount(values.astype(int)).argmax())


def counts_of(outcomes: Mapping[str, np.ndarray], task: Task) -> np.ndarray:
    """(K, K) test posts by true and predicted class, over all fits."""
    true, predicted = (np.asarray(outcomes[f"{side}_{task.name}"], float) for side in ("true", "pred"))
    known = ~np.isnan(true)
    table = np.zeros((len(task.classes), len(task.classes)), int)
    np.add.at(table, (true[known].astype(int), predicted[known].astype(int)), 1)
    return table
