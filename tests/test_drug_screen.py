"""Priors, splits and scores of drug screens, against loops."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import r2_score
from sklearn.metrics.pairwise import paired_cosine_distances

from skrfm import NTKMatrixCompleter
from skrfm.completion import profile_scores, screen_priors, within_cell_splits

CELLS, DRUGS, GENES = 5, 4, 6


@pytest.fixture
def screen():
    """Signatures of all pairs but one; some of them have not been measured."""
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product(
        [[f"cell{i}" for i in range(CELLS)], [f"drug{i}" for i in range(DRUGS)]]
    )
    table = pd.DataFrame(rng.normal(size=(CELLS * DRUGS, GENES)), index=index)
    table.iloc[rng.permutation(len(table))[:6]] = np.nan
    return table.drop(("cell1", "drug2"))


def others(table, pair, level):
    """The other measured pairs of the same cell or drug."""
    table = table.drop(pair).dropna()
    return table[table.index.get_level_values(level) == pair[level]]


@pytest.mark.parametrize(("kind", "level"), [("cell mean", 0), ("drug mean", 1)])
def test_means_leave_out_the_pair_itself(screen, kind, level):
    got = screen_priors(screen, [kind])
    assert_array_equal(got.index, screen.index)
    for pair in screen.index:
        rows = others(screen, pair, level)
        mean = rows.mean() if len(rows) else screen.dropna().mean()
        assert_allclose(got.loc[pair], mean / np.linalg.norm(mean))


def test_a_pair_without_others_has_the_overall_mean(screen):
    kept = screen.index.get_level_values(0) != "cell0"
    kept[1] = True
    screen = screen[kept]
    screen.iloc[0] = 1.0
    assert screen.index[0][0] == "cell0"
    got = screen_priors(screen, ["cell mean"]).iloc[0]
    mean = screen.dropna().mean()
    assert_allclose(got, mean / np.linalg.norm(mean))


def test_indicators(screen):
    got = screen_priors(screen, ["cell", "drug"]).to_numpy()
    assert got.shape == (len(screen), CELLS + DRUGS)
    assert_array_equal(got.sum(axis=1), 2)
    for i, a in enumerate(screen.index):
        for j, b in enumerate(screen.index):
            assert got[i] @ got[j] == (a[0] == b[0]) + (a[1] == b[1])


def test_signatures_in_the_reference_cell_replace_drug_means(screen):
    screen.loc[("cell0", "drug1")] = np.arange(GENES)
    got = screen_priors(screen, ["drug mean"], reference="cell0")
    mean = screen_priors(screen, ["drug mean"])
    expected = np.arange(GENES) / np.linalg.norm(np.arange(GENES))
    assert_allclose(got.loc[("cell3", "drug1")], expected)
    itself = ("cell0", "drug1")  # its own signature is left out
    assert_array_equal(got.loc[itself], mean.loc[itself])


def test_features_are_matched_by_label(screen):
    rng = np.random.default_rng(0)
    cells = pd.DataFrame(
        rng.normal(size=(CELLS, 3)), [f"cell{i}" for i in range(CELLS)]
    )
    drugs = pd.DataFrame(
        rng.normal(size=(DRUGS, 2)), [f"drug{i}" for i in range(DRUGS)]
    )
    got = screen_priors(
        screen, [], cell_features=cells[::-1], drug_features=drugs[::-1]
    ).to_numpy()
    for row, (cell, drug) in zip(got, screen.index, strict=True):
        parts = cells.loc[cell], drugs.loc[drug]
        assert_allclose(row, np.hstack([p / np.linalg.norm(p) for p in parts]))
    with pytest.raises(ValueError, match="cell_features has no row 'cell0'"):
        screen_priors(screen, [], cell_features=cells[1:])


def test_priors_do_not_depend_on_unmeasured_signatures(screen):
    shown = screen.copy()
    shown.iloc[3:6] = np.nan
    expected = screen_priors(shown)
    half = screen.copy()
    half.iloc[3:6, 1:] = np.nan  # one gene is measured, which does not count
    assert_array_equal(screen_priors(half), expected)


def test_completion_is_better_than_cell_means():
    rng = np.random.default_rng(0)
    cells, drugs = rng.normal(size=(2, 12, 30))
    index = pd.MultiIndex.from_product([range(12), range(12)])
    full = (cells[:, None] + 0.5 * drugs[None]).reshape(144, 30)
    full += 0.3 * rng.normal(size=full.shape)
    table = pd.DataFrame(full, index=index)
    _, test = next(within_cell_splits(index.get_level_values(0), random_state=0))
    shown = table.copy()
    shown.iloc[test] = np.nan
    completer = NTKMatrixCompleter()
    got = completer.fit_transform(shown, row_features=screen_priors(shown)).iloc[test]
    means = shown.groupby(level=0).transform("mean").to_numpy()[test]
    assert profile_scores(full[test], got)["r2"] > 0.85
    assert profile_scores(full[test], means)["r2"] < 0.8


def test_bad_screens_are_errors(screen):
    with pytest.raises(ValueError, match="priors may be cell, drug, .*; got 'gene'"):
        screen_priors(screen, ["gene"])
    with pytest.raises(ValueError, match="an index of two levels"):
        screen_priors(screen.reset_index(drop=True))
    with pytest.raises(ValueError, match="No pair of signatures is measured"):
        screen_priors(screen * np.nan)
    with pytest.raises(ValueError, match="No prior was requested"):
        screen_priors(screen, [])
    with pytest.raises(ValueError, match="'other' is not one of the cells"):
        screen_priors(screen, reference="other")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=40), st.integers(2, 10))
def test_each_pair_is_in_one_test_set(cells, n_splits):
    cells = np.array(cells)
    times_in_test = np.zeros(len(cells), dtype=int)
    for train, test in within_cell_splits(cells, n_splits, random_state=0):
        assert_array_equal(np.sort(np.append(train, test)), np.arange(len(cells)))
        assert set(cells[test]) <= set(cells[train])  # each cell has training pairs
        times_in_test[test] += 1
    assert_array_equal(times_in_test, np.bincount(cells)[cells] > 1)


def test_scores_agree_with_scikit_learn():
    true, predicted = np.random.default_rng(0).normal(size=(2, 7, 9))
    got = profile_scores(true, predicted)
    r2 = [r2_score(a, b) for a, b in zip(true, predicted, strict=True)]
    assert got["r2"] == pytest.approx(np.mean(r2))
    cosine = 1 - paired_cosine_distances(true, predicted)
    assert got["cosine"] == pytest.approx(np.mean(cosine))
    expected = np.corrcoef(true.ravel(), predicted.ravel())[0, 1]
    assert got["pearson"] == pytest.approx(expected)
