"""Fits to tables that are read in batches."""

import sys
import warnings
from collections import Counter

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone

from skrfm import RFMClassifier, RFMRegressor, RFMRegressorCV, XRFMRegressor
from skrfm._recursion import _centers
from skrfm._tables import RowBlocks, _limits, _stream

ONE = {"kernel": "laplace", "alpha": 0.1, "validation": None, "random_state": 0}
CENTERS = ONE | {"max_iter": 1, "n_centers": 60}


@pytest.fixture
def small_sample(monkeypatch):
    """Let tables of more than 300 rows be read in blocks of 128 rows."""
    monkeypatch.setattr(_stream, "SAMPLE_ROWS", 300)
    monkeypatch.setattr(_stream, "_BLOCK_ROWS", 128)
    monkeypatch.setattr(_stream, "_FIRST_ROWS", 100)


@pytest.fixture
def table(rng):
    X = rng.normal(size=(1000, 4))
    y = np.sin(2 * X[:, 0] + X[:, 1]) + X[:, 2] * X[:, 3]
    return X, y


class Batches:
    """An iterable of batches that starts again; it counts how often."""

    def __init__(self, *arrays, size):
        self.arrays, self.size, self.passes = arrays, size, 0

    def __iter__(self):
        self.passes += 1
        for start in range(0, len(self.arrays[0]), self.size):
            yield tuple(a[start : start + self.size] for a in self.arrays)


def frame_of(X, y):
    return pd.DataFrame(X, columns=list("abcd")).assign(target=y)


def write(frame, folder, n_files=3):
    for i, part in enumerate(np.array_split(np.arange(len(frame)), n_files)):
        table = pa.Table.from_pandas(frame.iloc[part], preserve_index=False)
        pq.write_table(table, folder / f"{i}.parquet", row_group_size=150)
    return pads.dataset(folder)


# -- what can be read -----------------------------------------------------------------


def test_all_sources_give_the_same_fit(small_sample, table, tmp_path):
    X, y = table
    frame = frame_of(X, y)
    data_set = write(frame, tmp_path)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected = RFMRegressor(**CENTERS).fit(X, y).predict(X)
    sources = {
        "memory map": (mapped, y),
        "pandas": (frame.drop(columns="target"), frame.target),
        "polars": (pl.from_pandas(frame.drop(columns="target")), pl.Series(y)),
        "arrow": (pa.Table.from_pandas(frame.drop(columns="target")), y),
        "data set": (data_set, "target"),
        "lazy frame": (pl.scan_parquet(tmp_path / "*.parquet"), "target"),
        "batches": (Batches(X, y, size=77), None),
    }
    for name, (source, target) in sources.items():
        model = RFMRegressor(**CENTERS).fit(source, target)
        rows = X
        if hasattr(model, "feature_names_in_"):
            assert_array_equal(model.feature_names_in_, list("abcd"))
            rows = frame.drop(columns="target")
        assert_allclose(model.predict(rows), expected, atol=1e-7, err_msg=name)


def test_batches_of_any_size_give_the_same_fit(small_sample, table, monkeypatch):
    X, y = (a[:450] for a in table)
    weight = np.random.default_rng(1).uniform(size=len(y)) * (np.arange(len(y)) % 7 > 0)
    expected = None
    for size, block in [(450, 450), (77, 128), (1, 50)]:
        monkeypatch.setattr(_stream, "_BLOCK_ROWS", block)
        model = RFMRegressor(**CENTERS).fit(Batches(X, y, weight, size=size))
        outputs = model.predict(X)
        expected = outputs if expected is None else expected
        assert_allclose(outputs, expected, atol=1e-8)


def test_a_table_no_larger_than_the_sample_is_in_memory(table, tmp_path):
    X, y = table
    data_set = write(frame_of(X, y), tmp_path)
    for settings in (CENTERS, ONE):
        streamed = RFMRegressor(**settings).fit(data_set, "target")
        expected = RFMRegressor(**settings).fit(X, y)
        assert_array_equal(streamed.dual_coef_, expected.dual_coef_)


def test_without_centres_all_rows_are_read(small_sample, table, tmp_path):
    X, y = table
    data_set = write(frame_of(X, y), tmp_path)
    model = RFMRegressor(**ONE, max_iter=1).fit(data_set, "target")
    assert model.X_fit_.shape == (1000, 4)
    search = RFMRegressorCV(n_candidates=2, cv=2, max_iter=1, random_state=0)
    assert search.fit(data_set, "target").predict(frame_of(X, y)[list("abcd")]).shape


def test_lists_of_batches_and_iterables_with_a_length(small_sample, table):
    class Loader(Batches):
        def __len__(self):
            return 8

    expected = RFMRegressor(**CENTERS).fit(Batches(*table, size=125))
    for batches in (list(Batches(*table, size=125)), Loader(*table, size=125)):
        found = RFMRegressor(**CENTERS).fit(batches)
        assert_allclose(found.predict(batches), expected.predict(table[0]), rtol=1e-9)
        assert found.score(batches) == pytest.approx(expected.score(*table))


def test_lists_of_rows_are_no_batches():
    rows = [(1.0, 2.0), (2.0, 1.0), (3.0, 5.0)]
    assert RFMRegressor(**ONE).fit(rows, [1, 2, 3]).n_features_in_ == 2


def test_masks_are_missing_values_in_every_block(small_sample, table):
    X, y = table
    mask = np.random.default_rng(0).random(X.shape) < 0.2
    hidden = np.ma.masked_array(np.where(mask, 999, X), mask)
    expected = RFMRegressor(**CENTERS).fit(np.where(mask, np.nan, X), y)
    found = RFMRegressor(**CENTERS).fit(hidden, y)
    assert_array_equal(
        found.predict(hidden), expected.predict(np.where(mask, np.nan, X))
    )


def test_a_tree_reads_all_rows(table, tmp_path):
    X, y = table
    data_set = write(frame_of(X, y).assign(weight=np.arange(1000) % 3), tmp_path)
    model = XRFMRegressor(RFMRegressor(**ONE, max_iter=1), max_leaf_size=300)
    model.set_params(random_state=0).fit(data_set, "target", "weight")
    expected = clone(model).fit(X, y, np.arange(1000) % 3)
    assert_allclose(model.predict(frame_of(X, y)[[*"abcd"]]), expected.predict(X))
    model.fit(Batches(X, y, size=90))
    assert_allclose(model.predict(X), clone(model).fit(X, y).predict(X))


def test_targets_and_weights_are_columns(small_sample, table, tmp_path):
    X, y = table
    weight = np.arange(len(y)) % 3
    frame = frame_of(X, y).assign(second=-y, weight=weight)
    data_set = write(frame, tmp_path)
    model = RFMRegressor(**CENTERS).fit(data_set, ["target", "second"], "weight")
    expected = RFMRegressor(**CENTERS).fit(X, np.column_stack([y, -y]), weight)
    assert model.n_features_in_ == 4
    assert_allclose(model.predict(frame[list("abcd")]), expected.predict(X), atol=1e-7)


# -- what a fit to blocks is ----------------------------------------------------------


def test_coefficients_are_those_of_the_normal_equations(
    small_sample, table, monkeypatch
):
    monkeypatch.setattr(_centers, "_TOLERANCE", 1e-8)
    X, y = table
    weight = np.random.default_rng(2).integers(0, 3, size=len(y))
    settings = CENTERS | {"scaling": None, "bandwidth": 2.0}
    model = RFMRegressor(**settings).fit(X, y, weight)

    def kernel(A, B):
        A, B = (model.transform(rows) for rows in (A, B))
        distances = np.sqrt(((A[:, None] - B[None]) ** 2).sum(axis=2))
        return np.exp(-distances / model.bandwidth_)

    Z = model.X_fit_
    K, K_zz, mean = kernel(X, Z), kernel(Z, Z), np.average(y, weights=weight)
    left = K.T @ (weight[:, None] * K) + 0.1 * K_zz
    a = np.linalg.solve(left, K.T @ (weight * (y - mean)))
    assert_allclose(model.intercept_, mean, rtol=1e-12)
    assert_allclose(model.predict(X), K @ a + mean, atol=1e-6)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_blocks_are_as_good_as_memory(small_sample, table, fit_intercept, monkeypatch):
    X, y = table
    tolerances = pytest.MonkeyPatch()
    tolerances.setattr(_centers, "_TOLERANCE", 1e-8)
    settings = CENTERS | {"fit_intercept": fit_intercept, "scaling": None}
    settings |= {"max_iter": 0, "bandwidth": 2.0}
    streamed = RFMRegressor(**settings).fit(X, y + 3)
    monkeypatch.undo()
    centers = streamed.X_fit_
    # the same centres first, in memory
    chosen = [np.flatnonzero((X == z).all(axis=1))[0] for z in centers]
    monkeypatch.setattr(
        "skrfm._recursion._placement._choose_centers", lambda n, p, seed: chosen
    )
    held = RFMRegressor(**settings).fit(X, y + 3)
    tolerances.undo()
    assert_allclose(streamed.predict(X), held.predict(X), atol=1e-6)


def test_rows_in_another_order_change_nothing_but_rounding(
    small_sample, table, monkeypatch
):
    X, y = table
    settings = CENTERS | {"scaling": None, "bandwidth": 2.0, "max_iter": 0}
    first = RFMRegressor(**settings).fit(X, y)
    order = np.random.default_rng(3).permutation(len(y))
    shuffled = RFMRegressor(**settings)

    class SameSample(_stream._Sample):
        def rows(self):
            return sample

    sampler = _stream._Sample(lambda X: 300, 0)
    sampler.add(X, y, np.ones(len(y)))
    sample = sampler.rows()
    monkeypatch.setattr(_stream, "_Sample", SameSample)
    first.fit(X, y)
    shuffled.fit(X[order], y[order])
    assert_allclose(shuffled.predict(X), first.predict(X), atol=1e-6)


def test_weights_are_repeats(small_sample, table, monkeypatch):
    X, y = table
    weight = np.random.default_rng(4).integers(0, 3, size=len(y))
    settings = CENTERS | {"scaling": None, "bandwidth": 2.0, "max_iter": 0}
    sampler = _stream._Sample(lambda X: 300, 0)
    sampler.add(X, y, np.ones(len(y)))
    sample = sampler.rows()

    class SameSample(_stream._Sample):
        def rows(self):
            return sample

    monkeypatch.setattr(_stream, "_Sample", SameSample)
    weighted = RFMRegressor(**settings).fit(X, y, weight)
    repeated = RFMRegressor(**settings).fit(X.repeat(weight, 0), y.repeat(weight))
    assert_allclose(weighted.predict(X), repeated.predict(X), atol=1e-6)


def test_the_search_runs_on_the_sample_and_the_fit_on_all_rows(small_sample, rng):
    X = rng.normal(size=(4000, 3))
    clean = np.sin(2 * X[:, 0])
    y = clean + 0.5 * rng.normal(size=4000)
    settings = {"n_centers": 100, "max_iter": 2, "random_state": 0}
    few = RFMRegressor(**settings).fit(X[:300], y[:300])
    all_rows = RFMRegressor(**settings).fit(X, y)
    assert all_rows.X_fit_.shape == (100, 3)
    assert all_rows.history_["rows"].max() < 300
    assert 1 - all_rows.score(X, clean) < 0.5 * (1 - few.score(X, clean))


@pytest.mark.parametrize("informative, chosen", [(True, 1e-3), (False, 1e3)])
def test_validation_rows_of_the_user_choose(small_sample, table, informative, chosen):
    X, y = table
    y_val = y[:200] if informative else np.random.default_rng(5).normal(size=200)
    settings = {"n_centers": 60, "max_iter": 1, "kernel": "laplace", "random_state": 0}
    model = RFMRegressor(**settings, alphas=[1e-3, 1e3])
    with warnings.catch_warnings(action="ignore"):
        model.fit(X, y, X_val=X[:200], y_val=y_val)
    assert model.alpha_ == chosen


def test_a_classifier_knows_the_classes_of_all_rows(small_sample, rng):
    X = rng.normal(size=(1200, 3))
    y = np.where(X[:, 0] > 0, "up", "down").astype(object)
    y[-1] = "rare"
    model = RFMClassifier(
        n_centers=80, max_iter=1, class_weight="balanced", random_state=0
    )
    model.fit(Batches(X, y, size=100))
    assert_array_equal(model.classes_, ["down", "rare", "up"])
    assert model.score(X, y) > 0.93
    assert_allclose(model.predict_proba(X).sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_intercept_is_the_mean_of_unequal_classes(small_sample, rng, n_classes):
    X = rng.normal(size=(1500, 3))
    y = np.minimum(n_classes - 1, np.digitize(X[:, 0], [1.2, 1.8]))
    model = RFMClassifier(**CENTERS, scaling=None).fit(X, y)
    coded = 2.0 * y - 1 if n_classes == 2 else np.eye(3)[y]
    assert_allclose(model.intercept_, coded.mean(axis=0), rtol=1e-6)
    far = model.decision_function(X[:1] + 1e6)
    assert_allclose(np.squeeze(far), coded.mean(axis=0), atol=1e-3)


def test_categories_and_missing_values(small_sample, rng, tmp_path):
    n = 1000
    level = rng.choice(["x", "y", "z"], size=n)
    number = rng.normal(size=n)
    y = number * (level == "x") + (level == "y")
    number[::9] = np.nan
    frame = pd.DataFrame({"number": number, "level": pd.Categorical(level), "y": y})
    frame.loc[990:, "level"] = np.nan
    model = RFMRegressor(**CENTERS).fit(write(frame, tmp_path), "y")
    rows = frame[["number", "level"]]
    expected = RFMRegressor(**CENTERS).fit(rows, y)
    assert_array_equal(model.is_categorical_, [False, True])
    assert_allclose(model.predict(rows), expected.predict(rows), atol=1e-7)


def test_large_categories_have_statistics_from_the_sample(small_sample, rng):
    n = 2000
    level = rng.integers(0, 40, size=n)
    effect = rng.normal(size=40)
    frame = pd.DataFrame({"a": rng.normal(size=n), "level": pd.Categorical(level)})
    settings = CENTERS | {"level_statistics": "targets"}
    model = RFMRegressor(**settings).fit(frame, effect[level])
    assert model.level_statistics_ == "targets"
    assert model.score(frame, effect[level]) > 0.9


# -- the sample -----------------------------------------------------------------------


def test_every_row_has_the_same_chance():
    counts = Counter()
    y = np.arange(40.0)
    for seed in range(400):
        sample = _stream._Sample(lambda X: 5, seed)
        for start in range(0, 40, 8):
            rows = slice(start, start + 8)
            sample.add(y[rows, None], y[rows], np.where(y[rows] == 3, 0.0, 1.0))
        X, values, weight = sample.rows()
        assert len(values) == 5 and (np.diff(values) > 0).all() and (weight == 1).all()
        assert_array_equal(X[:, 0], values)
        counts.update(values.tolist())
    assert 3.0 not in counts
    # 400 · 5 draws of 39 rows: 51 each, with a standard deviation of 6.7
    assert min(counts.values()) > 51 - 30 and max(counts.values()) < 51 + 30
    assert len(counts) == 39


def test_rows_are_read_once_and_then_once_a_product(small_sample, table, monkeypatch):
    real, sums = RowBlocks.sum, []

    def counting(self, function):
        sums.append(function)
        return real(self, function)

    monkeypatch.setattr(RowBlocks, "sum", counting)
    batches = Batches(*table, size=100)
    RFMRegressor(**CENTERS).fit(batches)
    assert len(sums) > 1 and batches.passes == 1 + len(sums)


# -- memory ---------------------------------------------------------------------------


def test_centres_by_the_rows_and_the_memory():
    assert _limits.resolve_centers("auto", 50_000, None) is None
    assert _limits.resolve_centers("auto", 50_001, None) == 5000
    assert _limits.resolve_centers("auto", 10**7, 0.1) < 5000
    # the kernel matrix of 20 000 rows, or one triangle of it in double precision
    assert _limits.resolve_centers("auto", 20_000, 4 * 20_000**2 / 1e9) == 5000
    assert _limits.resolve_centers("auto", 20_000, 2 * 4 * 20_000**2 / 1e9) is None
    assert _limits.resolve_centers(None, 10**7, None) is None
    assert _limits.resolve_centers(300, 300, None) is None
    assert _limits.resolve_centers(300, 301, 1.0) == 300
    largest = _limits.most_centers(1.0)
    # two matrices in double precision, and what they are made of
    assert 16 * largest**2 < 1e9 < 100 * largest**2
    message = f"allows {largest}. Lower n_centers, or raise memory_budget"
    with pytest.raises(ValueError, match=message):
        _limits.resolve_centers(largest + 1, 10**6, 1.0)


def test_a_budget_of_memory_makes_the_sample_and_the_search_small(table):
    assert _limits.rows_of_sample(10, 20, 4, None) == 100_000
    small = _limits.rows_of_sample(10, 200, 8, 0.1)
    assert small * 200 * 8 < 1e8 / 4 and small > 10
    assert _limits.rows_of_sample(10**6, 20, 4, 0.1) == 10**6 + 1
    assert _limits.search_rows(0.1, 8) ** 2 * 8 < 1e8
    X, y = (np.concatenate([a, a + 0.01, a - 0.01]) for a in table)
    settings = {"n_centers": 60, "max_iter": 1, "random_state": 0}
    most = {}
    for budget in (None, 0.02):
        model = RFMRegressor(**settings, memory_budget=budget).fit(X, y)
        most[budget] = model.history_["rows"][:-1].max()
    assert most[0.02] <= _limits.search_rows(0.02, 8) < most[None]


def test_more_centres_than_the_memory_holds_are_an_error(small_sample, table):
    X, y = table
    model = RFMRegressor(n_centers=900, memory_budget=0.001)
    with pytest.raises(ValueError, match="takes a memory_budget of"):
        model.fit(X, y)
    model.set_params(n_centers="auto", memory_budget=1e-6)
    with pytest.raises(ValueError, match="=1e-06 allows 4 centres, fewer than 10"):
        model.fit(X, y)


# -- errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda d: (d, None), "y must name the column of the targets"),
        (lambda d: (d, "nothing"), "X has no column 'nothing'"),
        (lambda d: (d, np.ones(1000)), "must name columns of X"),
        (lambda d: (d, "target", np.ones(1000)), "must name columns of X"),
        (lambda d: (iter([]), None), "can be iterated only once"),
        (lambda d: (Batches(np.ones((9, 2)), size=3), None), "got tuple of length 1"),
        (lambda d: (Batches(np.ones(9), np.ones(9), size=3), np.ones(9)), "leave y"),
    ],
)
def test_what_cannot_be_read(small_sample, table, tmp_path, make, message):
    data_set = write(frame_of(*table), tmp_path)
    with pytest.raises((TypeError, ValueError), match=message):
        RFMRegressor(**CENTERS).fit(*make(data_set))


def test_bad_values_beyond_the_sample_are_found(small_sample, table):
    X, y = (a.copy() for a in table)
    X[990, 2] = np.inf
    model = RFMRegressor(**CENTERS)
    with pytest.raises(ValueError, match="infinity"):
        model.fit(X, y)
    assert not hasattr(model, "dual_coef_")
    y[995] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        RFMRegressor(**CENTERS).fit(X, y)


def test_arrays_elsewhere_are_not_read_in_batches():
    class Elsewhere:
        shape, device = (500, 2), "gpu"

    class File:
        shape = (500, 2)

    y = np.ones(500)
    assert _stream.find_source(Elsewhere(), y, None, most_rows=100) is None
    assert _stream.find_source(File(), y, None, most_rows=100) is not None
    assert _stream.find_source(File(), y, None, most_rows=500) is None
    with pytest.raises(TypeError, match="[Ss]parse"):
        RFMRegressor(n_centers=10).fit(csr_array((200_000, 2)), np.ones(200_000))


def test_no_optional_library_is_imported():
    from skrfm._tables._stream import find_source

    loaded = {name for name in ("dask", "h5py") if name in sys.modules}
    assert find_source(np.ones((3, 2)), np.ones(3), None) is None
    assert loaded == {name for name in ("dask", "h5py") if name in sys.modules}
