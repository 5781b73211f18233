"""Single test rows explained, with their texts and pictures: for those who may see them."""

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from gexsent.data import media
from gexsent.encoders.record import BROUGHT, EncoderRecord
from gexsent.errors import DataError
from gexsent.explain.explanation import Explanation
from gexsent.explain.post import explained
from gexsent.explain.target import target_of
from gexsent.report import explanation, style
from gexsent.stages import explain, train
from gexsent.stages.prepare import read_table
from gexsent.workspace import Workspace

EACH = 2  # surest right predictions, and as many surest wrong ones


@dataclass(frozen=True)
class Case:
    """A test row with what explains its prediction. sarcasm: "plain", "sarcastic", or None where it is not known."""

    id: str
    right: bool
    actual: str
    sarcasm: str | None
    explanation: Explanation

    @property
    def title(self) -> str:
        return f"{self.id}: {'right' if self.right else 'wrong'}\nsays {self.explanation.says}, is {self.actual}"


def draw(workspace: Workspace) -> dict[str, Path]:
    """{name: PNG}: `gallery_<dataset>`, and of its first sarcastic row, or else its first row, `card_<dataset>` and
    `attention_<dataset>`, the latter where it has both text and vision.

    Figures of real data show rows, so that they go to .scratch, which Git ignores; others to figures/explain.
    """
    shown = cases(workspace)
    if not shown:
        return {}
    folder = workspace.results / "figures" / "explain"
    if not workspace.generated:
        folder = workspace.root / ".scratch" / "explain" / workspace.edition
    first = next((case for case in shown if case.sarcasm == "sarcastic"), shown[0])
    style.use_style()
    titles = [case.title for case in shown]
    one, title = first.explanation, first.title.replace("\n", ", ")
    figures = {
        "gallery": explanation.gallery([case.explanation for case in shown], titles, workspace.edition),
        "card": explanation.card(one, title, workspace.edition),
    }
    if one.tokens and one.kind != "none":
        figures["attention"] = explanation.attention(one, title, workspace.edition)
    paths = {}
    for name, figure in figures.items():
        name = f"{name}_{workspace.dataset}"
        paths[name] = style.save(figure, folder, name)
        plt.close(figure)
    return paths


def cases(workspace: Workspace, *, each: int = EACH) -> list[Case]:
    """The `each` surest right and then the `each` surest wrong predictions of seed 0 on its first test rows."""
    fit = next(explain.fits(workspace, seeds=1))
    about = explain.meaning(workspace, fit.test).set_index("id")
    known = ranked(fit, about["label"].dropna())
    picked = pd.concat([known[known["right"]].head(each), known[~known["right"]].head(each)])
    table = read_table(workspace.table).set_index("id")
    words = _tokens(workspace, picked["id"].tolist())
    result = []
    for row in picked.itertuples():
        batch = fit.samples.batch(fit.samples.rows([row.id]))
        pictures = _pictures(workspace, table.loc[row.id], int(batch.vision_mask.sum()))
        found = explained(fit.model, batch, words[row.id], pictures)
        sarcasm = about["sarcasm"][row.id] if "sarcasm" in about else None
        result.append(Case(row.id, bool(row.right), about["label"][row.id], sarcasm, found))
    return result


def ranked(fit: explain.Fit, labels: pd.Series) -> pd.DataFrame:
    """id, score and right, surest first; `labels` are the names of the sentiments by id.

    An intensity always has a sign, and so is not judged on neutral rows.
    """
    parts = []
    for ids, batch in explain.batches(fit, sorted(labels.index)):
        target = target_of(fit.model, batch)
        score = target.score(fit.model(batch).heads).detach().numpy()
        says = target.choice.numpy().astype(int) + target.task.first
        parts.append(pd.DataFrame({"id": ids, "score": score, "says": says}).assign(task=target.task.name))
    table = pd.concat(parts)
    actual = labels.loc[table["id"]].to_numpy()
    table["right"] = table["says"].map(explain.LABELS).to_numpy() == actual
    table = table[(table["task"] == "sentiment") | (actual != "neutral")]
    return table.sort_values(["score", "id"], ascending=[False, True])[["id", "score", "right"]]


def _tokens(workspace: Workspace, ids: list[str]) -> dict[str, list[str]]:
    """{id: its tokens}; {id: numbers} where features of the text were brought along."""
    if EncoderRecord.read(workspace.features).text != BROUGHT:
        return explain.spoken(workspace, ids)
    samples = train.load_samples(workspace)
    lengths = samples.text.lengths[samples.rows(ids)].tolist()
    return {id_: [str(n) for n in range(1, length + 1)] for id_, length in zip(ids, lengths, strict=True)}


def _pictures(workspace: Workspace, row: pd.Series, count: int) -> list:
    """What the `count` visual tokens were made of; nothing where they were brought along, or the file has gone."""
    try:
        if row["kind"] == "image" and count:
            return [media.open_image(workspace.raw / row["media"])]
        if row["kind"] == "clip":
            frames = media.read_frames(workspace.raw / row["media"], workspace.params.encode.frames)[0]
            return frames if len(frames) == count else []
    except DataError:
        pass
    return []
