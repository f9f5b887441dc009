"""Untested pairs, ranked."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from _completion import completer_of, low_rank
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import coo_array
from scipy.stats import norm

from skrfm import MatrixCompleter, NTKMatrixCompleter
from skrfm.completion import _ranking, rank_untested

ORDERS = ["mean", "lower_bound", "expected_improvement"]


@pytest.fixture(scope="module")
def fitted():
    """A matrix with gaps and a completer that was fitted to it."""
    _, X = low_rank(30, 20, noise=0.4, share=0.7)
    return X, completer_of(max_rank=2).fit(X)


def by_hand(completer, X, by, largest, z=1.0, best_of="all"):
    """All untested pairs and their scores, the best first, by a loop."""
    sign = 1 if largest else -1
    found = []
    for i, j in np.argwhere(np.isnan(X)):
        mean, std = (a[0] for a in completer.predict_entries([i], [j], return_std=True))
        measured = {"all": X, "row": X[i], "column": X[:, j]}[best_of]
        if by == "mean":
            score = mean
        elif by == "lower_bound":
            score = mean - sign * z * std
        else:
            gain = sign * mean - np.nanmax(sign * measured)
            score = gain * norm.cdf(gain / std) + std * norm.pdf(gain / std)
        better = sign if by != "expected_improvement" else 1
        found.append((-better * score, i, j, mean, std, score))
    return np.array(sorted(found))


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("by", ORDERS)
def test_pairs_are_ranked_as_by_hand(fitted, by, largest):
    X, completer = fitted
    got = rank_untested(completer, X, by=by, largest=largest, n_pairs=12, z=1.5)
    expected = by_hand(completer, X, by, largest, z=1.5)[:12]
    assert_array_equal(got["row"], expected[:, 1])
    assert_array_equal(got["column"], expected[:, 2])
    assert_allclose(got["mean"], expected[:, 3])
    assert_allclose(got["std"], expected[:, 4])
    names = ["row", "column", "mean", "std"]
    if by != "mean":
        name = "upper_bound" if by == "lower_bound" and not largest else by
        names += [name]
        assert_allclose(got[name], expected[:, 5], atol=1e-12)
    assert list(got) == names
    assert np.isnan(X[got["row"], got["column"]]).all()


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("best_of", ["row", "column"])
def test_improvement_over_the_best_of_a_row_or_column(fitted, best_of, largest):
    X, completer = fitted
    got = rank_untested(
        completer,
        X,
        by="expected_improvement",
        best_of=best_of,
        largest=largest,
        n_pairs=8,
    )
    expected = by_hand(completer, X, "expected_improvement", largest, best_of=best_of)[
        :8
    ]
    assert_allclose(got["expected_improvement"], expected[:, 5], atol=1e-12)


def test_expected_improvement_is_the_mean_of_improvements(fitted):
    X, completer = fitted
    got = rank_untested(completer, X, by="expected_improvement", n_pairs=2)
    draws = np.random.default_rng(0).normal(size=(200_000, 2))
    values = got["mean"] + got["std"] * draws
    improvement = np.maximum(values - np.nanmax(X), 0).mean(axis=0)
    assert_allclose(got["expected_improvement"], improvement, rtol=0.05)


def test_a_row_without_measurements_is_compared_with_all():
    _, X = low_rank(30, 20, noise=0.4, share=0.7)
    X[4] = np.nan
    features = np.random.default_rng(0).normal(size=(30, 2))
    completer = NTKMatrixCompleter().fit(X, row_features=features)
    by = {"by": "expected_improvement", "n_pairs": None}
    of_row = rank_untested(completer, X, best_of="row", **by)
    of_all = rank_untested(completer, X, best_of="all", **by)
    for got in of_row, of_all:
        got["order"] = np.lexsort((got["column"], got["row"]))
    rows = of_all["row"][of_all["order"]]
    ours, theirs = (
        got["expected_improvement"][got["order"]] for got in (of_row, of_all)
    )
    assert_allclose(ours[rows == 4], theirs[rows == 4])
    assert not np.allclose(ours[rows != 4], theirs[rows != 4])


def test_all_pairs_in_blocks_and_of_a_sparse_matrix(fitted, monkeypatch):
    X, completer = fitted
    expected = rank_untested(completer, X, n_pairs=None, by="lower_bound")
    assert len(expected["row"]) == np.isnan(X).sum()
    assert (np.diff(expected["lower_bound"]) <= 0).all()
    monkeypatch.setattr(_ranking, "_BLOCK", 40)
    rows, cols = np.nonzero(~np.isnan(X))
    sparse = coo_array((X[rows, cols], (rows, cols)), shape=X.shape)
    for given in X, sparse:
        for n_pairs in None, 15:
            got = rank_untested(completer, given, n_pairs=n_pairs, by="lower_bound")
            for name, column in got.items():
                assert_array_equal(column, expected[name][:n_pairs])


def test_data_frames_give_data_frames_with_their_labels(fitted):
    X, _ = fitted
    names = [f"drug {j}" for j in range(20)]
    cells = pd.MultiIndex.from_product([["a", "b", "c"], range(10)])
    frame = pd.DataFrame(X, index=cells, columns=names)
    completer = completer_of(max_rank=2).fit(frame)
    expected = rank_untested(completer_of(max_rank=2).fit(X), X)
    got = rank_untested(completer, frame)
    assert isinstance(got, pd.DataFrame) and list(got.index) == list(range(10))
    assert got["row"].tolist() == [cells[i] for i in expected["row"]]
    assert got["column"].tolist() == [names[j] for j in expected["column"]]
    assert_allclose(got["mean"], expected["mean"])
    table = pl.DataFrame(X, schema=names, nan_to_null=False)
    got = rank_untested(completer_of(max_rank=2).fit(table), table)
    assert isinstance(got, pl.DataFrame)
    assert got["row"].to_list() == expected["row"].tolist()
    assert got["column"].to_list() == [names[j] for j in expected["column"]]


def test_pairs_without_a_deviation_come_last():
    _, X = low_rank(30, 20, noise=0.4, share=0.7)
    X[:, 3] = np.nan
    features = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.warns(UserWarning, match="1 column of X without any"):
        completer = NTKMatrixCompleter().fit(X, row_features=features)
    got = rank_untested(completer, X, by="lower_bound", n_pairs=None)
    unknown = got["column"] == 3
    assert unknown[-30:].all() and not unknown[:-30].any()
    assert_array_equal(np.isnan(got["std"]), unknown)


def test_the_matrix_is_not_changed(fitted):
    X, completer = fitted
    before = X.copy()
    rank_untested(completer, X, by="expected_improvement")
    assert_array_equal(X, before)


def test_matched_entries_have_improvements_without_deviation():
    full, X = low_rank(40, 30)
    completer = completer_of().fit(np.zeros_like(X))
    gaps = np.where(np.isnan(X), np.nan, 0.0)
    completer.fit(gaps)
    got = rank_untested(completer, gaps, by="expected_improvement", n_pairs=4)
    assert_array_equal(got["expected_improvement"], 0)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"by": "median"}, "by must be one of mean, lower_bound"),
        ({"best_of": "drug"}, "best_of must be one of all, row, column"),
        ({"n_pairs": 0}, "n_pairs must be an integer above 0 or None"),
        ({"n_pairs": 2.5}, "n_pairs must be an integer above 0 or None"),
        ({"z": -1.0}, "z must be a number of at least 0"),
        ({"z": np.nan}, "z must be a number of at least 0"),
    ],
)
def test_parameters_are_checked(fitted, parameters, message):
    X, completer = fitted
    with pytest.raises(ValueError, match=message):
        rank_untested(completer, X, **parameters)


def test_the_matrix_is_checked(fitted):
    X, completer = fitted
    with pytest.raises(ValueError, match=r"X has the shape \(29, 20\), but"):
        rank_untested(completer, X[1:])
    with pytest.raises(ValueError, match="no untested pairs"):
        rank_untested(completer, np.nan_to_num(X))
    with pytest.raises(ValueError, match="All entries of X are missing"):
        rank_untested(completer, np.full_like(X, np.nan))
    with pytest.raises(ValueError, match="is not fitted"):
        rank_untested(completer_of(), X)


@pytest.mark.parametrize(
    "completer",
    [
        completer_of(max_rank=2),
        MatrixCompleter(combine="best", cv=2, random_state=0),
        NTKMatrixCompleter(),
    ],
    ids=lambda completer: type(completer).__name__,
)
def test_a_matrix_in_another_order_is_not_that_of_the_fit(completer):
    """Its pairs would have the predictions of others, under the wrong names."""
    _, X = low_rank(12, 8, noise=0.4, share=0.7)
    frame = pd.DataFrame(X, index=[f"cell {i}" for i in range(12)])
    completer.fit(frame)
    with pytest.raises(ValueError, match=r"X has no entry, or .* in the same order"):
        rank_untested(completer, frame.iloc[::-1])
    with pytest.raises(ValueError, match=r"X has no entry, or another value, for 1 of"):
        changed = X.copy()
        changed[tuple(np.argwhere(~np.isnan(X))[3])] += 0.1
        rank_untested(completer, changed)
    assert len(rank_untested(completer, X.astype(np.float32))["row"]) == 10


def test_pairs_measured_since_the_fit_are_not_ranked(fitted):
    X, completer = fitted
    ranked = rank_untested(completer, X, n_pairs=4)
    further = X.copy()
    further[ranked["row"][0], ranked["column"][0]] = 0.0
    again = rank_untested(completer, further, n_pairs=3)
    for name in ("row", "column", "mean"):
        assert_array_equal(again[name], ranked[name][1:])


def test_residuals_of_a_first_completer_are_not_its_entries():
    _, X = low_rank(12, 8, noise=0.4, share=0.7)
    features = np.random.default_rng(0).normal(size=(12, 2))
    first = completer_of(max_rank=2)
    completer = NTKMatrixCompleter(first_completer=first, random_state=0)
    completer.fit(X, row_features=features)
    assert np.isnan(X[tuple(rank_untested(completer, X, n_pairs=1).values())[:2]]).all()
