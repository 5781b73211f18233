"""GEXSent in the hands of scikit-learn."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from gexsent import GEXSentClassifier, GEXSentRegressor
from gexsent.encoders.text import TextEncoder
from gexsent.errors import DataError
from gexsent.posts.fit import Choice

TINY = Choice("tiny-modernbert", "tiny-clip", None)
BOTH = [GEXSentClassifier, GEXSentRegressor]
# The checks that give an estimator nothing to read. All others fit arrays of numbers; X is a table of texts and paths.
APPLY = (
    "check_estimator_cloneable", "check_estimator_repr", "check_get_params_invariance", "check_mixin_order",
    "check_no_attributes_set_in_init", "check_parameters_default_constructible", "check_set_params",
    "check_valid_tag_types",
)  # fmt: skip


@pytest.mark.parametrize("check", APPLY)
@pytest.mark.parametrize("kind", BOTH)
def test_what_scikit_learn_asks_of_an_estimator(kind, check):
    getattr(estimator_checks, check)(kind.__name__, kind(text="text"))


@pytest.fixture
def make(tmp_path, quickly):
    def build(kind=GEXSentClassifier, **options):
        options = {"text": "text", "image": "image", "media_root": tmp_path, "encoders": TINY, "cache": None} | options
        return kind(**options)

    return build


@pytest.mark.parametrize("labels", ["sentiment", "stars", "liked"])
def test_classes_come_back_as_they_were_given(make_posts, make, labels):
    table = make_posts()
    table["stars"] = table["stars"].clip(2, 4)
    model = make().fit(table, table[labels])
    assert sorted(model.classes_) == sorted(table[labels].unique())
    assert model.predict(table).dtype == np.unique(table[labels]).dtype
    chances = model.predict_proba(table)
    assert chances.shape == (60, len(model.classes_))
    np.testing.assert_allclose(chances.sum(1), 1, atol=1e-5)
    assert 0 <= model.score(table, table[labels]) <= 1


def test_a_number_is_told_in_its_own_units(make_posts, make):
    table = make_posts()
    model = make(GEXSentRegressor).fit(table, 1000 + table["stars"])
    assert model.predict(table).min() > 990
    assert np.isfinite(model.score(table, 1000 + table["stars"]))


def test_predictions_do_not_depend_on_the_other_rows(make_posts, make):
    table = make_posts()
    model = make().fit(table, table["sentiment"])
    alone = [model.predict_proba(table.iloc[[row]])[0] for row in range(5)]
    np.testing.assert_allclose(model.predict_proba(table)[:5], alone, atol=1e-5)


def test_the_same_seed_gives_the_same_model_and_a_clone_learns_alike(make_posts, make):
    table = make_posts()
    model = make().fit(table, table["sentiment"])
    again = clone(model).fit(table, table["sentiment"])
    np.testing.assert_array_equal(model.predict_proba(table), again.predict_proba(table))
    other = make(seed=1).fit(table, table["sentiment"])
    assert not np.array_equal(other.predict_proba(table), model.predict_proba(table))


def test_cross_validation_encodes_each_post_once(make_posts, make, tmp_path, monkeypatch):
    calls = []
    states = TextEncoder.states
    monkeypatch.setattr(
        TextEncoder, "states", lambda self, part, counts: calls.append(len(part)) or states(self, part, counts)
    )
    table = make_posts()
    model = make(cache=tmp_path / "cache")
    scores = cross_val_score(model, table, table["sentiment"], groups=table["user"], cv=GroupKFold(3))
    assert scores.shape == (3,) and np.isfinite(scores).all()
    assert sum(calls) == 60


def test_a_grid_and_a_pipeline(make_posts, make):
    table = make_posts()
    steps = Pipeline([("same", FunctionTransformer()), ("model", make())])
    grid = GridSearchCV(steps, {"model__max_tokens": [4, 16]}, cv=GroupKFold(2)).fit(
        table, table["sentiment"], groups=table["user"]
    )
    assert grid.best_params_["model__max_tokens"] in (4, 16)
    assert len(grid.predict(table)) == 60


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda table: table.to_numpy(), "X: expected a DataFrame"),
        (lambda table: table.head(0), "X: there are no posts in it"),
        (lambda table: table.drop(columns="text"), "X: no column 'text'"),
        (lambda table: table.assign(text="", image=""), "X, row 0: cannot be scored: it has neither a text nor"),
        (lambda table: table.assign(text="", image="gone.png"), r"X, row 0: cannot be scored: image: gone\.png"),
    ],
)
def test_what_cannot_be_scored_is_said(make_posts, make, spoil, message):
    table = make_posts()
    model = make().fit(table, table["sentiment"])
    with pytest.raises(DataError, match=message):
        model.predict(spoil(table))


def test_before_it_is_fitted_it_says_so_and_a_missing_label_is_refused(make_posts, make):
    table = make_posts()
    with pytest.raises(NotFittedError):
        make().predict(table)
    with pytest.raises(DataError, match="y: a label is missing"):
        make().fit(table, [None, *table["sentiment"][1:]])
