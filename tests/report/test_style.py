"""The look of figures: grids of panels, and files that are the same bytes and the same layout."""

import re
import subprocess
import sys
import zlib
from io import BytesIO

import matplotlib.pyplot as plt
import pytest
from fontTools import subset
from fontTools.ttLib import TTFont
from matplotlib.layout_engine import ConstrainedLayoutEngine

from gexsent.report import style


@pytest.fixture(autouse=True)
def close():
    with plt.rc_context():
        style.use_style()
        yield
    plt.close("all")


@pytest.mark.parametrize(
    ("count", "shape"), [(1, (1, 1)), (5, (1, 5)), (6, (2, 3)), (7, (2, 4)), (9, (3, 3)), (13, (4, 4)), (21, (6, 4))]
)
def test_many_panels_wrap_into_rows(count, shape):
    figure, axes = style.panel_grid(count, width=2.0, height=2.5, xlabel="epoch", ylabel="loss")
    found = figure.axes[0].get_gridspec()
    assert (found.nrows, found.ncols) == shape
    assert len(axes) == count
    assert [axis.axison for axis in figure.axes] == [True] * count + [False] * (len(figure.axes) - count)


def test_each_column_has_its_labels_at_its_lowest_panel_and_each_row_at_its_first():
    figure, axes = style.panel_grid(7, width=2.0, height=2.5, xlabel="epoch", ylabel="loss")
    assert [axis.get_xlabel() for axis in axes] == [""] * 3 + ["epoch"] * 4
    assert [axis.get_ylabel() for axis in axes] == ["loss", "", "", "", "loss", "", ""]
    figure.canvas.draw()
    shown = [any(label.get_visible() and label.get_text() for label in axis.get_xticklabels()) for axis in axes]
    assert shown == [False] * 3 + [True] * 4


def drawing():
    figure, axis = plt.subplots(figsize=(style.NARROWEST, 3))
    axis.plot([0, 1], [0, 10_000], label="a line")
    axis.set(title="title", xlabel="x", ylabel="a long label")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return style.annotate(figure, "sample")


def test_a_figure_is_laid_out_once_with_all_its_parts_inside_and_the_same_in_every_form(tmp_path, monkeypatch):
    layouts = []
    execute = ConstrainedLayoutEngine.execute
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda *args: layouts.append(1) or execute(*args))
    figure = drawing()
    assert style.save(figure, tmp_path / "figures", "name") == tmp_path / "figures/name.png"
    place = figure.axes[0].get_position().bounds
    figure.canvas.draw()  # as a notebook does
    assert layouts == [1]
    assert figure.axes[0].get_position().bounds == place
    # A notebook shows the whole figure, uncropped: nothing may stick out.
    box = figure.get_tightbbox()
    assert box.x0 >= -0.01 and box.y0 >= -0.01 and box.x1 <= style.NARROWEST + 0.01 and box.y1 <= 3.01


def test_two_runs_write_the_same_bytes(tmp_path):
    for run in ("one", "two"):
        style.save(drawing(), tmp_path / run, "name")
    for name in ("name.png", "name.pdf"):
        first, second = ((tmp_path / run / name).read_bytes() for run in ("one", "two"))
        assert first == second


def test_text_stays_text_in_a_small_font_without_tables_for_its_shaping(tmp_path):
    style.save(drawing(), tmp_path, "name")
    pdf = (tmp_path / "name.pdf").read_bytes()
    assert b"/CIDFontType2" in pdf and b"/Type3" not in pdf
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    fonts = [data for data in map(zlib.decompress, streams) if data.startswith(b"\x00\x01\x00\x00")]
    assert len(fonts) == 2  # the title is bold
    for data in fonts:
        with TTFont(BytesIO(data)) as font:
            assert {"glyf", "hmtx"} <= set(font.keys()) and not set(style.SHAPING) & set(font.keys())
    assert not set(style.SHAPING) & set(subset.Options().drop_tables)  # fontTools is left as it was


def test_a_notebook_shows_figures_whole_and_without_the_drawing_that_finds_out_what_to_crop():
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "from gexsent.report import style\n"
        "style.use_style()\n"
        "from matplotlib_inline.config import InlineBackend\n"
        "print(InlineBackend.instance().print_figure_kwargs)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "{'bbox_inches': None}\n"


def test_the_style_needs_neither_seaborn_nor_scipy():
    code = (
        "import sys; from gexsent.report import curves, outcomes, summary; print({'seaborn', 'scipy'} & {*sys.modules})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"


def test_show_saves_shows_the_saved_picture_with_words_for_it_and_closes(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(style, "display", shown.append)
    figure = drawing()
    style.show(figure, tmp_path, "name", "A rising line.")
    (image,) = shown
    assert image.data == (tmp_path / "name.png").read_bytes()
    assert image.alt == "A rising line."
    assert (tmp_path / "name.pdf").exists()
    assert figure.number not in plt.get_fignums()
