"""Input of a completer: the kinds it takes, and its errors and warnings."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from _completion import (
    completer_of,
    error,
    every_dtype,
    every_solver,
    low_rank,
    predicted,
    triplets_of,
)
from numpy.testing import assert_array_equal
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skrfm import EntryRegressor
from skrfm.completion._low_rank import _problem
from skrfm.exceptions import NumericalWarning

quiet = pytest.mark.filterwarnings(
    "ignore::skrfm.exceptions.NumericalWarning",
    "ignore::sklearn.exceptions.ConvergenceWarning",
)


# -- kinds of input -----------------------------------------------------------------


def as_sparse(X, kind):
    """The observed entries of X, stored; in no particular order in a COO."""
    rows, cols, values = triplets_of(X)
    order = np.random.default_rng(0).permutation(len(rows))
    coo = sp.coo_array((values[order], (rows[order], cols[order])), shape=X.shape)
    return kind(coo)


KINDS = [
    *(sp.coo_array, sp.csr_array, sp.csc_array, sp.lil_array),
    *(sp.coo_matrix, sp.csr_matrix, sp.csc_matrix),
]


@every_dtype
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_stored_entries_of_a_sparse_matrix_are_the_observed_ones(kind, dtype):
    _, X = low_rank(30, 20, share=0.7, noise=0.3)
    X = X.astype(dtype)
    completer = completer_of(max_rank=3)
    expected = completer.fit_transform(X), predicted(completer), completer.score(X)
    sparse = as_sparse(X, kind)
    got = completer.fit_transform(sparse), predicted(completer), completer.score(sparse)
    assert got[0].dtype == dtype and isinstance(got[0], np.ndarray)
    for value, reference in zip(got, expected, strict=True):
        assert_array_equal(value, reference)


@every_dtype
def test_entries_given_by_index_are_those_of_a_matrix(dtype):
    _, X = low_rank(noise=0.3)
    rows, cols, values = triplets_of(X.astype(dtype))
    order = np.random.default_rng(0).permutation(len(rows))
    completer = completer_of(max_rank=3)
    expected = predicted(completer.fit(X.astype(dtype)))
    completer.fit_entries(rows[order], cols[order], values[order], X.shape)
    got = predicted(completer)
    assert got.dtype == dtype
    assert_array_equal(got, expected)
    completer.fit_entries(*(array.tolist() for array in (rows, cols)), values, [60, 40])
    assert_array_equal(predicted(completer), expected)


def test_integers_are_values_too():
    rng = np.random.default_rng(0)
    full = np.outer(rng.integers(1, 9, size=30), rng.integers(1, 9, size=20))
    X = np.where(rng.random(full.shape) < 0.6, full, -1)
    completer = completer_of(missing_values=-1)
    assert error(completer.fit_transform(X), full) < 1e-6
    rows, cols = np.nonzero(X >= 0)
    completer.fit_entries(rows, cols, X[rows, cols], X.shape)
    assert completer.factors_[0].dtype == np.float64
    assert error(predicted(completer), full) < 1e-6


def test_a_stored_zero_is_observed():
    X = np.where(np.random.default_rng(0).random((12, 9)) < 0.8, 0.0, np.nan)
    X[X == 0] = low_rank(12, 9, rank=1)[0][X == 0]
    X[3, X[3] == X[3]] = 0.0
    rows, cols, values = triplets_of(X)
    assert (values == 0).any()
    sparse = sp.csr_array((values, (rows, cols)), shape=X.shape)
    completer = completer_of(max_rank=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumericalWarning)
        completed = completer.fit_transform(sparse)
        assert_array_equal(completed, completer.fit_transform(X))
    assert_array_equal(completed[3], 0)


@every_dtype
def test_data_frames(dtype):
    full, X = low_rank()
    names = np.array([f"film {j}" for j in range(40)], dtype=object)
    frame = pd.DataFrame(X.astype(dtype), columns=names)
    completer = completer_of().fit(frame)
    assert_array_equal(completer.feature_names_in_, names)
    assert_array_equal(completer.get_feature_names_out(), names)
    expected = completer_of().fit_transform(X.astype(dtype))
    same = completer.transform(frame[::-1])
    assert isinstance(same, pd.DataFrame)
    assert_array_equal(same.index, frame.index[::-1])
    assert list(same.columns) == list(names)
    assert_array_equal(same, expected[::-1])
    polar = pl.DataFrame({name: frame[name].to_numpy() for name in names})
    assert isinstance(completer.transform(polar), pl.DataFrame)
    for container, kind in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
        got = completer.set_output(transform=container).transform(frame)
        assert isinstance(got, kind) and list(got.columns) == list(names)
        assert_array_equal(got.to_numpy(), expected)
    completer.set_output(transform="default")
    again = completer.fit_transform(pl.DataFrame(dict(zip(names, X.T, strict=True))))
    assert error(again.to_numpy(), full) < 1e-6
    completer.fit_entries(*triplets_of(X), X.shape)
    assert not hasattr(completer, "feature_names_in_")


def test_names_of_columns_without_names():
    _, X = low_rank(m=30, n=3, rank=1, share=0.8)
    names = completer_of().fit(X).get_feature_names_out()
    assert_array_equal(names, ["x0", "x1", "x2"])


def test_a_completer_in_a_pipeline():
    full, X = low_rank()
    pipeline = make_pipeline(FunctionTransformer(np.negative), completer_of())
    assert error(pipeline.fit_transform(X), -full) < 1e-6


def frozen(array):
    array.flags.writeable = False
    return array


@every_solver
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_the_arrays_of_the_user_are_not_changed(loss, center, solver):
    """Which read-only arrays cannot be."""
    _, X = low_rank(30, 20, share=0.7, noise=0.3)
    parameters = {"loss": loss, "center": center, "solver": solver}
    completer = completer_of(**parameters, max_rank=3, tol=0.1)
    for container in (X, as_sparse(X, sp.csr_array), as_sparse(X, sp.coo_array)):
        parts = [container]
        if sp.issparse(container):
            names = ("data", "indices", "indptr", "row", "col")
            parts = [getattr(container, x) for x in names if hasattr(container, x)]
        before = [part.copy() for part in map(frozen, parts)]
        completer.fit(container).score(container)
        completer.transform(container)
        for part, copied in zip(parts, before, strict=True):
            assert_array_equal(part, copied)
    rows, cols, values = (frozen(array) for array in triplets_of(X))
    weight = frozen(np.ones(len(rows)))
    completer.fit_entries(rows, cols, values, X.shape, sample_weight=weight)
    completer.predict_entries(rows, cols)


# -- errors -------------------------------------------------------------------------


def test_nothing_observed_is_an_error():
    nothing, message = np.full((4, 3), np.nan), "All entries of X are missing"
    with pytest.raises(ValueError, match=message):
        completer_of().fit(nothing)
    with pytest.raises(ValueError, match=message):
        completer_of().fit(sp.csr_array((4, 3)))
    with pytest.raises(ValueError, match=message):
        completer_of(missing_values=7).fit(np.full((4, 3), 7.0))
    with pytest.raises(ValueError, match="at least one non-zero"):
        completer_of().fit_entries([0, 1], [1, 0], [2.0, 3.0], (2, 2), [0, 0])
    completer = completer_of().fit(low_rank(9, 3, 1, share=1)[1])
    with pytest.raises(ValueError, match=message):
        completer.score(nothing)


def test_bad_values_are_an_error():
    _, X = low_rank()
    X[3, 4] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        completer_of().fit(X)
    X[3, 4] = np.nan
    message = "X has NaN, but missing_values=-1 .* pass missing_values=np.nan"
    with pytest.raises(ValueError, match=message):
        completer_of(missing_values=-1).fit(X)
    with pytest.raises(ValueError, match="X is sparse and stores NaN"):
        completer_of().fit(sp.csr_array(X))
    completer = completer_of().fit(X)
    with pytest.raises(ValueError, match="X is sparse and stores NaN"):
        completer.transform(sp.csr_array(X))
    with pytest.raises(ValueError, match="X has 39 features, but LinRFMCompleter is"):
        completer.transform(X[:, :39])
    with pytest.raises(ValueError, match="values has NaN: leave out"):
        completer.fit_entries([0], [0], [np.nan], (2, 2))
    with pytest.raises(ValueError, match="values has no entries"):
        completer.fit_entries([], [], [], (2, 2))


def test_a_rank_beyond_that_of_the_matrix_is_an_error():
    _, X = low_rank(9, 5, 1, share=0.9)
    with pytest.raises(ValueError, match="max_rank=6 is more than 5"):
        completer_of(max_rank=6).fit(X)
    with pytest.raises(ValueError, match="max_rank=6 is more than 5"):
        completer_of(max_rank=6).fit_entries(*triplets_of(X.T), (5, 9))


@pytest.mark.parametrize("kind", [sp.coo_array, sp.coo_matrix])
def test_duplicates_are_an_error(kind):
    rows, cols, values = [0, 1, 1, 0], [0, 0, 1, 0], np.ones(4)
    message = "1 of the entries are given more than once"
    with pytest.raises(ValueError, match=message):
        completer_of().fit_entries(rows, cols, values, (2, 2))
    with pytest.raises(ValueError, match=message):
        completer_of().fit(kind((values, (rows, cols)), shape=(2, 2)))


BAD_ENTRIES = [
    ({"rows": [0, 3]}, "rows must lie in 0 … 2; it reaches from 0 to 3"),
    ({"cols": [-1, 1]}, "cols must lie in 0 … 1; it reaches from -1 to 1"),
    ({"rows": [0.0, 1.0]}, "rows must hold integers.* float64"),
    ({"cols": ["a", "b"]}, "cols must hold integers"),
    ({"rows": [0, 1, 2]}, "rows and cols must be as long as each other.* 3 and 2"),
    ({"values": [1.0]}, "rows, cols and values must have one.* 2, 2 and 1"),
    ({"values": [1.0, np.inf]}, "infinity"),
    ({"rows": [[0, 1]]}, r"rows must be one-dimensional.* shape is \(1, 2\)"),
    ({"cols": 1}, r"cols must be one-dimensional.* shape is \(\)"),
    ({"values": [[1.0, 2.0]]}, "values must be one-dimensional"),
    ({"shape": (3, 0)}, r"shape must be \(n_rows, n_columns\).* got \(3, 0\)"),
    ({"shape": (3,)}, "shape must be"),
    ({"shape": 3}, "shape must be"),
    ({"shape": (3, "x")}, "shape must be"),
    ({"shape": None}, "shape must be"),
    ({"sample_weight": [1.0, -1.0]}, "Negative values.*sample_weight"),
    ({"sample_weight": [1.0, np.nan]}, "NaN"),
    ({"sample_weight": [1.0]}, "sample_weight.shape == "),
]


@pytest.mark.parametrize(("change", "message"), BAD_ENTRIES, ids=str)
def test_bad_entries_are_an_error(change, message):
    good = {"rows": [0, 2], "cols": [0, 1], "values": [1.0, 2.0], "shape": (3, 2)}
    with pytest.raises(ValueError, match=message):
        completer_of().fit_entries(**(good | change))


def test_entries_outside_the_matrix_cannot_be_predicted():
    completer = completer_of().fit(low_rank()[1])
    with pytest.raises(ValueError, match="rows must lie in 0 … 59"):
        completer.predict_entries([60], [0])
    with pytest.raises(ValueError, match="cols must lie in 0 … 39"):
        completer.predict_entries([0], [-1])
    with pytest.raises(ValueError, match="rows must hold integers"):
        completer.predict_entries([0.5], [1])


BAD_PARAMETERS = [
    *({"power": power} for power in (0, -0.1, 0.51, "half")),
    *({"max_rank": rank} for rank in (0, 2.5)),
    *({"alpha": alpha} for alpha in (-1e-9, "none")),
    *({"validation_fraction": share} for share in (0, 1)),
    {"loss": "quadratic"},
    {"solver": "als"},
    {"max_iter": 0},
    {"tol": -1e-9},
    {"missing_values": "missing"},
    {"center": "yes"},
    {"keep_observed": None},
]


@pytest.mark.parametrize("parameters", BAD_PARAMETERS, ids=str)
def test_bad_parameters_are_an_error(parameters):
    (name,) = parameters
    with pytest.raises(ValueError, match=f"The '{name}' parameter of LinRFMCompleter"):
        completer_of(**parameters).fit(low_rank()[1])


def test_nothing_works_before_the_fit():
    _, X = low_rank()
    for call in (
        lambda: completer_of().transform(X),
        lambda: completer_of().score(X),
        lambda: completer_of().predict_entries([0], [0]),
        lambda: EntryRegressor(completer_of()).predict([[0, 0]]),
    ):
        with pytest.raises(NotFittedError):
            call()


def test_a_failed_fit_leaves_the_fitted_completer_as_it_was(monkeypatch):
    _, X = low_rank(noise=0.3)
    completer = completer_of(max_rank=4, solver="two-sided")
    completer.fit(pd.DataFrame(X).add_prefix("film "))
    before = dict(vars(completer))
    with pytest.raises(ValueError, match="All entries of X are missing"):
        completer.fit(np.full((4, 7), np.nan))
    with pytest.raises(ValueError, match="rows must lie in"):
        completer.fit_entries([9], [0], [1.0], (3, 2))

    def fail(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setitem(_problem.SOLVERS, "two-sided", fail)
    for fit in (
        lambda: completer.fit(X[:, :9]),
        lambda: completer.fit_entries(*triplets_of(X), X.shape),
    ):
        with pytest.raises(KeyboardInterrupt):
            fit()
    assert vars(completer).keys() == before.keys()
    assert all(vars(completer)[name] is value for name, value in before.items())


# -- warnings -----------------------------------------------------------------------


def the_warning(category, match, fit):
    """The one warning of a fit; it points to the line that calls it."""
    with pytest.warns(category, match=match) as caught:
        fit()
    (warning,) = caught
    assert warning.filename == __file__


def test_rows_and_columns_without_entries_are_named():
    _, X = low_rank()
    X[[3, 17]] = np.nan
    message = r"2 rows of X without .* \(3, 17\): filled with the weighted means of th"
    the_warning(NumericalWarning, message, lambda: completer_of().fit(X))
    _, X = low_rank(40, 60)
    X[:, 10:17] = np.nan
    message = r"7 columns of X without .* \(10, 11, 12, 13, 14, …\)"
    triplets = triplets_of(X)
    the_warning(
        NumericalWarning,
        message,
        lambda: completer_of().fit_entries(*triplets, X.shape),
    )
    message = r"1 row of X without any observed entry \(60\)"
    _, X = low_rank()
    X = np.vstack([X, np.full(40, np.nan)])
    completer = completer_of()
    the_warning(NumericalWarning, message, lambda: completer.fit(X))
    assert_array_equal(completer.factors_[0][60], 0)


def test_too_few_iterations_are_warned_of():
    _, X = low_rank(noise=0.3)
    completer = completer_of(max_iter=3, max_rank=4)
    message = "did not converge in 9 iterations: raise max_iter or tol"
    the_warning(ConvergenceWarning, message, lambda: completer.fit(X))
    assert not completer.converged_ and completer.n_iter_ == 9
    assert np.isfinite(completer.transform(X)).all()
    completer = completer_of(max_iter=2, max_rank=4, alpha=0.01)
    message = "did not converge in 2 iterations"
    the_warning(ConvergenceWarning, message, lambda: completer.fit(X))


@pytest.mark.filterwarnings("ignore::skrfm.exceptions.NumericalWarning")
def test_a_search_on_few_entries_ends_by_its_own_rule():
    """Fewer than ten entries are not compared: more iterations would do nothing."""
    _, X = low_rank(3, 3, noise=1.0, share=1)
    X[0, 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        completer = completer_of().fit(X)
    assert completer.converged_ and completer.n_iter_ < completer.max_iter
    with pytest.warns(ConvergenceWarning, match="not converge in 5 iterations"):
        assert not completer_of(max_iter=5).fit(X).converged_


def test_too_few_entries_are_warned_of():
    _, X = low_rank(30, 20, rank=6, share=0.5, noise=1.0)
    count = np.isfinite(X).sum()
    assert 264 < count < 1.2 * 264
    message = f"rank 6 has 264 degrees of freedom, and only {count} entries are observ"
    completer = completer_of(max_rank=6, alpha=1e-3, solver="alternating", tol=1e-2)
    the_warning(NumericalWarning, message, lambda: completer.fit(X))


def test_a_matrix_observed_in_full_is_not_too_few_entries():
    full = np.random.default_rng(0).normal(size=(8, 6))
    completer_of(alpha=1e-6, solver="alternating").fit(full)


# -- degenerate data ----------------------------------------------------------------

DEGENERATE = {
    "one number": np.array([[2.0]]),
    "one zero": np.array([[0.0]]),
    "one entry": np.where(np.arange(30).reshape(6, 5) == 7, 3.0, np.nan),
    "two entries": np.where(np.arange(30).reshape(6, 5) % 14 == 7, 3.0, np.nan),
    "one row": np.array([[1.0, np.nan, 3.0, 4.0, np.nan]]),
    "one column": np.array([[1.0], [np.nan], [3.0], [4.0]]),
    "one row of many": np.where(np.arange(6)[:, None] == 2, np.arange(5.0), np.nan),
    "a diagonal": np.where(np.eye(6, 5) > 0, 1.0, np.nan),
    "the identity": np.eye(7),
    "zeros": np.zeros((6, 5)),
    "zeros and gaps": np.where(np.isnan(low_rank(6, 5)[1]), np.nan, 0.0),
    "ones": np.ones((6, 5)),
    "ones and gaps": np.where(np.isnan(low_rank(6, 5)[1]), np.nan, 1.0),
    "all of a product": low_rank(8, 6, rank=1, share=1)[1],
    "all of noise": np.random.default_rng(0).normal(size=(8, 6)),
    "few columns": low_rank(11, 2, rank=2, share=0.8, noise=0.1)[1],
}


WAYS = [
    (np.float64, {}),
    (np.float64, {"loss": "huber"}),
    (np.float64, {"center": True}),
    (np.float64, {"alpha": 0.05}),
    (np.float64, {"alpha": 0}),
    (np.float32, {}),
    (np.float32, {"loss": "huber", "alpha": 0.05}),
]


@quiet
@every_solver
@pytest.mark.parametrize(("dtype", "parameters"), WAYS)
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_data_are_completed_by_finite_numbers(
    name, parameters, solver, dtype
):
    X = DEGENERATE[name].astype(dtype)
    completer = completer_of(solver=solver, max_iter=150, **parameters)
    completed = completer.fit_transform(X)
    seen = ~np.isnan(X)
    assert completed.dtype == dtype and np.isfinite(completed).all()
    assert_array_equal(completed[seen], X[seen])
    # nothing grows out of proportion either
    assert np.abs(completed).max() <= 100 * np.abs(X[seen]).max()


@quiet
@every_solver
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("parameters", [{"loss": "huber"}, {"alpha": 0}], ids=str)
@pytest.mark.parametrize("seed", [0, 1])
def test_noise_that_no_low_rank_matches_is_no_error(seed, parameters, dtype, solver):
    _, X = low_rank(23, 21, noise=1.0, seed=seed)
    completer = completer_of(solver=solver, max_iter=60, **parameters)
    assert np.isfinite(completer.fit_transform(X.astype(dtype))).all()


@every_dtype
def test_values_whose_squares_overflow_are_completed(dtype):
    full, X = low_rank()
    for power in (0.6, -0.6):
        factor = float(np.finfo(dtype).max) ** power
        completer = completer_of().fit((factor * X).astype(dtype))
        assert error(predicted(completer) / dtype(factor), full) < 1e-3
