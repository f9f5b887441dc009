"""Trees on tables that memory does not hold: samples, files of leaves, budgets."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skrfm import RFMClassifier, RFMRegressor, XRFMClassifier, XRFMRegressor
from skrfm._tables import _limits, _sampled, _stream
from skrfm.xrfm import _base, _large_leaves, _partition, _rows
from skrfm.xrfm._partition import TOLERANCE, divide
from skrfm.xrfm._rows import CellWriter, LeafData, StreamedRows
from skrfm.xrfm._tree import Direction, route

ONE = {"kernel": "laplace", "alpha": 0.1, "max_iter": 1, "validation": None}
QUICK = RFMRegressor(**ONE)


class Batches:
    """An iterable of batches that starts again; it counts how often."""

    def __init__(self, *arrays, size=90):
        self.arrays, self.size, self.passes = arrays, size, 0

    def __iter__(self):
        self.passes += 1
        for start in range(0, len(self.arrays[0]), self.size):
            yield tuple(a[start : start + self.size] for a in self.arrays)


@pytest.fixture
def table(rng):
    X = rng.normal(size=(1000, 4))
    y = np.where(X[:, 0] > 0, np.sin(2 * X[:, 1]), X[:, 2])
    return X, y


@pytest.fixture
def on_disk(monkeypatch, tmp_path):
    """Let every source go to files, with a sample of 300 rows, and watch the folder."""
    monkeypatch.setattr(_sampled, "rows_in_memory", lambda *args: 0)
    monkeypatch.setattr(_sampled, "SAMPLE_ROWS", 300)
    monkeypatch.setattr(_sampled, "_LEAST_ROWS", 10)
    monkeypatch.setattr(_stream, "_BLOCK_ROWS", 128)
    monkeypatch.setattr(_partition, "_LEAST_ROWS", 60)
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def whole_sample(on_disk, monkeypatch):
    """Let the sample be the whole table, so that trees are those in memory."""
    real = _sampled.first_pass

    class Whole:
        size = 1  # so that the table looks larger

        def __init__(self, rows):
            self.rows = lambda: rows

    def all_rows(estimator, source, size_of):
        sample, totals = real(estimator, source, lambda X: 10**6)
        return Whole(sample.rows()), totals

    monkeypatch.setattr(_sampled, "first_pass", all_rows)
    return on_disk


def tree(**settings):
    defaults = {"max_leaf_size": 150, "random_state": 0, "memory_budget": 1.0}
    return XRFMRegressor(QUICK, **(defaults | settings))


def write(X, y, folder, weight=None):
    frame = pd.DataFrame(X, columns=list("abcd")).assign(target=y)
    if weight is not None:
        frame["weight"] = weight
    for i, part in enumerate(np.array_split(np.arange(len(frame)), 3)):
        table = pa.Table.from_pandas(frame.iloc[part], preserve_index=False)
        pq.write_table(table, folder / f"{i}.parquet", row_group_size=150)
    return pads.dataset(sorted(folder.glob("*.parquet")))


# -- the same as in memory ------------------------------------------------------------


def test_files_of_leaves_give_the_fit_in_memory(whole_sample, table, tmp_path):
    X, y = table
    data_set = write(X, y, tmp_path)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected = tree(memory_budget=None).fit(X, y)
    for source in (
        (X, y),
        (mapped, y),
        (data_set, "target"),
        (pl.scan_parquet(tmp_path / "*.parquet"), "target"),
        (Batches(X, y), None),
    ):
        model = tree().fit(*source)
        rows = X
        if hasattr(model, "feature_names_in_"):
            rows = pd.DataFrame(X, columns=list("abcd"))
        assert model._fitted.trees[0].n_rows == expected._fitted.trees[0].n_rows
        assert_allclose(model.predict(rows), expected.predict(X), rtol=1e-10)
    assert list(whole_sample.iterdir()) == []


def test_partitions_of_dask_are_routed(whole_sample, table):
    da = pytest.importorskip("dask.array")
    X, y = table
    expected = tree(memory_budget=None).fit(X, y).predict(X)
    parts = da.from_array(X, chunks=(300, 4)), da.from_array(y, chunks=300)
    assert_allclose(tree().fit(*parts).predict(X), expected, rtol=1e-10)


@pytest.mark.parametrize("cls", [XRFMRegressor, XRFMClassifier])
def test_weights_trees_and_searches_are_as_in_memory(cls, whole_sample, table):
    X, y = table
    weight = np.arange(len(y)) % 3
    leaf = QUICK if cls is XRFMRegressor else RFMClassifier(**ONE)
    y = y if cls is XRFMRegressor else np.where(y > 0.3, "up", "down")
    model = cls(leaf, max_leaf_size=200, n_trees=2, search="leaves", random_state=0)
    expected = clone(model).fit(X, y, weight)
    model.set_params(memory_budget=1.0).fit(Batches(X, y, weight))
    assert model.n_leaves_ == expected.n_leaves_ == 8
    assert_array_equal(model.predict(X), expected.predict(X))
    importances = expected.feature_importances_
    assert_allclose(model.feature_importances_, importances, rtol=1e-10)


def test_large_leaves_are_chosen_as_in_memory(whole_sample, table, monkeypatch):
    X, y = table
    monkeypatch.setattr(_base, "_MANY_ROWS", 500)
    monkeypatch.setattr(_base, "_AUTO_LEAF_ROWS", 150)
    monkeypatch.setattr(_base, "_LEAST_CENTERS", 50)
    monkeypatch.setattr("skrfm.xrfm._fitting.SEARCH_ROWS", 100)
    leaf = RFMRegressor(alpha=0.1, max_iter=1, validation=None)
    model = XRFMRegressor(leaf, max_split_samples=100, random_state=0)
    drawn = []
    for rows in (_rows.HeldRows, StreamedRows):
        real = rows.draw

        def draw(self, *args, real=real):
            drawn.append(real(self, *args))
            return drawn[-1]

        monkeypatch.setattr(rows, "draw", draw)
    monkeypatch.setattr(_large_leaves, "_LARGE_ROWS", 300)
    expected = clone(model).fit(X, y).predict(X)
    of_table = drawn[0]
    assert_allclose(
        model.set_params(memory_budget=1.0).fit(Batches(X, y)).predict(X), expected
    )
    of_files = drawn[1]
    for name in ("cell", "side"):
        rows = of_table.data.X[getattr(of_table, name)]
        found = of_files.data.X[getattr(of_files, name)]
        assert {*map(tuple, found)} <= {*map(tuple, rows)}
    assert len(of_files.cell) == len(of_table.cell)
    assert 200 < len(of_files.sample) <= len(of_table.sample)


# -- a sample -------------------------------------------------------------------------


def test_batches_of_any_size_give_the_same_fit(on_disk, table, monkeypatch):
    X, y = (a[:450].astype(np.float32) for a in table)
    weight = np.random.default_rng(1).uniform(size=len(y)) * (np.arange(len(y)) % 7 > 0)
    expected = None
    for size, block in [(450, 450), (77, 128), (1, 50)]:
        monkeypatch.setattr(_stream, "_BLOCK_ROWS", block)
        outputs = tree().fit(Batches(X, y, weight, size=size)).predict(X)
        expected = outputs if expected is None else expected
        assert_array_equal(outputs, expected)


def test_a_sample_finds_the_splits_and_all_rows_are_in_leaves(on_disk, table):
    X, y = table
    batches = Batches(X, y)
    model = tree(max_leaf_size=250).fit(batches)
    n_rows = model._fitted.trees[0].n_rows
    assert sum(n_rows) == len(y) and max(n_rows) <= TOLERANCE * 250
    assert sum(leaf.X_fit_.shape[0] for leaf in model.estimators_[0]) == len(y)
    assert batches.passes == 2
    assert model.score(X, y) > 0.9
    assert list(on_disk.iterdir()) == []


def test_classes_that_the_sample_lacks(on_disk, table):
    X, _ = table
    y = np.where(X[:, 0] > 0, "up", "down").astype("U6")
    y[-1] = "rarest"  # a longer name than those of the sample
    model = XRFMClassifier(RFMClassifier(**ONE), max_leaf_size=300, memory_budget=1.0)
    model.set_params(random_state=0).fit(Batches(X, y))
    assert_array_equal(model.classes_, ["down", "rarest", "up"])
    assert model.score(X, y) > 0.93
    assert_allclose(model.predict_proba(X).sum(axis=1), 1)


def test_categories_missing_values_and_outputs(on_disk, rng, tmp_path):
    n = 1000
    level, number = rng.choice(["x", "y", "z"], size=n), rng.normal(size=n)
    y = number * (level == "x") + (level == "y")
    number[::9] = np.nan
    frame = pd.DataFrame({"number": number, "level": pd.Categorical(level), "y": y})
    frame["second"] = 3 * y
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "0.parquet")
    model = tree(max_leaf_size=400)
    model.fit(pads.dataset(tmp_path / "0.parquet"), ["y", "second"])
    rows = frame[["number", "level"]]
    outputs = model.predict(rows)
    assert_array_equal(model.is_categorical_, [False, True])
    assert_allclose(outputs[:, 1], 3 * outputs[:, 0], rtol=0.05, atol=0.05)
    present = ~np.isnan(number)
    assert np.corrcoef(outputs[present, 0], y[present])[0, 1] > 0.97


def test_leaves_in_processes_or_threads_read_the_same_files(on_disk, table):
    from joblib import parallel_config

    X, y = table
    expected = tree().fit(Batches(X, y)).predict(X)
    with parallel_config("threading"):
        found = tree(n_jobs=2).fit(Batches(X, y)).predict(X)
    assert_allclose(found, expected, rtol=1e-10)


# -- the division of the rows ---------------------------------------------------------


def first_column(data, nodes):
    """The first column as the direction of all nodes."""
    vector = np.eye(data.X.shape[1])[0]
    return [[Direction(vector)] for _ in nodes]


def streamed(X, sample, folder, most_held=10**9, size=500):
    y, weight = X[:, 0] ** 2, np.ones(len(X))
    data = LeafData(X, y, weight)

    def read():
        for start in range(0, len(X), size):
            yield data.subset(slice(start, start + size))

    return StreamedRows(data.subset(sample), len(X), read, folder, most_held)


@pytest.mark.parametrize("most_held", [10**9, 700])
@pytest.mark.parametrize("skewed", [False, True])
def test_leaves_keep_their_limit_whatever_the_sample(
    skewed, most_held, rng, tmp_path, monkeypatch
):
    monkeypatch.setattr(_partition, "_LEAST_ROWS", 30)
    X = rng.normal(size=(6000, 3))
    order = np.argsort(X[:, 0]) if skewed else rng.permutation(6000)
    sample = np.sort(order[:400])  # of a skewed one the smallest numbers
    root, cells = divide(
        streamed(X, sample, tmp_path, most_held),
        max_rows=300,
        find_directions=first_column,
    )
    sizes = [len(cell) for cell in cells]
    assert sum(sizes) == 6000 and max(sizes) <= TOLERANCE * 300
    for reached in route(root, X, temperature=0.0):
        data = cells[reached.number].load()
        assert_array_equal(data.X, X[reached.rows])
        assert_array_equal(data.y, X[reached.rows, 0] ** 2)
    files = {path.name for path in tmp_path.iterdir()}
    assert len(files) == 3 * len(cells)  # those that were divided are gone


def test_rows_that_no_direction_divides_are_one_leaf(tmp_path):
    root, cells = divide(
        streamed(np.ones((2000, 2)), np.arange(300), tmp_path),
        max_rows=100,
        find_directions=first_column,
    )
    assert [len(cell) for cell in cells] == [2000] and root.number == 0


def test_files_of_rows(tmp_path, rng):
    data = LeafData(
        rng.normal(size=(70, 3)).astype(np.float32),
        rng.normal(size=(70, 2)),
        rng.uniform(size=70),
    )
    writer = CellWriter(tmp_path / "a.b", most_held=80)
    for rows in (slice(30), slice(30, 31), slice(31, None)):
        writer.append(data.subset(rows))
    cell = writer.cell()
    mapped = CellWriter(tmp_path / "c", most_held=10)
    mapped.append(data)
    for found in (cell.load(), mapped.cell().load(), _rows.join(cell.batches())):
        for array, expected in zip(found.arrays, data.arrays, strict=True):
            assert_array_equal(array, expected)
            assert array.dtype == expected.dtype
    assert isinstance(mapped.cell().load().X, np.memmap)
    some = cell.subset(np.array([5, 60]))
    assert_array_equal(some.y, data.y[[5, 60]])
    assert not isinstance(some.y, np.memmap)
    cell.remove()
    assert len(list(tmp_path.iterdir())) == 3


def test_a_division_holds_a_part_of_the_rows(tmp_path):
    import tracemalloc

    def read():
        rng = np.random.default_rng(0)
        for _ in range(150):
            X = rng.normal(size=(2000, 10))
            yield LeafData(X, X[:, 0], np.ones(2000))

    sample = next(read())
    table = StreamedRows(sample, 300_000, read, tmp_path, 20_000)
    tracemalloc.start()
    try:
        _, cells = divide(table, max_rows=10_000, find_directions=first_column)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(map(len, cells)) == 300_000
    assert max(map(len, cells)) <= TOLERANCE * 10_000
    # a few copies of 20 000 rows, of which one has 1.9 megabytes; all have 28.8
    assert peak < 12e6


# -- the budget, and errors -----------------------------------------------------------


def test_the_budget_decides_where_the_table_is(table, monkeypatch):
    assert _limits.rows_in_memory(20, 4, 1.0) == int(0.3e9 / (20 * 36))
    assert _limits.rows_of_leaf(4, 1.0) ** 2 * 4 <= 0.6e9
    monkeypatch.setattr(_sampled, "SAMPLE_ROWS", 300)
    monkeypatch.setattr(_sampled, "_LEAST_ROWS", 10)
    X, y = table
    streamed = []
    real = _base.StreamedRows

    def recorded(*args):
        streamed.append(args)
        return real(*args)

    monkeypatch.setattr(_base, "StreamedRows", recorded)
    enough = 1001 * 4 * 48 / 0.3 / 1e9
    for budget, n in [(None, 0), (enough, 0), (enough / 1.1, 1)]:
        tree(memory_budget=budget).fit(X, y)
        assert len(streamed) == n


def test_a_budget_makes_leaves_small_enough_for_their_tolerance(on_disk, table):
    budget = 8.01e-9 / 0.6 * 110**2
    model = tree(max_leaf_size=500, memory_budget=budget).fit(Batches(*table))
    assert max(model._fitted.trees[0].n_rows) <= 110


def test_leaves_of_few_centres_may_have_more_rows(on_disk, table):
    leaf = RFMRegressor(**ONE, n_centers=20)
    model = XRFMRegressor(leaf, max_leaf_size=500, split="sides", random_state=0)
    model.set_params(memory_budget=8.01e-9 / 0.6 * 110**2).fit(Batches(*table))
    n_rows = model._fitted.trees[0].n_rows
    assert len(n_rows) == 2 and sum(n_rows) == 1000
    assert model.estimators_[0][0].X_fit_.shape == (20, 4)


@pytest.mark.parametrize("row", [950, 20])
def test_files_are_removed_after_an_error(row, on_disk, table):
    X, y = (a.copy() for a in table)
    X[row, 2] = np.inf
    model = tree()
    with pytest.raises(ValueError, match="infinity"):
        model.fit(Batches(X, y))
    assert not hasattr(model, "n_leaves_")
    assert list(on_disk.iterdir()) == []


def test_files_are_removed_after_an_error_in_a_leaf(on_disk, table, monkeypatch):
    seen = []

    def failing(*args, **options):
        seen.extend(Path(on_disk).rglob("*.X"))
        raise RuntimeError("no leaf")

    monkeypatch.setattr("skrfm.xrfm._fitting.fit_leaf", failing)
    with pytest.raises(RuntimeError, match="no leaf"):
        tree(search="leaves").fit(Batches(*table))
    assert seen and list(on_disk.iterdir()) == []
