"""RecursiveFeatures: the rounds, their choice, and what meta-estimators do."""

import pickle

import numpy as np
import pandas as pd
import pytest
from _progress import Recorder
from joblib import parallel_config
from sklearn import config_context
from sklearn.base import is_classifier, is_regressor
from sklearn.datasets import make_multilabel_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, KFold
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skrfm import RecursiveFeatures
from skrfm._search import mean_excess
from skrfm.features._maps import MapRule
from skrfm.features._rounds import simplest_of_best
from skrfm.inspection import agop

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 5)) * [1.0, 2.0, 1.0, 0.5, 1.0]
Y = np.sin(X[:, 0] + X[:, 2])
NEW = rng.normal(size=(300, 5)) * [1.0, 2.0, 1.0, 0.5, 1.0]
Y_NEW = np.sin(NEW[:, 0] + NEW[:, 2])


def root(G):
    values, vectors = np.linalg.eigh(G)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


# -- rounds ---------------------------------------------------------------------------


@pytest.mark.parametrize("metric_type", ["full", "diag"])
def test_rounds_are_fits_to_rows_times_the_root_of_the_agop(metric_type):
    model = RecursiveFeatures(
        SVR(), max_iter=2, metric_type=metric_type, validation=None
    ).fit(X, Y)
    L = np.eye(5)
    for _ in range(2):
        G = L @ agop(SVR().fit(X @ L, Y), X @ L) @ L.T
        std = X.std(axis=0)
        scaled = std[:, None] * G * std
        scaled = np.diag(np.diag(scaled)) if metric_type == "diag" else scaled
        L = (root(scaled) / std).T
        L *= np.sqrt(X.var(axis=0).sum() / (X @ L).var(axis=0).sum())
    wanted = SVR().fit(X @ L, Y).predict(NEW @ L)
    # the metric drops eigenvalues below 1e-10
    assert model.predict(NEW) == pytest.approx(wanted, abs=1e-4)
    assert model.transform(NEW) == pytest.approx(NEW @ L, abs=1e-4)
    assert model.components_ == pytest.approx(L.T, abs=1e-4)
    assert (model.best_iter_, model.metric_type_) == (2, metric_type)
    assert model.history_ == {}


def test_trees_get_directions_beside_their_columns():
    model = RecursiveFeatures(DecisionTreeRegressor(random_state=0), validation=None)
    model.fit(X, Y)
    rows = model.transform(NEW)
    assert np.array_equal(rows[:, :5], NEW)
    assert rows.shape[1] == len(model.components_) > 5
    leading = model.components_[5] * X.std(axis=0)
    assert np.linalg.norm(leading) == pytest.approx(1)
    assert abs(leading[[0, 2]]).min() > 0.6  # the target is along their sum
    assert model.score(NEW, Y_NEW) > DecisionTreeRegressor(random_state=0).fit(
        X, Y
    ).score(NEW, Y_NEW)
    names = model.get_feature_names_out(["a", "b", "c", "d", "e"]).tolist()
    assert names[:6] == ["a", "b", "c", "d", "e", "recursivefeatures0"]


def test_truncated_maps_have_fewer_columns():
    model = RecursiveFeatures(SVR(), n_components=1, validation=None).fit(X, Y)
    assert model.transform(X).shape == (200, 1)
    assert model.get_feature_names_out().tolist() == ["recursivefeatures0"]
    assert model.score(NEW, Y_NEW) > 0.9


def test_maps_do_not_depend_on_units():
    A = rng.normal(size=(5, 5))
    G, covariance, unit = A @ A.T, np.cov(X.T, bias=True), np.logspace(-3, 3, 5)
    for mode, kind in (("scale", "full"), ("scale", "diag"), ("concat", "full")):
        rule = MapRule(mode, kind)
        plain = rule(G, covariance)
        other = rule(G / np.outer(unit, unit), covariance * np.outer(unit, unit))
        first, second = plain.transform(X), other.transform(X * unit)
        if mode == "concat":
            first, second = (
                first[:, 5:],
                second[:, 5:] * np.sign((first[0] * second[0])[5:]),
            )
        assert second / np.linalg.norm(second) == pytest.approx(
            first / np.linalg.norm(first), abs=1e-9
        )
        if mode == "scale":
            total = X.var(axis=0).sum()
            assert first.var(axis=0).sum() == pytest.approx(total)


def test_kernels_with_a_length_scale_for_each_column_work():
    process = GaussianProcessRegressor(RBF(np.ones(5)), optimizer=None, alpha=0.1)
    model = RecursiveFeatures(process, validation=None).fit(X, Y)
    assert model.best_iter_ == 2


def test_parameters_of_predict_reach_the_estimator():
    process = GaussianProcessRegressor(RBF(np.ones(5)), optimizer=None, alpha=0.1)
    model = RecursiveFeatures(process, validation=None).fit(X, Y)
    mean, std = model.predict(NEW, return_std=True)
    np.testing.assert_array_equal(mean, model.predict(NEW))
    expected = model.estimator_.predict(model.transform(NEW), return_std=True)
    np.testing.assert_array_equal(std, expected[1])
    of_pipeline = make_pipeline(StandardScaler(), model).fit(X, Y)
    assert of_pipeline.predict(NEW, return_std=True)[1].shape == (300,)


def test_a_constant_predictor_ends_the_rounds():
    model = RecursiveFeatures(Ridge(), random_state=0).fit(X, np.ones(200))
    assert model.best_iter_ == 0
    assert model.feature_importances_.tolist() == [0] * 5
    assert model.predict(NEW) == pytest.approx(np.ones(300))


# -- the choice -----------------------------------------------------------------------


def test_the_number_of_rounds_is_chosen_on_unseen_rows():
    alone = KNeighborsRegressor(10).fit(X, Y)
    model = RecursiveFeatures(KNeighborsRegressor(10), random_state=0).fit(X, Y)
    assert model.best_iter_ > 0
    assert model.score(NEW, Y_NEW) > alone.score(NEW, Y_NEW) + 0.15
    history = pd.DataFrame(model.history_)
    assert history[["metric_type", "iter"]].to_numpy().tolist() == [
        ["none", 0],
        ["diag", 1],
        ["full", 1],
        ["diag", 2],
        ["full", 2],
    ]
    assert history.mean_excess.min() == 0
    expected = [1 / 2, 1 / 2]
    assert model.feature_importances_[[0, 2]] == pytest.approx(expected, abs=0.1)


def test_losses_are_those_of_folds_with_metrics_of_their_own():
    folds = list(KFold(3).split(X))
    model = RecursiveFeatures(SVR(), max_iter=1, metric_type="diag", cv=folds)
    model.fit(X, Y)
    fixed = model.set_params(validation=None)
    losses = np.zeros((2, 200))
    for train, test in folds:
        for number in range(2):
            fitted = fixed.set_params(max_iter=number).fit(X[train], Y[train])
            losses[number, test] = (fitted.predict(X[test]) - Y[test]) ** 2 / Y.var()
    again = RecursiveFeatures(SVR(), max_iter=1, metric_type="diag", cv=folds).fit(X, Y)
    assert again.history_["mean_loss"] == pytest.approx(losses.mean(axis=1))


def test_no_reweighting_is_kept_where_nothing_is_gained():
    noise = np.random.default_rng(1).normal(size=200)
    model = RecursiveFeatures(SVR(C=0.1), random_state=0).fit(X, noise)
    assert (model.best_iter_, model.metric_type_) == (0, "none")
    assert np.array_equal(model.transform(X), X)
    assert np.array_equal(model.predict(NEW), SVR(C=0.1).fit(X, noise).predict(NEW))


def test_the_simplest_within_an_error_of_the_best_is_taken():
    def choose(*rows):
        table = np.array(rows, float)
        return simplest_of_best(table, np.ones(table.shape[1]), mean_excess)

    assert choose([1, 3, 1, 3], [0, 0, 0, 0]) == 1  # a gain of 2, an error of 1/2
    assert choose([1, -0.8, 1, -0.8], [0, 0, 0, 0]) == 0  # of 0.1, an error of 0.45
    assert choose([9, 9, 9, 9], [1, -0.8, 1, -0.8], [0, 0, 0, 0]) == 1
    assert choose([0, 0], [0, 0]) == 0


def test_classifiers_with_and_without_probabilities():
    labels = np.array(["low", "middle", "high"])[np.digitize(Y, [-0.5, 0.5])]
    new = np.array(["low", "middle", "high"])[np.digitize(Y_NEW, [-0.5, 0.5])]
    for estimator in (KNeighborsClassifier(10), SVC()):
        model = RecursiveFeatures(estimator, random_state=0).fit(X, labels)
        assert model.classes_.tolist() == ["high", "low", "middle"]
        assert model.score(NEW, new) > estimator.fit(X, labels).score(NEW, new) + 0.04
    assert not hasattr(model, "predict_proba")
    assert model.decision_function(NEW).shape == (300, 3)


# -- what meta-estimators do ----------------------------------------------------------


def test_it_is_what_its_estimator_is():
    assert is_classifier(RecursiveFeatures(SVC()))
    assert not is_regressor(RecursiveFeatures(SVC()))
    assert is_regressor(RecursiveFeatures(make_pipeline(StandardScaler(), SVR())))
    with pytest.raises(AttributeError, match="predict_proba"):
        RecursiveFeatures(SVR()).fit(X, Y).predict_proba(X)


def test_several_targets_and_labels():
    both = np.column_stack([Y, X[:, 3]])
    model = RecursiveFeatures(KNeighborsRegressor(5), max_iter=1, random_state=0)
    assert model.fit(X, both).predict(NEW).shape == (300, 2)
    rows, labels = make_multilabel_classification(80, 5, random_state=0)
    tree = DecisionTreeClassifier(max_depth=3, random_state=0)
    model = RecursiveFeatures(tree, max_iter=1, cv=2).fit(rows, labels)
    assert model.predict(rows).shape == labels.shape


def test_weights_reach_the_fits_the_averages_and_the_losses():
    weight = np.arange(200) % 3
    first = RecursiveFeatures(Ridge(), validation=None).fit(X, Y, weight)
    repeated = np.repeat(np.arange(200), weight)
    second = RecursiveFeatures(Ridge(), validation=None).fit(X[repeated], Y[repeated])
    assert first.predict(NEW) == pytest.approx(second.predict(NEW))
    assert first.agop_ == pytest.approx(second.agop_)
    with pytest.raises(ValueError, match="KNeighborsRegressor.fit takes no sample_wei"):
        RecursiveFeatures(KNeighborsRegressor()).fit(X, Y, weight)


class Offset(Ridge):
    """Takes one more argument of `fit` for each row, and one that is for none."""

    def fit(self, X, y, sample_weight=None, offset=None, factor=1.0):
        return super().fit(X, y - factor * offset, sample_weight)


def test_fit_params_are_split_as_the_rows_are():
    offset = rng.normal(size=200)
    model = RecursiveFeatures(Offset(), max_iter=1, random_state=0)
    model.fit(X, Y + 2 * offset, offset=offset, factor=2.0)
    assert model.predict(NEW) == pytest.approx(
        Ridge().fit(model.transform(X), Y).predict(model.transform(NEW))
    )


def test_metadata_are_routed():
    groups, weight = np.arange(200) % 4, rng.random(200)
    with config_context(enable_metadata_routing=True):
        ridge = Ridge().set_fit_request(sample_weight=True)
        model = RecursiveFeatures(ridge, cv=GroupKFold(4), max_iter=1)
        model.fit(X, Y, sample_weight=weight, groups=groups)
        with pytest.raises(ValueError, match="sample_weight"):
            RecursiveFeatures(Ridge(), max_iter=1).fit(X, Y, sample_weight=weight)
        with pytest.raises(TypeError, match="offset"):
            RecursiveFeatures(Ridge(), max_iter=1).fit(X, Y, offset=weight)
    plain = RecursiveFeatures(Ridge(), cv=GroupKFold(4), max_iter=1)
    plain.fit(X, Y, weight, groups=groups)
    assert np.array_equal(model.predict(NEW), plain.predict(NEW))


def test_jobs_pickles_and_frames_do_not_change_predictions():
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = RecursiveFeatures(SVR(), max_iter=1, n_jobs=2, random_state=0)
    with parallel_config(backend="threading"):  # processes take long to start
        model.fit(X, Y)
    named = RecursiveFeatures(SVR(), max_iter=1, random_state=0).fit(frame, Y)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict(NEW), model.predict(NEW))
    rows = pd.DataFrame(NEW, columns=list("abcde"))
    assert named.predict(rows) == pytest.approx(model.predict(NEW))
    assert agop(model, X, method="analytic") == pytest.approx(model.agop_)


def test_single_precision_stays():
    narrow = X.astype(np.float32)
    model = RecursiveFeatures(SVR(), max_iter=1, validation=None).fit(narrow, Y)
    assert model.transform(narrow).dtype == np.float32
    double = RecursiveFeatures(SVR(), max_iter=1, validation=None).fit(X, Y)
    assert model.predict(narrow) == pytest.approx(double.predict(X), abs=1e-3)


def test_folds_and_rounds_are_tasks_of_callbacks():
    recorder = Recorder()
    model = RecursiveFeatures(SVR(), max_iter=1, metric_type="full", cv=2)
    model.set_callbacks(recorder).fit(X, Y)
    names = [context.task_name for context in recorder.ended]
    assert names.count("fold") == 2
    assert names.count("round") == model.best_iter_ + 1


def test_a_failed_fit_changes_nothing():
    model = RecursiveFeatures(SVR(), max_iter=1, validation=None).fit(X, Y)
    before = model.predict(NEW)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.where(X > 2, np.nan, X), Y)
    assert np.array_equal(model.predict(NEW), before)


def test_errors_name_the_argument():
    forest = RandomForestClassifier(5)
    with pytest.raises(ValueError, match='metric_type="diag" has no directions'):
        RecursiveFeatures(forest, metric_type="diag").fit(X, Y > 0)
    with pytest.raises(ValueError, match="step must be positive"):
        RecursiveFeatures(forest, step=[0.1, 0.0]).fit(X, Y > 0)
    frame = pd.DataFrame({"size": X[:, 0], "kind": ["a"] * 200})
    with pytest.raises(ValueError, match="kind"):
        RecursiveFeatures(SVR()).fit(frame, Y)
