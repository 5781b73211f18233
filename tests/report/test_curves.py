import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from gexsent.report import curves
from gexsent.report.style import COLOURS, EDITION_NOTES, use_style

SYSTEMS = ("released", "text_only", "gexsent")  # by no order that a reader would want


@pytest.fixture(autouse=True)
def figures():
    with plt.rc_context():
        use_style()
        yield
    plt.close("all")


def fit(system, losses, *, partition="official", seed=0, **columns):
    epochs = np.arange(1, len(losses) + 1)
    run = {"system": system, "partition": partition, "seed": seed, "epoch": epochs, "valid_loss": losses}
    return pd.DataFrame(run | {"train_loss": np.array(losses) - 0.1, **columns})


@pytest.fixture
def history():
    """Two seeds a system, of different lengths; gexsent alone logs experts and auxiliary losses."""
    routed = {"entropy_text": 0.9, "dead_text": 1, "entropy_shared": 0.5, "dead_shared": 0}
    parts = []
    for system in SYSTEMS:
        extra = routed | {"aux_balance": 0.03, "aux_group": 0.0} if system == "gexsent" else {}
        for seed, losses in enumerate(([3.0, 1.0, 2.0], [5.0, 4.0])):
            tasks = {"valid_intensity": np.array(losses) + 1, "valid_sentiment": 0.7}
            parts.append(fit(system, losses, seed=seed, **tasks, **extra))
    return pd.concat(parts, ignore_index=True)


def test_best_epoch_of_every_fit(history):
    result = curves.fits(history)
    assert result.columns.tolist() == ["system", "partition", "seed", "epochs", "best_epoch", "valid_loss"]
    assert result[["epochs", "best_epoch"]].to_numpy().tolist() == [[3, 2], [2, 2]] * 3
    assert result["valid_loss"].tolist() == [1.0, 4.0] * 3


def test_the_earlier_of_two_equal_epochs_is_the_best():
    assert curves.fits(fit("gexsent", [2.0, 1.0, 1.0]))["best_epoch"].tolist() == [2]


def test_a_loss_that_is_not_a_number_is_never_the_best():
    assert curves.fits(fit("gexsent", [np.nan, 2.0]))["best_epoch"].tolist() == [2]
    assert curves.fits(fit("gexsent", [np.nan, np.nan]))["best_epoch"].tolist() == [1]


def test_stopping_gives_ranges_and_deviation(history):
    row = curves.stopping(history).loc["GEXSent"]
    assert row["fits"] == 2
    assert row["epochs run"] == "2–3"
    assert row["best epoch"] == "2"
    assert row["best validation loss"] == 2.5
    assert row["sd"] == pytest.approx(3 / np.sqrt(2))


def test_systems_stand_in_the_order_of_the_tables(history):
    assert curves.stopping(history).index.tolist() == ["GEXSent", "Text only", "Released code"]
    unknown = pd.concat([fit("my_model", [1.0]), history])
    assert curves.stopping(unknown).index.tolist() == ["GEXSent", "Text only", "Released code", "My model"]


def test_mean_is_taken_as_far_as_every_fit_ran(history):
    result = curves.spread(history[history["system"] == "gexsent"], "valid_loss")
    assert result["mean"].to_dict() == {1: 4.0, 2: 2.5}  # and no third epoch, which one fit alone reached
    assert result["sd"].tolist() == pytest.approx([np.sqrt(2), 3 / np.sqrt(2)])


def test_folds_and_seeds_are_fits_alike():
    parts = [fit("gexsent", [float(f + s)], partition=f"fold{f}", seed=s) for f in (0, 10) for s in (1, 3)]
    result = curves.spread(pd.concat(parts), "valid_loss")
    assert result["mean"].tolist() == [np.mean([1, 3, 11, 13])]
    assert result["sd"].tolist() == pytest.approx([np.std([1, 3, 11, 13], ddof=1)])


def test_one_fit_has_no_deviation():
    assert curves.spread(fit("gexsent", [2.0, 1.0]), "valid_loss")["sd"].isna().all()


def test_mean_losses_has_a_column_for_each_system_asked_for(history):
    result = curves.mean_losses(history, ["text_only", "vision_only"])
    assert result.columns.tolist() == ["text_only", "vision_only"]
    assert result.index.tolist() == [1, 2, 3]
    assert result.index.name == "epoch"
    assert result["text_only"].tolist()[:2] == [4.0, 2.5]
    assert np.isnan(result.loc[3, "text_only"])
    assert result["vision_only"].isna().all()


def lines(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}


def test_losses_draw_every_fit_their_mean_and_the_epoch_that_is_kept(history):
    figure = curves.losses(history, "sample")
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["GEXSent", "Text only", "Released code"]
    drawn = [line.get_xydata().tolist() for line in figure.axes[0].get_lines()]
    assert [[1, 3.0], [2, 1.0], [3, 2.0]] in drawn
    assert [[1, 5.0], [2, 4.0]] in drawn
    assert [[1, 4.0], [2, 2.5]] in drawn  # validation, mean
    assert [[1, 3.9], [2, 2.4]] in [np.round(line, 9).tolist() for line in drawn]  # training, mean
    assert [[2, 1.0], [2, 4.0]] in drawn  # the epochs that are kept
    assert len(figure.axes[0].collections) == 1  # one band


def test_losses_of_one_seed_have_no_band():
    figure = curves.losses(fit("text_only", [2.0, 1.0]), "sample")
    assert not figure.axes[0].collections
    assert figure.axes[0].get_lines()[0].get_color() == COLOURS["text_only"]


@pytest.mark.parametrize("edition", ["sample", "lite"])
@pytest.mark.parametrize("draw", [curves.losses, curves.task_losses, curves.routing, curves.auxiliary])
def test_every_figure_says_what_its_numbers_are(draw, edition, history):
    assert draw(history, edition).get_supxlabel() == EDITION_NOTES[edition]


def test_task_losses_have_a_panel_for_each_task(history):
    figure = curves.task_losses(history, "sample")
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["intensity", "sentiment"]
    assert lines(figure.axes[0])["Text only"] == [[1, 5.0], [2, 3.5]]


def test_nine_tasks_stand_in_two_rows():
    figure = curves.task_losses(fit("gexsent", [1.0], **{f"valid_t{i}": 0.5 for i in range(9)}), "sample")
    assert sum(bool(axis.get_title(loc="left")) for axis in figure.axes) == 9
    assert figure.axes[0].get_lines()[0].get_marker() == "o"  # a line through one epoch cannot be seen


def test_routing_has_a_row_for_systems_with_experts_alone(history):
    figure = curves.routing(history, "sample")
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == ["GEXSent: usage entropy (1: even)", "GEXSent: dead experts"]
    assert lines(figure.axes[0]) == {"text": [[1, 0.9], [2, 0.9]], "shared": [[1, 0.5], [2, 0.5]]}
    assert lines(figure.axes[1])["text"] == [[1, 1.0], [2, 1.0]]


def test_routing_draws_shares_and_gates_where_they_were_logged(history):
    history = history.assign(share_text=0.4, gate_vision=0.7)
    titles = [axis.get_title(loc="left") for axis in curves.routing(history, "sample").axes]
    assert "GEXSent: share of each group" in titles
    assert "Text only: mean gate" in titles


def test_a_group_that_saw_no_token_is_not_drawn(history):
    figure = curves.routing(history.assign(entropy_vision=np.nan), "sample")
    assert "vision" not in lines(figure.axes[0])


@pytest.mark.parametrize("draw", [curves.routing, curves.auxiliary])
def test_nothing_is_drawn_where_no_system_has_experts(draw, history):
    assert draw(history[history["system"] == "text_only"].dropna(axis=1), "sample") is None


def test_auxiliary_losses_stand_beside_the_training_loss(history):
    axis = curves.auxiliary(history, "sample").axes[0]
    drawn = lines(axis)
    assert drawn["balance"] == [[1, 0.03], [2, 0.03]]
    assert np.allclose(drawn["tasks (training loss)"], [[1, 3.9], [2, 2.4]])
    assert "group (0 throughout)" in drawn  # such a line has no place on a logarithmic scale
    assert axis.get_yscale() == "log"


def test_weights_show_medians_of_shares_and_tell_an_absent_modality():
    shares = {"text": np.array([0.2, 0.3, 0.4]), "vision": np.zeros(3), "shared": np.array([0.8, 0.7, 0.6])}
    figure = curves.weights(shares, {"text": np.array([0.1, 0.9]), "vision": np.zeros(0)}, "sample")
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["text", "vision", "shared"]
    medians = [line.get_xdata()[0] for line in left.get_lines() if len(set(line.get_xdata())) == 1]
    assert {0.3, 0.7} <= set(np.round(medians, 9))
    labels = [text.get_text() for text in right.get_legend().get_texts()]
    assert labels == ["text (2 tokens)", "vision (absent)"]
    assert sum(bar.get_height() for bar in right.containers[0]) == pytest.approx(1)
