"""The choice of round, ridge and kernel, against machines fitted one by one.

Every score in `history_` is computed again from machines with ``validation=None``
that were fitted to the rows that the score comes from.
"""

import numpy as np
import pytest
from _oracles import SOFTNESSES, calibrated
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss, r2_score
from sklearn.model_selection import KFold, RepeatedKFold, StratifiedKFold

import skrfm._search._setup as setup
from skrfm import RFMClassifier, RFMRegressor, kernels
from skrfm._search import hold_out, make_folds
from skrfm.kernels import L1Laplace, Laplace


def kernel_named(name):
    """The kernel that a row of the history shows."""
    return eval(name, vars(kernels))


def rows_of(history):
    """The history as tuples (kernel, kind of metric, alpha, round, score)."""
    names = "kernel", "metric_type", "alpha", "iter", "score"
    columns = [history[name] for name in names]
    return list(zip(*columns, strict=True))


def machine_of(row, cls=RFMRegressor, **parameters):
    """The machine that a row of the history speaks of, with nothing to choose."""
    kernel, metric_type, alpha, number, _ = row
    return cls(
        kernel=kernel_named(kernel),
        metric_type=str(metric_type),
        alpha=float(alpha),
        max_iter=int(number),
        validation=None,
        **parameters,
    )


def best_of(history):
    """The row with the best score; of equal scores the first."""
    return rows_of(history)[int(np.argmax(history["score"]))]


def assert_chosen(machine):
    kernel, metric_type, alpha, number, _ = best_of(machine.history_)
    assert number == 0 or (metric_type == "diag") == (machine.metric_.ndim == 1)
    assert repr(machine.kernel_) == kernel
    assert machine.alpha_ == alpha
    assert machine.best_iter_ == number


@pytest.fixture
def folds(table):
    return list(KFold(3, shuffle=True, random_state=1).split(table[0]))


# -- cross-validation ---------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_are_those_of_the_pooled_out_of_fold_predictions(
    weighted, table, folds, rng
):
    X, y = table
    weight = rng.uniform(0.2, 3, size=len(y)) if weighted else np.ones(len(y))
    machine = RFMRegressor(
        alphas=(0.01, 1.0), max_iter=2, validation="cv", cv=folds, scaling=None
    )
    machine.fit(X, y, sample_weight=weight)
    rows = rows_of(machine.history_)
    # weights that do not count rows multiply the ridges by their mean
    ridges = {
        (kernel, round(alpha, 9)) for kernel, _, alpha, number, _ in rows if number == 0
    }
    assert ridges >= {
        (repr(kernel), round(alpha * weight.mean(), 9))
        for kernel in (Laplace(), L1Laplace())
        for alpha in (0.01, 1.0)
    }
    for row in rows:
        pooled = np.empty(len(y))
        for train, test in folds:
            part = machine_of(row, scaling=None).fit(
                X[train], y[train], sample_weight=weight[train]
            )
            pooled[test] = part.predict(X[test])
        expected = r2_score(y, pooled, sample_weight=weight)
        assert row[-1] == pytest.approx(expected, abs=1e-9)
    assert_chosen(machine)


def test_the_chosen_machine_is_refitted_on_all_rows(table, folds):
    X, y = table
    machine = RFMRegressor(validation="cv", cv=folds, max_iter=2, n_machines=1)
    machine.fit(X, y)
    expected = machine_of(best_of(machine.history_)).fit(X, y)
    assert machine.X_fit_.shape == X.shape
    assert_allclose(machine.predict(X), expected.predict(X), rtol=1e-10, atol=1e-12)
    assert_allclose(machine.metric_, expected.metric_, rtol=1e-9, atol=1e-14)


def test_classification_scores_and_calibration_are_out_of_fold(classes):
    X, labels = classes
    folds = list(StratifiedKFold(3, shuffle=True, random_state=1).split(X, labels))
    machine = RFMClassifier(
        kernel="laplace",
        alpha=0.3,
        max_iter=2,
        validation="cv",
        cv=folds,
        scaling=None,
    ).fit(X, labels)

    n = len(labels)

    def loss(log_factor, outputs, softness):
        """With one row more, a share of which is of each class."""
        proba = calibrated(outputs, np.exp(log_factor), softness)
        plain = log_loss(labels, proba, labels=machine.classes_)
        return (n * plain - np.log(proba).mean()) / (n + 1)

    def best_calibration(outputs):
        """The function from outputs to probabilities with the least loss."""
        found = [
            minimize_scalar(loss, args=(outputs, softness), bounds=(-2.3, 4.6))
            for softness in SOFTNESSES
        ]
        best = int(np.argmin([result.fun for result in found]))
        return lambda scores: calibrated(
            scores, np.exp(found[best].x), SOFTNESSES[best]
        )

    for row in rows_of(machine.history_):
        outputs = np.empty((len(labels), 3))
        for train, test in folds:
            part = machine_of(row, RFMClassifier, scaling=None).fit(
                X[train], labels[train]
            )
            outputs[test] = part.decision_function(X[test])
        proba_of = best_calibration(outputs)
        assert row[-1] == pytest.approx(-log_loss(labels, proba_of(outputs)), abs=1e-5)
        if row == best_of(machine.history_):
            scores = machine.decision_function(X)
            expected = proba_of(scores)
            assert_allclose(machine.predict_proba(X), expected, atol=5e-4)
    assert_chosen(machine)


def test_cv_takes_what_scikit_learn_takes(table):
    X, y = table
    splitter = KFold(3, shuffle=True, random_state=4)

    def history(cv):
        machine = RFMRegressor(kernel="laplace", max_iter=1, validation="cv", cv=cv)
        return machine.fit(X, y).history_["score"]

    expected = history(list(splitter.split(X)))
    assert_array_equal(history(splitter), expected)
    assert_array_equal(history(splitter.split(X)), expected)
    assert len(history(RepeatedKFold(n_splits=2, n_repeats=2, random_state=0)))


def test_cv_may_leave_rows_out_of_the_validation(table):
    X, y = table
    folds = [(np.arange(12, 48), np.arange(12))]
    machine = RFMRegressor(
        kernel="laplace",
        alpha=0.1,
        max_iter=1,
        validation="cv",
        cv=folds,
        scaling=None,
    )
    machine.fit(X, y)
    for row in rows_of(machine.history_):
        part = machine_of(row, scaling=None).fit(X[12:], y[12:])
        assert row[-1] == pytest.approx(r2_score(y[:12], part.predict(X[:12])))


def test_more_folds_than_rows(rng):
    X, y = rng.normal(size=(4, 2)), rng.normal(size=4)
    RFMRegressor(cv=10, validation="cv", max_iter=1).fit(X, y)


def test_folds_are_stratified_and_shuffled(rng):
    labels = np.repeat([0, 1], [40, 10])
    keep = np.ones(50, dtype=bool)
    for _, test in make_folds(5, labels, keep=keep, seed=0):
        assert np.bincount(labels[test]).tolist() == [8, 2]
        assert (np.diff(test) > 1).any()
    # a class of a single row cannot be stratified
    labels[:1] = 2
    folds = make_folds(5, labels, keep=keep, seed=0)
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(50))
    assert all((np.diff(test) > 1).any() for _, test in folds)


def test_a_class_of_one_row_can_be_fitted(classes):
    X, labels = classes
    labels = labels.copy()
    labels[5] = "dogwood"
    machine = RFMClassifier(kernel="laplace", alpha=0.1, cv=3, max_iter=1)
    machine.fit(X, labels)
    assert machine.predict_proba(X).shape == (60, 4)


@pytest.mark.parametrize("n_jobs", [2, -1])
def test_the_number_of_jobs_changes_nothing(n_jobs, table, classes):
    for cls, (X, y) in ((RFMRegressor, table), (RFMClassifier, classes)):
        one = cls(cv=3, max_iter=2, random_state=0).fit(X, y)
        more = cls(cv=3, max_iter=2, random_state=0, n_jobs=n_jobs).fit(X, y)
        assert_allclose(more.history_["score"], one.history_["score"], rtol=1e-10)
        assert_allclose(more.dual_coef_, one.dual_coef_, rtol=1e-9, atol=1e-12)


# -- hold-out, leave-one-out and rows of the user's ----------------------------------


def test_a_hold_out_is_refitted_on_all_rows(table):
    X, y = table
    machine = RFMRegressor(
        validation="holdout", max_iter=2, n_machines=1, random_state=0
    ).fit(X, y)
    assert machine.X_fit_.shape == X.shape
    assert_chosen(machine)
    expected = machine_of(best_of(machine.history_)).fit(X, y)
    assert_allclose(machine.predict(X), expected.predict(X), rtol=1e-10, atol=1e-12)


def test_the_hold_out_has_its_share_of_rows_and_classes():
    labels = np.repeat([0, 1], [60, 20])
    train, test = hold_out(labels, 0.25, seed=0)
    assert sorted([*train, *test]) == list(range(80))
    assert np.bincount(labels[test]).tolist() == [15, 5]


def test_hold_out_scores_come_from_the_rows_held_out(table):
    X, y = table
    machine = RFMRegressor(
        kernel="laplace",
        alpha=0.1,
        max_iter=2,
        validation="holdout",
        validation_fraction=0.25,
        scaling=None,
        random_state=3,
    ).fit(X, y)
    # the seed of the split is the first number that the random state gives
    seed = np.random.RandomState(3).randint(np.iinfo(np.int32).max)
    train, test = hold_out(np.zeros(48), 0.25, seed)
    assert len(test) == 12
    for row in rows_of(machine.history_):
        part = machine_of(row, scaling=None).fit(X[train], y[train])
        expected = r2_score(y[test], part.predict(X[test]))
        assert row[-1] == pytest.approx(expected, abs=1e-9)


def test_leave_one_out_keeps_the_machine_of_the_best_round(table):
    X, y = table
    machine = RFMRegressor(validation="loo", max_iter=2).fit(X, y)
    assert_chosen(machine)
    expected = machine_of(best_of(machine.history_)).fit(X, y)
    assert_allclose(machine.predict(X), expected.predict(X), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_given_validation_rows_are_scored_and_not_fitted(weighted, table, rng):
    X, y = table
    X_val = rng.normal(size=(30, 4))
    y_val = np.sin(2 * X_val[:, 0]) + 0.3 * X_val[:, 1]
    weight = rng.uniform(0, 3, size=30) if weighted else None
    machine = RFMRegressor(max_iter=2)
    machine.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight)
    for row in rows_of(machine.history_):
        part = machine_of(row).fit(X, y)
        expected = r2_score(y_val, part.predict(X_val), sample_weight=weight)
        assert row[-1] == pytest.approx(expected, abs=1e-9)
    assert_chosen(machine)
    assert machine.X_fit_.shape == X.shape
    expected = machine_of(best_of(machine.history_)).fit(X, y)
    assert_allclose(machine.predict(X), expected.predict(X), rtol=1e-9, atol=1e-12)


def test_probabilities_are_calibrated_on_given_validation_rows(classes):
    X, labels = classes
    machine = RFMClassifier(kernel="laplace", max_iter=2)
    machine.fit(X[:40], labels[:40], X_val=X[40:], y_val=labels[40:])
    loss = log_loss(labels[40:], machine.predict_proba(X[40:]))
    assert machine.history_["score"].max() == pytest.approx(-loss, abs=1e-9)
    scores = machine.decision_function(X[40:])
    others = [
        log_loss(labels[40:], calibrated(scores, factor, softness))
        for factor in np.geomspace(0.2, 90, 200)
        for softness in SOFTNESSES
    ]
    # but for the doubt of one row in as many
    assert min(others) - 1e-6 <= loss <= min(others) + 0.05 / len(scores)


def test_validation_rows_may_have_another_precision(table):
    X, y = table
    narrow = X.astype(np.float32)
    for kernel in ("laplace", "l1_laplace"):
        machine = RFMRegressor(kernel=kernel, alpha=0.1, max_iter=1)
        wide = machine.fit(narrow, y, X_val=X[:20], y_val=y[:20]).history_["score"]
        assert machine.predict(X).dtype == np.float32
        same = machine.fit(narrow, y, X_val=narrow[:20], y_val=y[:20])
        assert_allclose(same.history_["score"], wide, rtol=1e-4)


# -- "auto" -------------------------------------------------------------------------


def test_auto_is_cross_validation_for_few_rows(table):
    X, y = table
    shared = {"kernel": "laplace", "max_iter": 1, "random_state": 0, "cv": 3}
    shared["alphas"] = (1.0, 0.1)
    auto = RFMRegressor(**shared).fit(X, y)
    explicit = RFMRegressor(validation="cv", **shared).fit(X, y)
    assert_array_equal(auto.history_["score"], explicit.history_["score"])


def test_auto_cross_validates_with_given_folds_at_any_size(table, monkeypatch):
    monkeypatch.setattr(setup, "CV_ROWS", 20)
    X, y = table
    shared = {"kernel": "laplace", "max_iter": 1, "cv": KFold(2), "alphas": (1.0, 0.1)}
    auto = RFMRegressor(**shared).fit(X, y)
    explicit = RFMRegressor(validation="cv", **shared).fit(X, y)
    assert_array_equal(auto.history_["score"], explicit.history_["score"])


def test_kernel_auto_chooses_by_score(rng):
    """A rotated target suits the Euclidean kernel, an additive one with jumps L1."""
    X = rng.uniform(-1, 1, size=(150, 5))
    rotated = np.sin(3 * X.sum(axis=1))
    jumps = np.sign(X).sum(axis=1)
    shared = {"alpha": 0.01, "max_iter": 2, "cv": 3, "random_state": 0}
    assert isinstance(RFMRegressor(**shared).fit(X, rotated).kernel_, Laplace)
    assert isinstance(RFMRegressor(**shared).fit(X, jumps).kernel_, L1Laplace)


def test_kernel_auto_with_a_full_metric_tries_radial_kernels_only(table):
    X, y = table
    machine = RFMRegressor(metric_type="full", alpha=0.1, cv=2, max_iter=1).fit(X, y)
    assert set(machine.history_["metric_type"]) == {"full"}
    assert not any(kernel.startswith("L1") for kernel in machine.history_["kernel"])


def test_alpha_auto_tries_the_alphas_and_a_number_is_that_number(table):
    X, y = table
    shared = {"kernel": "laplace", "cv": 2, "max_iter": 1}
    machine = RFMRegressor(alphas=(0.5, 0.01), **shared).fit(X, y)
    assert set(machine.history_["alpha"]) == {0.5, 0.01}
    assert machine.alpha_ in (0.5, 0.01)
    machine = RFMRegressor(alpha=0.25, alphas=(0.5, 0.01), **shared).fit(X, y)
    assert set(machine.history_["alpha"]) == {0.25} and machine.alpha_ == 0.25


@pytest.mark.parametrize("validation", ["cv", "loo", "holdout"])
def test_of_equal_scores_the_earliest_wins(validation, rng):
    """A constant target is met exactly by every machine of every round."""
    X = rng.normal(size=(20, 3))
    machine = RFMRegressor(validation=validation, alphas=(0.1, 1.0), max_iter=2)
    with pytest.warns(UserWarning, match="constant"):
        machine.fit(X, np.full(20, 7.0))
    assert machine.best_iter_ == 0
    assert machine.alpha_ == 1.0


@pytest.mark.parametrize("alpha", [0.1, "auto"])
@pytest.mark.parametrize("cls", [RFMRegressor, RFMClassifier])
def test_validation_none_keeps_the_last_round(cls, alpha, table, classes):
    X, y = table if cls is RFMRegressor else classes
    machine = cls(kernel="laplace", alpha=alpha, validation=None, max_iter=2)
    machine.fit(X, y)
    assert machine.best_iter_ == 2 and machine.n_iter_ == 2
    assert machine.history_["iter"].max() == 2
