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


# -- names ----------------------------------------------------------------------------

MISSING = [None, np.nan, pd.NA, pd.NaT]


def renamed(screen, level, name):
    """The screen with another name of a cell (level 0) or drug (level 1) in one row."""
    names = [list(screen.index.get_level_values(i)) for i in (0, 1)]
    names[level][3] = name
    return screen.set_axis(pd.MultiIndex.from_arrays(names))


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize(("level", "kind"), [(0, "cell"), (1, "drug")])
def test_missing_names_of_pairs_are_errors(screen, level, kind, missing):
    message = f"index of signatures has a pair without a {kind}: .* at position 3"
    with pytest.raises(ValueError, match=message):
        screen_priors(renamed(screen, level, missing))


@pytest.mark.parametrize("kind", ["cell", "drug"])
def test_names_of_features_are_unique(screen, kind):
    count = {"cell": CELLS, "drug": DRUGS}[kind]
    names = [f"{kind}{i}" for i in range(count)]
    argument = f"{kind}_features"

    def priors(names):
        features = pd.DataFrame(np.eye(len(names)), index=names)
        return screen_priors(screen, [], **{argument: features})

    expected = priors(names)
    assert_array_equal(priors([*names, "other"]).iloc[:, :-1], expected)
    for repeated in ([*names, names[0]], [names[0]] * count, [*names, "x", "x"]):
        with pytest.raises(ValueError, match=f"{argument} has more than one row '"):
            priors(repeated)
    for missing in MISSING:
        with pytest.raises(ValueError, match=f"{argument} has a {kind} without name"):
            priors([*names, missing])
    with pytest.raises(ValueError, match=f"{argument} has no row '{kind}0'"):
        priors(list(range(count)))
    with pytest.raises(ValueError, match=f"{argument} must be a pandas data frame"):
        screen_priors(screen, [], **{argument: np.eye(count)})


def test_features_of_cells_are_finite(screen):
    cells = pd.DataFrame(np.full((CELLS, 2), np.nan), index=screen.index.levels[0])
    with pytest.raises(ValueError, match="cell_features contains NaN"):
        screen_priors(screen, cell_features=cells)


def test_names_of_several_types_are_names(screen):
    got = screen_priors(renamed(screen, 0, 7))
    expected = screen_priors(renamed(screen, 0, "a"))
    assert_array_equal(got, expected)
    train, test = next(within_cell_splits([1, "1", 1, "1"], random_state=0))
    assert sorted(test % 2) == [0, 1] and len(train) == 2


@pytest.mark.parametrize("missing", MISSING)
def test_cells_of_splits_have_names(missing):
    for cells in (["A", missing, "A"], pd.Series(["A", missing, "A"], dtype=object)):
        with pytest.raises(ValueError, match="cells has a pair .* at position 1"):
            within_cell_splits(cells)
    with pytest.raises(ValueError, match="cells has a pair .*: nan at position 1"):
        within_cell_splits(np.array([1.0, np.nan, 1.0]))


@pytest.mark.parametrize("frame", [pd.DataFrame, "genes only", "pairs only"])
def test_scores_match_pairs_and_genes_by_label(frame):
    values, others = np.random.default_rng(0).normal(size=(2, 4, 3))
    labels = {"index": list("wxyz"), "columns": list("abc")}
    if isinstance(frame, str):
        del labels["index" if frame == "genes only" else "columns"]
    true, predicted = (pd.DataFrame(v, **labels) for v in (values, others))
    expected = profile_scores(values, others)
    rows = slice(None, None, -1 if "index" in labels else 1)
    columns = slice(None, None, -1 if "columns" in labels else 1)
    assert profile_scores(true, predicted.iloc[rows, columns]) == expected
    assert profile_scores(true, others) == profile_scores(values, predicted) == expected


@pytest.mark.parametrize("axis", [0, 1])
def test_scores_of_unusable_labels_are_errors(axis):
    names = list("xyz")
    true = pd.DataFrame(np.eye(3) + 0.1, index=names, columns=names)
    kind = ["row", "column"][axis]
    for wrong, message in (
        (list("xyx"), f"{kind}s of predicted have repeated labels .'x'"),
        (["x", None, "z"], f"{kind}s of predicted have missing labels"),
        ([5, 6, 7], f"predicted has no {kind} 'x', .*of type str, not int"),
        (list("xyw"), f"predicted has no {kind} 'z'"),
    ):
        with pytest.raises(ValueError, match=message):
            profile_scores(true, true.set_axis(wrong, axis=axis))
    with pytest.raises(ValueError, match=r"predicted has the shape \(2, 3\)"):
        profile_scores(true.to_numpy(), true.to_numpy()[:2])
