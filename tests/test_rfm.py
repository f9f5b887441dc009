"""The regressor and the classifier as their users meet them."""

import copy
import io
import pickle
import tracemalloc

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import skops.io
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import skrfm
from skrfm import RFMClassifier, RFMRegressor
from skrfm.kernels import GeneralizedLaplace, LpqLaplace

FAST = {
    "kernel": "laplace",
    "bandwidth": "median",
    "alpha": 0.1,
    "max_iter": 1,
    "cv": 3,
    "random_state": 0,
}


@pytest.fixture
def two_classes(classes):
    X, labels = classes
    return X, np.where(labels == "ash", "yes", "no")


# -- shapes and values --------------------------------------------------------------


def test_the_public_names():
    assert set(skrfm.__all__) == {
        "CNTKInpainter",
        "ConvRFMClassifier",
        "ConvRFMRegressor",
        "EntryRegressor",
        "LinRFMCompleter",
        "LinRFMRegressor",
        "MatrixCompleter",
        "NTKMatrixCompleter",
        "RFMClassifier",
        "RFMClassifierCV",
        "RFMRegressor",
        "RFMRegressorCV",
        "RecursiveFeatures",
        "SingularKernelClassifier",
        "TransferKernel",
        "XRFMClassifier",
        "XRFMRegressor",
        "agop",
        "completion",
        "conv_rfm",
        "exceptions",
        "features",
        "inspection",
        "kernels",
        "lin_rfm",
        "rfm",
        "solvers",
        "transfer",
        "xrfm",
    }
    assert skrfm.__version__
    assert dir(skrfm) == sorted([*skrfm.__all__, "__version__"])
    for name in skrfm.__all__:
        exported = getattr(skrfm, name)
        module = getattr(exported, "__module__", exported.__name__)
        # where it is defined is not where it is imported from
        assert module.startswith("skrfm.") and "._" not in module
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        skrfm.nothing  # noqa: B018


@pytest.mark.parametrize("kernel", ["laplace", "l1_laplace"])
def test_regression_shapes(kernel, table):
    X, y = table
    machine = RFMRegressor(**{**FAST, "kernel": kernel})
    for targets, shape in [(y, ()), (y[:, None], (1,)), (np.c_[y, X[:, 3]], (2,))]:
        machine.fit(X, targets)
        assert machine.predict(X[:7]).shape == (7, *shape)
        assert machine.dual_coef_.shape == (48, *shape)
        assert np.shape(machine.intercept_) == shape
        assert r2_score(targets, machine.predict(X)) == machine.score(X, targets)
        assert machine.score(X, targets) > 0.7


def test_outputs_are_fitted_alike_alone_and_together(table):
    """With no rounds the outputs share nothing but the kernel matrix."""
    X, y = table
    Y = np.column_stack([y, X[:, 3] ** 2])
    machine = RFMRegressor(kernel="laplace", alpha=0.1, max_iter=0, validation=None)
    together = machine.fit(X, Y).predict(X)
    for column in range(2):
        alone = machine.fit(X, Y[:, column]).predict(X)
        assert_allclose(together[:, column], alone, rtol=1e-10)


def test_binary_shapes(two_classes):
    X, labels = two_classes
    machine = RFMClassifier(**FAST).fit(X, labels)
    assert_array_equal(machine.classes_, ["no", "yes"])
    assert machine.decision_function(X[:7]).shape == (7,)
    assert machine.predict_proba(X[:7]).shape == (7, 2)
    assert machine.predict(X[:7]).shape == (7,)
    assert machine.dual_coef_.shape == (60,)
    assert accuracy_score(labels, machine.predict(X)) == machine.score(X, labels) > 0.8


def test_multiclass_shapes(classes):
    X, labels = classes
    machine = RFMClassifier(**FAST).fit(X, labels)
    assert_array_equal(machine.classes_, ["ash", "birch", "cedar"])
    assert machine.decision_function(X[:7]).shape == (7, 3)
    assert machine.predict_proba(X[:7]).shape == (7, 3)
    assert machine.score(X, labels) > 0.8


@pytest.mark.parametrize("validation", ["cv", "loo", "holdout", None])
@pytest.mark.parametrize("kind", ["two", "three"])
def test_predictions_scores_and_probabilities_agree(
    validation, kind, classes, two_classes, rng
):
    X, labels = classes if kind == "three" else two_classes
    machine = RFMClassifier(**FAST, validation=validation).fit(X, labels)
    new = rng.normal(size=(100, 4))
    scores, proba = machine.decision_function(new), machine.predict_proba(new)
    assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    if kind == "two":
        codes = (scores > 0).astype(int)
        assert_array_equal(np.argsort(proba[:, 1]), np.argsort(scores))
    else:
        codes = scores.argmax(axis=1)
        assert_array_equal(np.argsort(proba, axis=1), np.argsort(scores, axis=1))
    assert_array_equal(machine.classes_[codes], machine.predict(new))
    assert_array_equal(proba.argmax(axis=1), codes)


@pytest.mark.parametrize(
    "labels",
    [
        [3, 8],
        [-1.0, 1.0],
        [False, True],
        ["b", "a"],
        np.array(["b", "a"], dtype=object),
    ],
    ids=repr,
)
def test_labels_of_every_type(labels, table):
    X, y = table
    given = np.asarray(labels)[(y > 0).astype(int)]
    machine = RFMClassifier(**FAST).fit(X, given)
    predicted = machine.predict(X)
    assert_array_equal(machine.classes_, np.unique(given))
    assert np.mean(predicted == given) > 0.8
    assert predicted.dtype == machine.classes_.dtype


def test_the_order_of_two_classes_is_only_a_name(table):
    X, y = table
    machine = RFMClassifier(**FAST).fit(X, np.where(y > 0, "b", "a"))
    mirrored = RFMClassifier(**FAST).fit(X, np.where(y > 0, "a", "b"))
    assert_allclose(
        machine.decision_function(X), -mirrored.decision_function(X), rtol=1e-10
    )


def test_iris_is_classified_well():
    X, y = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), RFMClassifier(**{**FAST, "max_iter": 2}))
    assert cross_val_score(model, X, y, cv=3).mean() > 0.92


# -- weights ------------------------------------------------------------------------

COUNTS = np.array([1, 2, 0, 3, 1])[np.arange(40) % 5]
REPEATED = np.repeat(np.arange(40), COUNTS)


def assert_weights_are_repeats(machine, X, y, new, counts=COUNTS, **fit):
    """Fit with weights and with repeated rows; the splits keep repeats together."""
    repeated = np.repeat(np.arange(len(X)), counts)
    folds = list(KFold(3, shuffle=True, random_state=2).split(X))
    position = [np.flatnonzero(np.isin(repeated, test)) for _, test in folds]
    every = np.arange(len(repeated))
    machine.set_params(cv=folds).fit(X, y, sample_weight=counts, **fit)
    weighted = copy.deepcopy(machine)
    machine.set_params(cv=[(np.setdiff1d(every, test), test) for test in position])
    machine.fit(X[repeated], y[repeated], **fit)
    assert weighted.best_iter_ == machine.best_iter_
    assert weighted.alpha_ == machine.alpha_
    assert_allclose(weighted.bandwidth_, machine.bandwidth_, rtol=1e-7)
    assert_allclose(weighted.metric_, machine.metric_, rtol=1e-7, atol=1e-9)
    assert_allclose(
        weighted.history_["score"], machine.history_["score"], rtol=1e-7, atol=1e-9
    )
    method = "predict" if isinstance(machine, RFMRegressor) else "predict_proba"
    expected = getattr(machine, method)(new)
    assert_allclose(getattr(weighted, method)(new), expected, rtol=1e-7)


@pytest.mark.parametrize("validation", [None, "cv", "loo", "auto"])
@pytest.mark.parametrize("kernel", ["laplace", "l1_laplace", "auto"])
def test_a_weight_is_a_number_of_repeats_in_regression(validation, kernel, table, rng):
    X, y = table
    machine = RFMRegressor(
        kernel=kernel, validation=validation, max_iter=2, alphas=(0.05, 0.5)
    )
    assert_weights_are_repeats(machine, X[:40], y[:40], rng.normal(size=(9, 4)))


@pytest.mark.parametrize("validation", [None, "cv", "loo", "auto"])
@pytest.mark.parametrize("kind", ["two", "three"])
def test_a_weight_is_a_number_of_repeats_in_classification(
    validation, kind, classes, two_classes, rng
):
    X, labels = classes if kind == "three" else two_classes
    machine = RFMClassifier(kernel="laplace", alpha=0.2, max_iter=2).set_params(
        validation=validation
    )
    assert_weights_are_repeats(machine, X[:40], labels[:40], rng.normal(size=(9, 4)))


@pytest.mark.parametrize("parameters", [{"center_gradients": True}, {"max_iter": 0}])
def test_a_weight_is_a_number_of_repeats_with_options(parameters, table, rng):
    X, y = table
    machine = RFMRegressor(kernel="laplace", alpha=0.2, max_iter=2, validation=None)
    machine.set_params(**parameters)
    assert_weights_are_repeats(machine, X[:40], y[:40], rng.normal(size=(9, 4)))


def test_a_weight_is_a_number_of_repeats_with_balanced_classes(classes, rng):
    X, labels = classes
    machine = RFMClassifier(kernel="laplace", alpha=0.2, class_weight="balanced")
    machine.set_params(max_iter=1, validation="cv")
    assert_weights_are_repeats(machine, X[:40], labels[:40], rng.normal(size=(9, 4)))


def test_a_weight_is_a_number_of_repeats_among_validation_rows(table):
    X, y = table
    machine = RFMRegressor(kernel="laplace", alpha=0.2, max_iter=2)
    assert_weights_are_repeats(
        machine, X[:30], y[:30], X, COUNTS[:30], X_val=X[30:], y_val=y[30:]
    )
    weighted = machine.fit(
        X, y, X_val=X[:40], y_val=y[:40], sample_weight_val=COUNTS
    ).history_["score"]
    repeated = machine.fit(X, y, X_val=X[REPEATED], y_val=y[REPEATED]).history_["score"]
    assert_allclose(weighted, repeated, rtol=1e-9)


def test_a_class_without_weight_is_no_class(classes):
    X, labels = classes
    machine = RFMClassifier(**FAST).fit(X, labels, sample_weight=labels != "cedar")
    assert_array_equal(machine.classes_, ["ash", "birch"])
    assert machine.decision_function(X).ndim == 1


def test_class_weights_are_sample_weights(classes):
    X, labels = classes
    names, counts = np.unique(labels, return_counts=True)
    balanced = dict(zip(names, len(labels) / (3 * counts), strict=True))
    chosen = {"ash": 1.0, "birch": 2.0, "cedar": 0.5}
    for class_weight, factors in (("balanced", balanced), (chosen, chosen)):
        machine = RFMClassifier(**FAST, class_weight=class_weight).fit(X, labels)
        weight = np.array([factors[label] for label in labels])
        expected = RFMClassifier(**FAST).fit(X, labels, sample_weight=weight)
        assert_allclose(machine.predict_proba(X), expected.predict_proba(X), rtol=1e-9)


def test_class_weights_apply_to_validation_rows(classes):
    X, labels = classes
    chosen = {"ash": 1.0, "birch": 2.0, "cedar": 0.5}
    machine = RFMClassifier(**FAST, class_weight=chosen)
    machine.fit(X[:40], labels[:40], X_val=X[40:], y_val=labels[40:])
    weight = np.array([chosen[label] for label in labels])
    expected = RFMClassifier(**FAST).fit(
        X[:40],
        labels[:40],
        weight[:40],
        X_val=X[40:],
        y_val=labels[40:],
        sample_weight_val=weight[40:],
    )
    assert_allclose(machine.history_["score"], expected.history_["score"], rtol=1e-9)


# -- features -----------------------------------------------------------------------


@pytest.mark.parametrize("n_components", [None, 2])
@pytest.mark.parametrize("kernel", ["laplace", "l1_laplace"])
def test_transform_is_the_square_root_of_the_metric(kernel, n_components, table):
    X, y = table
    machine = RFMRegressor(
        **{**FAST, "kernel": kernel, "validation": None, "n_components": n_components},
        scaling=None,
    ).fit(X, y)
    k, components = n_components or 4, machine.components_
    if kernel == "laplace":
        assert components.shape == (k, 4)
        expected, products = X @ components.T, components.T @ components
    else:
        assert components.shape == (4,) and np.count_nonzero(components) == k
        expected, products = (X * components)[:, components > 0], components**2
    mapped = machine.transform(X)
    assert_allclose(mapped, expected, rtol=1e-12)
    assert mapped.shape == (len(X), k)
    assert_allclose(machine.metric_, products, rtol=1e-12, atol=1e-15)
    names = machine.get_feature_names_out()
    assert list(names) == [f"rfmregressor{i}" for i in range(k)]


def test_a_fitted_metric_serves_another_model(table):
    X, y = table
    machine = RFMRegressor(kernel="laplace", alpha=0.1, validation=None, max_iter=2)
    machine.fit(X, y)
    again = RFMRegressor(
        scaling=None,
        kernel="laplace",
        alpha=0.1,
        validation=None,
        max_iter=0,
        bandwidth=machine.bandwidth_,
    ).fit(machine.transform(X), y)
    expected = machine.predict(X)
    assert_allclose(again.predict(machine.transform(X)), expected, rtol=1e-9)


def test_importances_add_up_to_1_and_find_the_features(table):
    X, y = table
    for kernel in ("laplace", "l1_laplace"):
        for max_iter in (0, 3):
            machine = RFMRegressor(
                kernel=kernel, alpha=0.1, validation=None, max_iter=max_iter
            ).fit(X, y)
            importances = machine.feature_importances_
            assert importances.sum() == pytest.approx(1, rel=1e-12)
            assert importances.argmax() == 0
            assert importances[:2].sum() > importances[2:].sum()
        metric = machine.metric_
        diagonal = np.diag(metric) if kernel == "laplace" else metric
        assert_allclose(importances, diagonal / diagonal.sum(), rtol=1e-12)


def test_importances_of_round_0_are_those_of_its_predictor(table):
    """The metric of round 0 is the identity: importances come from its gradients."""
    X, y = table
    machine = RFMRegressor(
        kernel="laplace", alpha=0.1, validation=None, max_iter=0, scaling=None
    )
    first = machine.fit(X, y).feature_importances_
    assert_array_equal(machine.metric_, np.ones(4))
    assert_array_equal(machine.components_, np.ones(4))
    step, gradients = 1e-6, []
    for axis in range(4):
        shift = step * np.eye(4)[axis]
        above, below = machine.predict(X + shift), machine.predict(X - shift)
        gradients.append((above - below) / (2 * step))
    mean_squares = np.mean(np.square(gradients), axis=1)
    assert_allclose(first, mean_squares / mean_squares.sum(), rtol=1e-5)


# -- tables -------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_data_frames(frame, classes):
    X, labels = classes
    names = [f"x{i}" for i in range(4)]
    given = frame(dict(zip(names, X.T, strict=True)))
    series = pd.Series if frame is pd.DataFrame else pl.Series
    weight = np.linspace(0.5, 2, 60)
    machine = RFMClassifier(**FAST)
    machine.fit(given, series(labels), sample_weight=series(weight))
    expected = RFMClassifier(**FAST).fit(X, labels, sample_weight=weight)
    assert_array_equal(machine.feature_names_in_, names)
    proba = machine.predict_proba(given)
    assert_allclose(proba, expected.predict_proba(X), rtol=1e-10)
    assert_array_equal(machine.predict(given), expected.predict(X))
    assert_allclose(machine.transform(given), expected.transform(X), atol=1e-12)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_data_frames_of_targets_and_validation_rows(frame, table):
    X, y = table
    columns = dict(zip("abcd", X.T, strict=True))
    given, targets = frame(columns), frame({"u": y, "v": X[:, 3]})
    val = frame({name: column[:20] for name, column in columns.items()})
    val_targets = frame({"u": y[:20], "v": X[:20, 3]})
    machine = RFMRegressor(**FAST)
    machine.fit(given, targets, X_val=val, y_val=val_targets)
    Y = np.column_stack([y, X[:, 3]])
    expected = RFMRegressor(**FAST).fit(X, Y, X_val=X[:20], y_val=Y[:20])
    assert_allclose(machine.predict(given), expected.predict(X), atol=1e-11)
    assert machine.predict(given).shape == (48, 2)


def test_a_pandas_index_means_nothing(table):
    X, y = table
    order = np.random.default_rng(0).permutation(48)
    expected = RFMRegressor(**FAST).fit(X, y).predict(X)
    shuffled = pd.Series(y, index=order)
    machine = RFMRegressor(**FAST).fit(pd.DataFrame(X, index=order), shuffled)
    assert_allclose(machine.predict(pd.DataFrame(X)), expected, atol=1e-11)


def test_set_output(table):
    X, y = table
    machine = RFMRegressor(**FAST).set_output(transform="pandas").fit(X, y)
    out = machine.transform(X)
    assert isinstance(out, pd.DataFrame)
    assert list(out.columns) == list(machine.get_feature_names_out())


def test_lists_and_integers(table):
    X, y = table
    rounded = np.round(3 * X).astype(int)
    machine = RFMRegressor(**FAST).fit(rounded.tolist(), y.tolist())
    expected = RFMRegressor(**FAST).fit(rounded.astype(float), y)
    assert_array_equal(machine.predict(rounded), expected.predict(rounded))


def test_arrays_in_any_order_of_memory(table):
    X, y = table
    expected = RFMRegressor(**FAST).fit(X, y).predict(X)
    wide = np.zeros((96, 8))
    wide[::2, ::2] = X
    for given in (np.asfortranarray(X), wide[::2, ::2]):
        machine = RFMRegressor(**FAST).fit(given, y)
        assert_allclose(machine.predict(given), expected, rtol=1e-12)


@pytest.mark.parametrize("kernel", ["laplace", "l1_laplace"])
def test_the_users_arrays_are_never_changed(kernel, classes):
    X, labels = classes
    weight = np.linspace(0.5, 2, 60)
    arrays = X, labels, weight, X[:20].copy(), labels[:20].copy(), weight[:20].copy()
    before = copy.deepcopy(arrays)
    for array in arrays:
        array.flags.writeable = False
    X, labels, weight, X_val, y_val, weight_val = arrays
    machine = RFMClassifier(**{**FAST, "kernel": kernel})
    machine.fit(X, labels, weight)
    machine.fit(
        X, labels, weight, X_val=X_val, y_val=y_val, sample_weight_val=weight_val
    )
    machine.predict_proba(X)
    machine.transform(X)
    regressor = RFMRegressor(**{**FAST, "kernel": kernel}).fit(X, X[:, 0], weight)
    regressor.predict(X, return_std=True)
    for array, copied in zip(arrays, before, strict=True):
        assert_array_equal(array, copied)


def test_float32_stays_float32_and_agrees_with_float64(table):
    X, y = table
    for kernel in ("laplace", "l1_laplace", "gaussian"):
        machine = RFMRegressor(kernel=kernel, alpha=0.1, validation=None, max_iter=3)
        wide, wide_std = machine.fit(X, y).predict(X, return_std=True)
        narrow = X.astype(np.float32)
        got, std = machine.fit(narrow, y).predict(narrow, return_std=True)
        assert got.dtype == std.dtype == np.float32
        for name in ("metric_", "components_", "feature_importances_", "dual_coef_"):
            assert getattr(machine, name).dtype == np.float32, name
        assert_allclose(got, wide, atol=1e-3 * np.abs(wide).max())
        assert_allclose(std, wide_std, rtol=1e-3)


# -- state --------------------------------------------------------------------------


def through_pickle(machine):
    return pickle.loads(pickle.dumps(machine))


def through_joblib(machine):
    file = io.BytesIO()
    joblib.dump(machine, file)
    file.seek(0)
    return joblib.load(file)


def through_skops(machine):
    data = skops.io.dumps(machine)
    unknown = skops.io.get_untrusted_types(data=data)
    assert all(name.startswith("skrfm.") for name in unknown), unknown
    return skops.io.loads(data, trusted=unknown)


@pytest.mark.parametrize("through", [through_pickle, through_joblib, through_skops])
def test_a_machine_can_be_stored(through, classes, table):
    X, labels = classes
    machine = RFMClassifier(**{**FAST, "kernel": LpqLaplace(p=1.3)}).fit(X, labels)
    again = through(machine)
    assert_array_equal(again.predict(X), machine.predict(X))
    assert_array_equal(again.predict_proba(X), machine.predict_proba(X))
    assert_array_equal(again.transform(X), machine.transform(X))
    assert again.kernel_.p == 1.3
    X, y = table
    machine = RFMRegressor(**FAST).fit(X, y)
    again = through(machine)
    for got, expected in zip(
        again.predict(X, return_std=True),
        machine.predict(X, return_std=True),
        strict=True,
    ):
        assert_array_equal(got, expected)
    clone(again).fit(X, y)


def test_nothing_of_the_size_of_the_kernel_matrix_is_kept(rng):
    X = rng.normal(size=(300, 2))
    machine = RFMRegressor(**FAST).fit(X, X[:, 0])
    machine.predict(X, return_std=True)
    assert len(pickle.dumps(machine)) < 300**2 * 8 / 4


def peak_memory(function):
    """The most bytes that NumPy arrays took at once while `function` ran."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        function()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kernel", ["laplace", "l1_laplace"])
def test_a_fit_takes_at_most_two_kernel_matrices(kernel, rng):
    """The median of the distances, of at most 1000 rows, is left out of it."""
    n = 700
    X = rng.normal(size=(n, 4))
    y, Y = np.sin(X[:, 0]), np.sin(rng.normal(size=(n, 10)) + X[:, :1])
    machine = RFMRegressor(
        kernel=kernel, bandwidth=2.0, alpha=0.1, validation=None, max_iter=2
    )
    machine.fit(X[:50], y[:50]).fit(X[:50], Y[:50])  # compiled before it is measured
    matrix = 8 * n**2
    assert peak_memory(lambda: machine.fit(X, y)) < 2 * matrix
    assert peak_memory(lambda: machine.fit(X, Y)) < 3 * matrix


@pytest.mark.parametrize("kernel", ["laplace", "l1_laplace"])
def test_predictions_take_a_block_of_the_kernel_matrix_at_a_time(kernel, rng):
    X, new = rng.normal(size=(300, 2)), rng.normal(size=(20_000, 2))
    machine = RFMRegressor(**{**FAST, "kernel": kernel, "validation": None})
    machine.fit(X, X[:, 0]).predict(new[:5])
    assert peak_memory(lambda: machine.predict(new)) < 8 * 300 * 20_000 / 4


def test_the_random_state_is_local_and_fixes_the_results(table):
    X, y = table
    shared = {"cv": 3, "max_iter": 2, "kernel": "laplace"}
    before = np.random.get_state()  # noqa: NPY002
    first = RFMRegressor(**shared, random_state=0).fit(X, y)
    first.predict(X, return_std=True)
    after = np.random.get_state()  # noqa: NPY002
    assert_array_equal(before[1], after[1])
    assert before[2:] == after[2:]
    same = RFMRegressor(**shared, random_state=0).fit(X, y)
    assert_array_equal(same.history_["score"], first.history_["score"])
    assert_array_equal(same.predict(X), first.predict(X))
    other = RFMRegressor(**shared, random_state=1).fit(X, y)
    assert not np.array_equal(other.history_["score"], first.history_["score"])
    state = np.random.RandomState(0)
    again = RFMRegressor(**shared, random_state=state).fit(X, y)
    assert_array_equal(again.history_["score"], first.history_["score"])


def test_history_is_a_table(table):
    X, y = table
    machine = RFMRegressor(alphas=(0.1, 1.0), cv=3, max_iter=2).fit(X, y)
    frame = pd.DataFrame(machine.history_)
    assert list(frame.columns) == [
        "kernel",
        "metric_type",
        "scaling",
        "level_statistics",
        "alpha",
        "iter",
        "rows",
        "seconds",
        "score",
    ]
    assert (frame["seconds"] > 0).all() and set(frame["rows"]) == {32}
    assert set(frame["scaling"]) == {machine.scaling_} == {"clipped"}
    assert frame["score"].notna().all()
    best = frame.loc[frame["score"].idxmax()]
    assert best["alpha"] == machine.alpha_
    assert best["iter"] == machine.best_iter_
    assert best["kernel"] == repr(machine.kernel_)
    assert machine.n_iter_ == max(1, frame["iter"].max())
    parameters = ["kernel", "metric_type", "alpha", "iter"]
    assert not frame.duplicated(parameters).any()


def test_history_of_a_fit_without_validation(table):
    X, y = table
    machine = RFMRegressor(**{**FAST, "max_iter": 3}, validation=None).fit(X, y)
    assert_array_equal(machine.history_["iter"], [0, 1, 2, 3])
    assert np.isnan(machine.history_["score"]).all()
    assert machine.n_iter_ == machine.best_iter_ == 3


def test_numbers_of_rounds(table):
    X, y = table
    machine = RFMRegressor(**{**FAST, "max_iter": 0}).fit(X, y)
    assert machine.n_iter_ == 1 and machine.best_iter_ == 0
    machine = RFMRegressor(**{**FAST, "max_iter": 4}).fit(X, y)
    assert machine.n_iter_ == max(1, machine.history_["iter"].max()) <= 4
    assert 0 <= machine.best_iter_ <= machine.n_iter_


def test_a_recursion_that_ended_early_counts_the_rounds_it_ran(rng):
    X = rng.normal(size=(20, 3))
    machine = RFMRegressor(kernel="laplace", alpha=0.1, validation=None, max_iter=4)
    with pytest.warns(UserWarning, match="constant"):
        machine.fit(X, np.ones(20))
    assert machine.best_iter_ == 0
    assert machine.n_iter_ == 1
    assert_array_equal(machine.history_["iter"], [0])


def test_a_second_fit_forgets_the_first(table, classes):
    X, y = table
    machine = RFMRegressor(**FAST)
    machine.fit(X[:, :2], np.c_[y, y]).fit(X, y)
    expected = RFMRegressor(**FAST).fit(X, y)
    assert machine.n_features_in_ == 4
    assert_array_equal(machine.predict(X), expected.predict(X))
    X, labels = classes
    machine = RFMClassifier(**FAST).fit(X, labels).fit(X, labels == "ash")
    assert machine.predict(X).dtype == bool


# -- in company ---------------------------------------------------------------------


def test_a_grid_over_the_exponent_of_a_kernel_object(table):
    X, y = table
    machine = RFMRegressor(
        kernel=GeneralizedLaplace(), alpha=0.1, validation=None, max_iter=1
    )
    grid = GridSearchCV(machine, {"kernel__exponent": [0.7, 1.0, 1.4]}, cv=3)
    grid.fit(X, y)
    scores = grid.cv_results_["mean_test_score"]
    assert len(set(scores)) == 3
    assert (
        grid.best_estimator_.kernel_.exponent == grid.best_params_["kernel__exponent"]
    )
    by_hand = cross_val_score(machine.set_params(kernel__exponent=0.7), X, y, cv=3)
    assert by_hand.mean() == pytest.approx(scores[0], rel=1e-10)


def test_validation_rows_through_a_pipeline(table):
    X, y = table
    X = 5 * X + 2
    with config_context(enable_metadata_routing=True):
        machine = RFMRegressor(**FAST).set_fit_request(X_val=True, y_val=True)
        model = Pipeline(
            [("scale", StandardScaler()), ("fit", machine)], transform_input=["X_val"]
        )
        model.fit(X[:30], y[:30], X_val=X[30:], y_val=y[30:])
    scaler = StandardScaler().fit(X[:30])
    expected = RFMRegressor(**FAST).fit(
        scaler.transform(X[:30]),
        y[:30],
        X_val=scaler.transform(X[30:]),
        y_val=y[30:],
    )
    assert_allclose(model[-1].history_["score"], expected.history_["score"])
    assert_allclose(model.predict(X), expected.predict(scaler.transform(X)))


def test_the_metric_as_a_step_of_a_pipeline(table):
    X, y = table
    model = make_pipeline(RFMRegressor(**FAST), RFMRegressor(**{**FAST, "max_iter": 0}))
    assert model.fit(X, y).score(X, y) > 0.7


@pytest.mark.parametrize("device", [None, "cpu"])
def test_devices_of_the_cpu(device, table):
    X, y = table
    machine = RFMRegressor(**FAST, device=device).fit(X, y)
    assert_array_equal(machine.predict(X), RFMRegressor(**FAST).fit(X, y).predict(X))


def test_array_api_input_gives_the_same_numbers(table, classes):
    import array_api_strict as xp

    X, y = table
    with config_context(array_api_dispatch=True):
        for kernel in ("laplace", "l1_laplace"):
            parameters = {**FAST, "kernel": kernel}
            expected = RFMRegressor(**parameters).fit(X, y)
            machine = RFMRegressor(**parameters).fit(xp.asarray(X), xp.asarray(y))
            got, std = machine.predict(xp.asarray(X), return_std=True)
            assert got.__array_namespace__() is xp
            numbers, numbers_std = expected.predict(X, return_std=True)
            assert_allclose(np.asarray(got), numbers, rtol=1e-9)
            assert_allclose(np.asarray(std), numbers_std, rtol=1e-9)
        X, labels = classes
        codes = np.unique(labels, return_inverse=True)[1]
        expected = RFMClassifier(**FAST).fit(X, codes).predict_proba(X)
        machine = RFMClassifier(**FAST).fit(xp.asarray(X), xp.asarray(codes))
        got = machine.predict_proba(xp.asarray(X))
        assert_allclose(np.asarray(got), expected, rtol=1e-8)
        cpu = RFMClassifier(**FAST, device="cpu").fit(xp.asarray(X), xp.asarray(codes))
        assert isinstance(cpu.predict_proba(X), np.ndarray)


# -- tables of more columns than rows ------------------------------------------------


def wide_table(n_rows, n_columns, seed=0):
    X = np.random.default_rng(seed).normal(size=(n_rows, n_columns))
    return X, X[:, 0] + X[:, 1]


@pytest.mark.parametrize("kernel", ["laplace", "l1_laplace", "ntk"])
@pytest.mark.parametrize("shape", [(20, 1500), (30, 3000), (12, 6000)])
@pytest.mark.parametrize("max_iter", [0, 2])
def test_size_of_models_of_wide_tables(kernel, shape, max_iter):
    X, y = wide_table(*shape)
    machine = RFMRegressor(
        kernel=kernel, alpha=0.1, validation=None, max_iter=max_iter
    ).fit(X, y)
    if kernel == "l1_laplace" or max_iter == 0:
        assert machine.components_.shape == machine.metric_.shape == shape[1:]
    else:
        assert len(machine.components_) <= shape[0]
    content = pickle.dumps(machine)
    assert len(content) < 4 * X.nbytes
    assert_array_equal(pickle.loads(content).predict(X), machine.predict(X))
    assert machine.transform(X).shape == (shape[0], machine._n_features_out)


def test_no_square_matrix_of_the_columns_of_a_wide_table():
    X, y = wide_table(40, 4000)
    tracemalloc.start()
    RFMRegressor(max_iter=1, alpha=0.1, cv=2).fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25 * X.nbytes < X.shape[1] ** 2 * 8


def test_a_classifier_of_a_wide_table_with_many_classes():
    X, _ = wide_table(60, 2000)
    machine = RFMClassifier(
        kernel="laplace", scaling="clipped", alpha=0.1, validation=None, max_iter=2
    )
    machine.fit(X, np.arange(60) % 6)
    assert len(machine.components_) <= 60
    assert len(pickle.dumps(machine)) < 4 * X.nbytes


def test_metric_before_a_fit_and_assigned(table):
    X, y = table
    machine = RFMRegressor(kernel="laplace", alpha=0.1, validation=None, max_iter=1)
    for name in ("metric_", "components_"):
        assert not hasattr(machine, name)
    machine.fit(X, y)
    assert hasattr(machine, "metric_") and not hasattr(clone(machine), "metric_")
    assert "metric_" not in vars(machine)
    with pytest.raises(AttributeError):
        machine.metric_ = np.eye(4)


@pytest.mark.parametrize("metric_type", ["full", "diag"])
@pytest.mark.parametrize("n_components", [None, 1, 0.9])
def test_pickles_of_all_forms_of_the_metric(metric_type, n_components, table):
    X, y = table
    machine = RFMRegressor(
        kernel="laplace",
        alpha=0.1,
        validation=None,
        metric_type=metric_type,
        n_components=n_components,
    ).fit(X, y)
    again = through_pickle(machine)
    assert_array_equal(again.predict(X), machine.predict(X))
    assert_array_equal(again.transform(X), machine.transform(X))
    assert_array_equal(again.metric_, machine.metric_)
    k = len(machine.get_feature_names_out())
    assert machine.transform(X).shape == (len(X), k)
    assert n_components is None or k < 4
    frame = machine.set_output(transform="pandas").transform(X)
    assert frame.shape == (len(X), k)


def test_components_of_large_categories(rng):
    """Levels that are weighted and not mixed are in components and metric."""
    levels = np.arange(150) % 50
    X = np.column_stack([rng.normal(size=(150, 2)), levels])
    machine = RFMRegressor(
        kernel="laplace",
        alpha=0.1,
        validation=None,
        max_iter=2,
        categorical_features=[2],
    ).fit(X, X[:, 0] + np.sin(levels))
    components = machine.components_
    assert components.shape == (52, 52)
    assert_array_equal(components[2:, 2:], np.diag(np.diag(components[2:, 2:])))
    encoded = machine.X_fit_
    assert_allclose(machine.transform(X), encoded @ components.T, atol=1e-12)
    assert_allclose(machine.metric_, components.T @ components, atol=1e-15)
    assert_array_equal(through_pickle(machine).predict(X), machine.predict(X))


def test_the_representation_of_a_wide_model_does_not_compute_its_metric(rng):
    X = rng.normal(size=(12, 2500))
    model = RFMRegressor(kernel="laplace", alpha=0.1, max_iter=1, validation=None)
    model.fit(X, X[:, 0])
    assert model.components_.ndim == 2 and "metric_" not in dir(model)
    assert "components_" in model._repr_html_()
    narrow = model.fit(X[:, :5], X[:, 0])
    assert "metric_" in dir(narrow) and "metric_" in narrow._repr_html_()
