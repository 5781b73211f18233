"""The README.md of a model's folder, which the Hub shows as its card: what it predicts, how good it is, and its limits."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gexsent.encoders.record import EncoderRecord
from gexsent.posts.columns import Columns
from gexsent.posts.report import Report
from gexsent.tasks import Task

if TYPE_CHECKING:
    from gexsent.predictor import Predictor

NAME = "README.md"
METRICS = {"MAE": "mae", "correlation": "pearsonr", "macro-F1": "f1"}  # as the Hub calls them
READS = {"text": "a text", "image": "a picture", "clip": "a video", "vision": "visual features brought along"}
CALLS = {
    "text": '"what a lovely day"',
    "image": 'image="photo.jpg"',
    "clip": 'clip="clip.mp4"',
    "vision": "vision=features",
}
USE = """\
## Use

```python
from gexsent import Predictor

model = Predictor.from_pretrained("{name}")
print(model({given}))
```
"""
TESTED = """\
Posts that belong together, by their text, their picture or their owner, were kept together. {train:,} posts were trained on,
{valid:,} were used to choose by, and {test:,}, in {groups:,} groups, to test on. No test post was used to train or to choose.

{fits} The constant always gives the middle number, or the commonest label, of the posts that
were trained on. Intervals come from drawing groups of test posts again and again, with replacement.
"""
FITS = (
    "GEXSent and each simpler model were trained {seeds} times on the same posts, and a score is the mean over these. In "
    "this folder is the fit of GEXSent that was best on the posts to choose by."
)
LIMITS = """\
- It was trained on its author's own posts. On posts from elsewhere, of another time, language or kind, it may be much worse;
  nobody has measured that.
- It repeats the labels it was given, with their mistakes and with the views of those who gave them.
- A score is a mean over posts. It does not say how sure the model is of one post, nor whether it is as good for one group of
  people as for another.
- Its probabilities were not compared with frequencies: where it says 90 %, it need not be right nine times in ten.
- The intervals hold for posts like those that were tested, and do not cover a change in what people write about."""


def write(predictor: "Predictor", folder: Path, name: str | None = None, license: str | None = None) -> None:
    """Write the card into a model's folder, if there is a report.

    Args:
        name: the model's repository on the Hub; None where it has none.
        license: as the Hub calls it, such as "mit"; None leaves it out.
    """
    if predictor.report is not None:
        (folder / NAME).write_text(text(predictor, name, license), encoding="utf-8")


def text(predictor: "Predictor", name: str | None = None, license: str | None = None) -> str:
    """The card of a model with a report; arguments as those of `write`. No path of this machine is in it."""
    from huggingface_hub import EvalResult, ModelCardData

    report, record, columns = predictor.report, predictor.record, predictor.columns
    title = (name or "gexsent").rpartition("/")[2]
    results = [
        EvalResult(
            task_type="text-classification" if score["metric"] == "macro-F1" else "regression",
            task_name=score["label"],
            dataset_type="own-posts",
            dataset_name="The author's own posts, set aside for the test",
            dataset_config=score["label"],  # results of one configuration are taken for one task's
            dataset_split="test",
            metric_type=METRICS[score["metric"]],
            metric_name=f"{score['label']}: {score['metric']}, 95 % interval {_interval(score)}",
            metric_value=round(score["value"], 4),
        )
        for score in report.scores[report.scores["system"] == "gexsent"].to_dict("records")
        if np.isfinite(score["value"])
    ]
    data = ModelCardData(
        license=license,
        library_name="gexsent",
        tags=["gexsent", "sentiment-analysis", "multimodal"],
        model_name=title,
        eval_results=results or None,
    )
    parts = (_head(title, report, columns), _use(name, record, columns), _scores(report), f"## Limits\n\n{LIMITS}\n")
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(parts)


def _head(title: str, report: Report, columns: Columns) -> str:
    reads = " and ".join(READS[kind] for kind in columns.named())
    says = "\n".join(f"- **{_plain(task.label)}**: {_kind(task)}" for task in report.tasks)
    return f"# {_plain(title)}\n\nIt reads {reads}, and predicts:\n\n{says}\n"


def _kind(task: Task) -> str:
    if task.kind == "regression":
        return "a number"
    between = {"ordinal": "a level, from the lowest: ", "binary": "yes or no, here called "}.get(task.kind, "one of ")
    return between + ", ".join(map(_plain, task.classes))


def _use(name: str | None, record: EncoderRecord, columns: Columns) -> str:
    given = ", ".join(CALLS[kind] for kind in columns.named())
    encoders = [f"texts with `{_public(record.text)}`"] if columns.text else []
    if record.vision is not None:
        weights = f" ({_public(record.vision_weights)})" if record.vision_weights else ""
        encoders.append(f"what is seen with `{_public(record.vision)}`{weights}")
    needs = (
        f"It reads {' and '.join(encoders)}; loading fetches what is lacking, and takes no other.\n" if encoders else ""
    )
    return USE.format(name=name or "path/of/this/folder", given=given) + (f"\n{needs}" if needs else "")


def _scores(report: Report) -> str:
    once = "GEXSent and each simpler model were trained once, on the same posts."
    fits = once if report.seeds == 1 else FITS.format(seeds=report.seeds)
    return "\n".join(
        [
            "## How good it is\n",
            *_table(report),
            "\n↓: lower is better; ↑: higher is better. In brackets: the 95 % interval.\n",
            *(f"- {_plain(said)}" for said in report.verdicts()),
            "\n## How it was tested\n",
            TESTED.format(**report.posts, groups=report.groups, fits=fits),
        ]
    )


def _table(report: Report) -> Iterator[str]:
    table = report.table().reset_index()
    yield f"| {' | '.join(map(_plain, table.columns))} |"
    yield "|:--" + "|--:" * (table.shape[1] - 1) + "|"
    for row in table.fillna("–").itertuples(index=False):
        yield f"| {' | '.join(map(_plain, row))} |"


def _interval(score: dict) -> str:
    return f"{score['low']:.3f} to {score['high']:.3f}"


def _public(name: str) -> str:
    """The name of an encoder; of one in a folder of this machine, its last part alone."""
    return Path(name).name if Path(name).exists() else name


def _plain(words: str) -> str:
    """Labels and classes may be called anything, also what Markdown would take for something else."""
    for sign in "\\`*_[]<>|#":
        words = str(words).replace(sign, f"\\{sign}")
    return " ".join(words.split())
