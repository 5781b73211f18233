"""Find out what a user has in a raw folder, read it, and say what is lacking.

Imports only the standard library at the top: `find` and `fingerprint` run on every `dvc repro`.
"""

import hashlib
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gexsent import datasets
from gexsent.errors import DataError

if TYPE_CHECKING:
    from gexsent.data.arrays import Ragged
    from gexsent.data.table import Dataset

DIGEST_LIMIT = 64 * 2**20  # larger files are known by name and size
IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp"}


@dataclass(frozen=True)
class Found:
    """What lies in a raw folder: layouts in order of preference, their files, feature files, and what is lacking."""

    dataset: str
    root: Path
    layouts: tuple[str, ...]
    files: tuple[Path, ...]
    features: dict[str, Path]  # modality -> npz
    lacking: tuple[str, ...]


def find(dataset: str, root: Path) -> Found:
    """Look, without reading: names of files decide. Absent data give a Found without layouts, never an error."""
    layouts, files, lacking = [], [], []
    spec = datasets.spec(dataset)
    if spec.layout == "memes":
        folder = root / "memotion_dataset_7k" if (root / "memotion_dataset_7k" / "labels.csv").is_file() else root
        if (folder / "labels.csv").is_file():
            layouts.append("memotion")
            files += [path for path in (folder / "labels.csv", folder / "labels_test.csv") if path.is_file()]
            if not (folder / "images").is_dir():
                lacking.append("images/, from the same download: without it the memes are text only")
            if not (folder / "labels_test.csv").is_file():
                lacking.append(
                    "labels_test.csv and images_test/, from SemEval-2020 Task 8's organisers: five folds replace them"
                )
    elif spec.table is not None:
        if (root / spec.table.file).is_file():
            layouts.append("table")
            files.append(root / spec.table.file)
    else:
        if (root / "label.csv").is_file():
            layouts.append("label.csv")
            files.append(root / "label.csv")
            if not (root / "Raw").is_dir():
                lacking.append(
                    "Raw/<video>/<clip>.mp4, from MMSA's downloads: without clips or features, vision is absent"
                )
        pickles = [p for p in sorted(root.glob("*.pkl")) if p.name != "FACET_aligned_MOSEI.pkl"]
        if pickles:
            layouts.append("feature pickle")
            # unaligned files keep every frame; aligned ones have one a word
            files += sorted(pickles, key=lambda p: ("unaligned" not in p.name, p.name))[:1]
        if any(root.glob("*.csd")):
            layouts.append("csd")
            files += [*sorted(root.glob("*.csd")), *root.glob("split.csv")]
            if not (root / "split.csv").is_file():
                lacking.append("split.csv with columns video_id,mode: .csd files do not hold the official split")
        if (root / "FACET_aligned_MOSEI.pkl").is_file():
            layouts.append("facet")
            files.append(root / "FACET_aligned_MOSEI.pkl")
            if (root / "df_MOSEI_combined_train.tsv").is_file():
                files.append(root / "df_MOSEI_combined_train.tsv")
            else:
                lacking.append("df_MOSEI_combined_train.tsv: the sentences and labels of FACET_aligned_MOSEI.pkl")
    # Beside the labels or above them; of several, the last by name.
    homes = {root, *(path.parent for path in files)}
    brought = {m: [path for home in homes for path in home.glob(f"{m}*.npz")] for m in ("text", "vision")}
    features = {m: max(paths, key=lambda path: path.name) for m, paths in brought.items() if paths}
    if not layouts:
        lacking.append(spec.where)
    return Found(dataset, root, tuple(layouts), tuple(files), features, tuple(lacking))


def fingerprint(dataset: str, root: Path) -> dict:
    """What decides the result of reading, without absolute paths: layout, files with size and digest, media listing."""
    found = find(dataset, root)
    media = []
    home = found.files[0].parent if found.files else root
    for name in datasets.spec(dataset).media:
        media += [p for p in sorted((home / name).rglob("*")) if p.is_file()]
    listing = "\n".join(f"{path.relative_to(root).as_posix()} {path.stat().st_size}" for path in media)
    return {
        "dataset": dataset,
        "layout": found.layouts[0] if found.layouts else None,
        "files": {
            path.relative_to(root).as_posix(): _file(path)
            for path in (*found.files, *found.features.values())
            if path.is_file()
        },
        # What its columns mean: another meaning is other data.
        **({} if datasets.spec(dataset).table is None else {"table": asdict(datasets.spec(dataset).table)}),
        "media": {"count": len(media), "listing": hashlib.sha256(listing.encode()).hexdigest()},
    }


def _file(path: Path) -> dict:
    size = path.stat().st_size
    known = size <= DIGEST_LIMIT
    return {"bytes": size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest() if known else None}


def read(dataset: str, root: Path, *, seed: int, max_bad: float = 0.05, verify_media: bool = False) -> "Dataset":
    """Read what `find` prefers, attach features found beside it, and check the result.

    Args:
        dataset, root: name and raw folder.
        seed: of the blocks where there is no official split.
        max_bad: largest share of rows that may be left out.
        verify_media: decode every picture and the first frame of every clip; what cannot be decoded is dropped, its
            row kept without it.

    Raises:
        DataError: nothing there, a fault in a file, or too many faulty rows.
    """
    from gexsent.data import csd, facet, memotion, mmsa, pickles, posts, table
    from gexsent.data.arrays import Ragged

    found = find(dataset, root)
    if not found.layouts:
        raise DataError(f"{root}: nothing found for {dataset}; it takes {datasets.spec(dataset).where}")
    layout, quarantine = found.layouts[0], table.Quarantine()
    features: dict[str, Ragged] = {}
    if layout == "memotion":
        samples, labels, total = memotion.read(root, quarantine, seed)
    elif layout == "table":
        samples, labels, total = posts.read(root, datasets.spec(dataset).table, quarantine, seed)
    elif layout == "label.csv":
        samples, labels, total = mmsa.read_labels(root, quarantine)
    elif layout == "feature pickle":
        samples, labels, features, total = pickles.read_mmsa(found.files[0], quarantine)
    elif layout == "csd":
        samples, labels, features, total = csd.read(root, quarantine)
    else:
        samples, labels, features, total = facet.read(root, quarantine, seed)
    quarantine.enforce(total, max_bad)
    _check_media(samples, root, quarantine, verify_media)
    origin = {modality: found.files[0] for modality in features} | found.features
    if layout == "label.csv" and "feature pickle" in found.layouts:  # clips' features for the same rows
        path = next(path for path in found.files if path.suffix == ".pkl")
        notes = table.Quarantine()
        features = pickles.read_mmsa(path, notes)[2]
        # label.csv is the truth about texts and labels; of the pickle, only what concerns its features matters.
        quarantine.rows += [row for row in notes.rows if not row["action"].startswith((table.LEFT_OUT, table.WITHOUT))]
        origin = dict.fromkeys(features, path) | origin
    features |= {modality: Ragged.load_npz(path) for modality, path in found.features.items()}
    for modality, ragged in features.items():
        features[modality] = _aligned(ragged, modality, samples, origin[modality], quarantine)
    quarantine.enforce(total, max_bad)  # again: media and features have been looked at since
    result = table.Dataset(dataset, layout, root, samples, labels, features, quarantine)
    table.check(result)
    return result


def _aligned(ragged: "Ragged", modality: str, samples, file: Path, quarantine) -> "Ragged":
    from gexsent.data.table import WITHOUT

    aligned, missing, extra = ragged.align(samples["id"].tolist())
    if len(missing) == len(samples):
        example = f", such as {samples['id'].iloc[0]!r}" if len(samples) else ""
        raise DataError(f"{file}: none of its ids is one of the data set's{example}; name each row by its id")
    left_out = {row["id"] for row in quarantine.rows}
    for id_ in missing:
        quarantine.add(file, None, id_, f"no {modality} features", f"{WITHOUT} {modality} features")
    for id_ in extra:
        if id_ not in left_out:  # features of a row that was left out are no surprise
            quarantine.add(file, None, id_, f"{modality} features of an id that is not in the data set", "ignored")
    return aligned


def _check_media(samples, root: Path, quarantine, decode: bool) -> None:
    from tqdm import tqdm

    from gexsent.data import media
    from gexsent.data.table import WITHOUT

    rows = samples.index[samples["kind"] != "none"]
    for row in tqdm(rows, desc="check media"):
        path, kind = root / samples.at[row, "media"], samples.at[row, "kind"]
        problem = ""
        if not path.is_file():
            problem = f"{kind} is missing"
        elif path.stat().st_size == 0:
            problem = f"{kind} is an empty file"
        elif decode:
            try:
                media.check(path, kind)
            except DataError as error:
                problem = re.sub(r"^.*?: ", "", str(error))
        if problem:
            quarantine.add(samples.at[row, "media"], None, samples.at[row, "id"], problem, f"{WITHOUT} {kind}")
            samples.loc[row, ["media", "kind"]] = ["", "none"]


def summary(dataset: "Dataset") -> dict:
    """Counts for data.json and notebooks: rows, groups, splits, labels, media, features, quarantine."""
    samples, labels = dataset.samples, dataset.labels
    counts = {}
    for column in labels.columns.drop("id"):
        known = labels[column].dropna()
        values = known.round().astype(int) if column == "intensity" else known
        counts[column] = {str(k): int(v) for k, v in values.value_counts().sort_index().items()}
    return {
        "dataset": dataset.name,
        "layout": dataset.layout,
        "rows": len(samples),
        "groups": int(samples["group"].nunique()),
        "splits": {
            split: {"rows": len(part), "groups": int(part["group"].nunique())}
            for split, part in samples.groupby("split")
        },
        "labels": counts,
        "media": {str(k): int(v) for k, v in samples["kind"].value_counts().items()},
        "without_text": int((samples["text"].str.strip() == "").sum()),
        "features": {
            m: {"width": f.values.shape[1], "samples": int((f.lengths > 0).sum())} for m, f in dataset.features.items()
        },
        "quarantine": dataset.quarantine.summary(),
    }


def describe(found: Found, dataset: "Dataset | None") -> str:
    """The report of `gexsent data check` for one data set."""
    lines = [f"{found.dataset}: {', '.join(found.layouts) or 'nothing found'}"]
    lines += [f"  file      {path.relative_to(found.root)}" for path in (*found.files, *found.features.values())]
    if dataset is not None:
        facts = summary(dataset)
        lines.append(f"  rows      {facts['rows']:,} in {facts['groups']:,} groups; reads as {facts['layout']!r}")
        for split, part in facts["splits"].items():
            lines.append(f"  split     {split:<8} {part['rows']:>6,} rows, {part['groups']:>5,} groups")
        for label, counts in facts["labels"].items():
            lines.append(f"  label     {label:<13}" + "  ".join(f"{k}: {v:,}" for k, v in counts.items()))
        lines.append("  media     " + "  ".join(f"{kind}: {count:,}" for kind, count in facts["media"].items()))
        for modality, fact in facts["features"].items():
            lines.append(f"  features  {modality}: width {fact['width']}, {fact['samples']:,} samples")
        lines.append(f"  problems  {facts['quarantine']}")
    lines += [f"  lacking   {what}" for what in found.lacking]
    return "\n".join(lines)
