import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold

from gexsent.features import Output, extract
from gexsent.report import tokens
from gexsent.report.style import EDITION_NOTES, use_style


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context():
        use_style()
        yield
        plt.close("all")


@pytest.fixture
def store(tmp_path):
    """Makes a store of the given arrays, in shards of three samples."""

    def make(arrays, name="store"):
        arrays = [np.asarray(array, np.float32) for array in arrays]
        content = {f"s{i}": array for i, array in enumerate(arrays)}
        output = Output(tmp_path / name, arrays[0].shape[1], name)
        return extract([output], list(content), lambda ids: [[content[i] for i in ids]], shard_rows=3)[0]

    return make


@pytest.fixture
def ragged(store):
    """Seven samples of 1, 0, 2, 3, 0, 5 and 1 tokens."""
    rng = np.random.default_rng(0)
    return store([rng.normal(size=(length, 4)).round(2) for length in (1, 0, 2, 3, 0, 5, 1)])


def nothing(store, count=7):
    return store([np.zeros((0, 1))] * count, "nothing")


def test_summary_counts_what_is_there_and_what_is_not(store, ragged):
    frame = tokens.summary({"text": ragged, "vision": nothing(store)})
    assert frame.loc["text"].tolist() == [4, 5, 2, 12, 2.4, 5, 0.0]
    assert frame.loc["vision"].tolist() == [1, 0, 7, 0, 0.0, 0, 0.0]


def test_summary_gives_the_size_on_disk(store):
    big = store([np.zeros((300, 100))] * 5, "big")
    assert tokens.summary({"text": big}).at["text", "MB"] == 0.3  # 5 x 300 x 100 numbers of two bytes


@pytest.mark.parametrize(
    ("lengths", "kind"),
    [
        ((0, 0, 0), "absent"),
        ((1, 0, 1), "vector"),
        ((17, 17, 0), "grid"),
        ((5, 5, 5), "grid"),
        ((2, 2, 2), "sequence"),
        ((8, 8, 8), "sequence"),
        ((17, 5, 17), "sequence"),
    ],
)
def test_kinds_of_tokens(store, lengths, kind):
    assert tokens.kind(store([np.zeros((length, 2)) for length in lengths])) == kind
    assert tokens.KINDS[kind]


def test_lengths_leave_out_what_is_absent(store, ragged):
    figure = tokens.lengths({"text": ragged, "vision": nothing(store)}, "quick")
    (axes,) = figure.axes
    assert [patch.get_height() for patch in axes.patches] == [2, 1, 1, 0, 1]
    assert figure.get_supxlabel() == EDITION_NOTES["quick"]


def test_norms_keep_the_first_token_apart(store):
    long, short = [[3, 4]], [[0.6, 0.8]]
    several = store([np.array(long + short * 2), np.zeros((0, 2)), np.array(long + short)] * 2, "several")
    first, rest = tokens._norms(several)
    np.testing.assert_allclose(first, [5] * 4, atol=1e-2)
    np.testing.assert_allclose(rest, [1] * 6, atol=1e-2)
    single = store([np.array(long)] * 4, "single")
    figure = tokens.norms({"text": several, "vision": single}, "quick")
    labels = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]
    assert labels == [["other tokens", "first token"], ["the only token"]]
    shares = [patch.get_height() for patch in figure.axes[0].patches[:-1]]
    assert sum(shares) == pytest.approx(1)


def test_pooled_is_the_mean_token_of_each_sample(ragged):
    result = tokens.pooled(ragged)
    assert result.shape == (7, 4)
    for row, length in enumerate((1, 0, 2, 3, 0, 5, 1)):
        if length:
            np.testing.assert_allclose(result[row], ragged.row(row).astype(float).mean(0), rtol=1e-5)
        else:
            assert np.isnan(result[row]).all()


def test_sentences_show_norms_and_cosines():
    a, b = np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[0.0, 2.0], [-5.0, 0.0], [6.0, 8.0]])
    figure = tokens.sentences([["x", "y"], ["p", "q", "r"]], [a, b], "quick")
    left, right = figure.axes
    assert [patch.get_width() for patch in left.patches] == [5, 1, 0, 2, 5, 10]
    assert [label.get_text() for label in left.get_yticklabels()] == ["x", "y", "", "p", "q", "r"]
    np.testing.assert_allclose(right.images[0].get_array(), [[0.8, -0.6, 1.0], [0.0, -1.0, 0.6]], atol=1e-6)


def test_unusual_patches_are_those_that_point_elsewhere():
    states = np.array([[9.0, 9.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [0.0, 1.0]])  # the class token plays no part
    mean = np.array([1.5, 0.25]) / np.hypot(1.5, 0.25)
    expected = [[1 - mean[0], 1 - mean[0]], [1 - mean[0], 1 - mean[1]]]
    np.testing.assert_allclose(tokens.unusual(states), expected, rtol=1e-5)


def test_patches_stand_below_their_pictures():
    rng = np.random.default_rng(0)
    states = [rng.normal(size=(10, 4)), rng.normal(size=(17, 4))]
    images = [Image.new("RGB", (6, 6)), Image.new("RGB", (9, 6))]
    figure = tokens.patches(images, states, ["one$", "two$"], "quick")
    figure.canvas.draw()
    shapes = [axes.images[0].get_array().shape for axes in figure.axes[:4]]
    assert shapes == [(6, 6, 3), (6, 9, 3), (3, 3), (4, 4)]
    scales = {axes.images[0].get_clim() for axes in figure.axes[2:4]}
    assert scales == {(0, max(tokens.unusual(state).max() for state in states))}  # one scale for all
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == [r"one\$", r"two\$"]


def test_film_says_how_far_each_frame_has_moved():
    states = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 3.0]])
    figure = tokens.film([Image.new("RGB", (6, 6))] * 3, [0.0, 0.5, 1.25], states, "quick")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["0.0 s", "0.5 s", "1.2 s"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["0.000", "0.293", "1.000"]


def test_separation_of_a_grid_by_hand(store):
    # Two features, four patches. Only the third patch tells the classes apart: means 4 apart, variance 2 in each.
    plain = np.zeros((5, 2))
    arrays = []
    for value in (0, 2, 4, 6):
        array = plain.copy()
        array[1:, 1] = (-1, 1)[value in (2, 6)]
        array[3, 0] = value
        arrays.append(array)
    distance, chance = tokens.separation(store(arrays), [0, 1], [2, 3])
    # Spread: variance 2 in the second feature everywhere, and 2 more in the first of the third patch.
    np.testing.assert_allclose(distance, [0, 0, 4 / np.sqrt(4), 0], atol=1e-6)
    assert chance == 1.0


def test_separation_by_chance_alone_is_near_its_estimate(store):
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=(2, 200)) for _ in range(50)]
    distance, chance = tokens.separation(store(arrays), range(20), range(20, 50))
    assert chance == pytest.approx(np.sqrt(1 / 20 + 1 / 30))
    np.testing.assert_allclose(distance, chance, rtol=0.15)


def test_separation_skips_samples_without_tokens(store):
    rng = np.random.default_rng(2)
    arrays = [rng.normal(size=(5, 3)) for _ in range(6)]
    full, _ = tokens.separation(store(arrays, "full"), [0, 1, 2], [3, 4, 5])
    gaps = store([*arrays, np.zeros((0, 3)), np.zeros((0, 3))], "gaps")
    holes, chance = tokens.separation(gaps, [0, 1, 2, 6], [3, 4, 5, 7])
    np.testing.assert_allclose(holes, full)
    assert chance == pytest.approx(np.sqrt(2 / 3))


def test_sequences_of_different_length_are_compared_part_by_part():
    tokens_of_two = np.array([[0.0], [1.0]])
    assert tokens._places(tokens_of_two, 4)[:, 0].tolist() == [0, 0, 1, 1]
    assert tokens._places(np.arange(12.0)[:, None], 4)[:, 0].tolist() == [1, 4, 7, 10]
    assert tokens._places(np.arange(5.0)[:, None], None)[:, 0].tolist() == [1, 2, 3, 4]  # a grid, less its class token


def test_where_is_a_map_for_pictures_and_a_curve_for_clips(store):
    rng = np.random.default_rng(3)
    grid = store([rng.normal(size=(10, 3)) for _ in range(6)], "grid")
    clips = store([rng.normal(size=(length, 3)) for length in (20, 3, 9, 4, 12, 7)], "clips")
    drawn = tokens.where(grid, [0, 1, 2], [3, 4, 5], "quick").axes[0].images[0].get_array()
    expected, chance = tokens.separation(grid, [0, 1, 2], [3, 4, 5])
    np.testing.assert_allclose(drawn, expected.reshape(3, 3))
    curve, level = tokens.where(clips, [0, 1, 2], [3, 4, 5], "quick").axes[0].lines
    assert len(curve.get_ydata()) == tokens.PARTS
    assert level.get_ydata()[0] == chance


def features(seed=0, rows=60, width=6):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, width)) * np.arange(width, 0, -1), rng.normal(size=rows)


def test_components_are_the_principal_ones_and_coloured_by_label():
    text, values = features()
    figure = tokens.components({"text": text, "vision": np.full((60, 1), np.nan)}, values, "quick", limit=2.0)
    panel, _ = figure.axes  # absent vision has no panel; the other axes are the colour bar
    (drawn,) = panel.collections
    expected = PCA(2).fit_transform(text)
    np.testing.assert_allclose(np.abs(drawn.get_offsets()), np.abs(expected), rtol=1e-6)
    np.testing.assert_array_equal(drawn.get_array(), values)
    assert drawn.get_clim() == (-2.0, 2.0)


def test_components_leave_out_rows_without_the_modality():
    text, values = features()
    vision = text.copy()
    vision[10:] = np.nan
    figure = tokens.components({"text": text, "vision": vision}, values, "quick")
    assert [len(axes.collections[0].get_array()) for axes in figure.axes[:2]] == [60, 10]


def test_cells_show_no_single_row():
    text, values = features(rows=400)
    text[0] = 1e3  # far from everything: a cell of its own
    figure = tokens.components({"text": text}, values, "quick", cells=True)
    shown = figure.axes[0].collections[0]
    assert 0 < len(shown.get_array()) < 400
    assert not np.isclose(shown.get_array(), values[0]).any()
    assert np.abs(shown.get_array()).max() < np.abs(values).max()  # means, and no extreme label
    assert len(tokens.components({"text": text}, values, "quick").axes[0].collections[0].get_array()) == 400


def test_readout_predicts_groups_that_it_has_not_seen():
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(20), 10)
    text, noise = rng.normal(size=(200, 5)), rng.normal(size=(200, 3))
    values = text @ [1.0, -2.0, 0.0, 0.5, 0.0] + 0.1 * rng.normal(size=200)
    frame = tokens.readout({"text": text, "vision": noise}, values, groups)
    assert frame.index.tolist() == ["text", "vision", "text + vision"]
    assert frame["features"].tolist() == [5, 3, 8]
    predicted = np.empty(200)
    for train, held in GroupKFold(5).split(text, groups=groups):
        mean, spread = text[train].mean(0), text[train].std(0)
        model = Ridge(100.0).fit((text[train] - mean) / spread, values[train])
        predicted[held] = model.predict((text[held] - mean) / spread)
    assert frame.at["text", "Pearson r"] == pytest.approx(np.corrcoef(predicted, values)[0, 1], abs=6e-4)
    assert abs(frame.at["vision", "Pearson r"]) < 0.35


def test_readout_does_not_profit_from_the_look_of_a_group():
    """Features that name the group follow the labels in seen groups alone: kept whole, groups give them nothing."""
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(30), 8)
    looks = np.eye(30)[groups]
    values = rng.normal(size=30)[groups]
    assert tokens.readout({"vision": looks}, values, groups).at["vision", "Pearson r"] < 0.3
    assert tokens.readout({"vision": looks}, values, np.arange(240)).at["vision", "Pearson r"] > 0.9


def test_readout_without_vision_has_one_row_and_gaps_stand_at_the_mean():
    rng = np.random.default_rng(6)
    text, groups = rng.normal(size=(40, 3)), np.arange(40) % 8
    values = text[:, 0]
    absent = np.full((40, 1), np.nan)
    assert tokens.readout({"text": text, "vision": absent}, values, groups).index.tolist() == ["text"]
    holes, filled = text.copy(), text.copy()
    holes[::4] = np.nan
    filled[::4] = np.nanmean(holes, axis=0)
    given = tokens.readout({"text": holes}, values, groups)
    assert given.equals(tokens.readout({"text": filled}, values, groups))
