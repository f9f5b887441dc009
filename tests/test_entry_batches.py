"""EntryRegressor fitted to tables that are read in batches."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skrfm import EntryRegressor, LinRFMCompleter


@pytest.fixture(scope="module")
def entries():
    rng = np.random.default_rng(0)
    rows, cols = np.nonzero(rng.random((40, 30)) < 0.4)
    order = rng.permutation(len(rows))
    rows, cols = rows[order], cols[order]
    full = rng.normal(size=(40, 2)) @ rng.normal(size=(2, 30))
    values = full[rows, cols] + 0.1 * rng.normal(size=len(rows))
    weight = rng.uniform(0.5, 2, size=len(rows))
    return rows, cols, values, weight


def regressor():
    return EntryRegressor(LinRFMCompleter(max_rank=2, alpha=0.01, random_state=0))


@pytest.fixture(scope="module")
def expected(entries):
    rows, cols, values, weight = entries
    fitted = regressor().fit(np.column_stack([rows, cols]), values, weight)
    return fitted.completer_.factors_


def assert_same(fitted, expected):
    for a, b in zip(fitted.completer_.factors_, expected, strict=True):
        assert_array_equal(a, b)


def columns_of(entries, dtype=np.int32):
    rows, cols, values, weight = entries
    columns = {"weight": weight, "user": rows.astype(dtype)}
    return columns | {"rating": values, "item": cols.astype(dtype)}


@pytest.mark.parametrize("dtype", [np.int32, np.uint16, np.int64, float])
def test_parquet_files_are_read_in_batches(entries, expected, tmp_path, dtype):
    pa = pytest.importorskip("pyarrow")
    ds, pq = (
        pytest.importorskip("pyarrow.dataset"),
        pytest.importorskip("pyarrow.parquet"),
    )
    table = pa.table(columns_of(entries, dtype))
    half = len(table) // 2
    for number, part in enumerate((table[:half], table[half:])):
        pq.write_table(part, tmp_path / f"{number}.parquet", row_group_size=50)
    fitted = regressor().fit(ds.dataset(tmp_path), "rating", "weight")
    assert_same(fitted, expected)
    assert fitted.n_features_in_ == 2
    assert_array_equal(fitted.feature_names_in_, ["user", "item"])


def test_lazy_frames_are_read_in_batches(entries, expected):
    pl = pytest.importorskip("polars")
    frame = pl.LazyFrame(columns_of(entries))
    assert_same(regressor().fit(frame, "rating", "weight"), expected)


def test_partitions_of_dask_are_read_in_turn(entries, expected):
    dd, pd = pytest.importorskip("dask.dataframe"), pytest.importorskip("pandas")
    frame = dd.from_pandas(pd.DataFrame(columns_of(entries)), npartitions=3)
    assert_same(regressor().fit(frame, "rating", "weight"), expected)


class Batches:
    """Batches of so many entries, from the first one on at each iteration."""

    def __init__(self, entries, size, *, columns=2):
        self.entries, self.size, self.columns = entries, size, columns

    def __iter__(self):
        rows, cols, values, weight = self.entries
        X = np.column_stack([rows, cols, rows][: self.columns])
        for start in range(0, len(X), self.size):
            part = slice(start, start + self.size)
            yield X[part], values[part], weight[part]


@pytest.mark.parametrize("size", [7, 10_000])
def test_iterables_of_batches_are_read(entries, expected, size):
    assert_same(regressor().fit(Batches(entries, size)), expected)


def test_single_precision_stays(entries):
    rows, cols, values, weight = entries
    fitted = regressor().fit(
        Batches((rows, cols, values.astype(np.float32), weight), 100)
    )
    assert fitted.completer_.factors_[0].dtype == np.float32


def test_other_columns_and_indices_are_refused(entries):
    rows, cols, values, weight = entries
    with pytest.raises(ValueError, match="two columns.* it has 3"):
        regressor().fit(Batches(entries, 100, columns=3))
    with pytest.raises(ValueError, match="must hold integers"):
        regressor().fit(Batches((rows + 0.5, cols, values, weight), 100))
    with pytest.raises(ValueError, match="no batches"):
        regressor().fit(Batches([a[:0] for a in entries], 100))
    with pytest.raises(ValueError, match="rows must lie in 0"):
        regressor().fit(Batches((rows - 1, cols, values, weight), 100))
    with pytest.raises(ValueError, match="NaN"):
        regressor().fit(Batches((rows, cols, values * np.nan, weight), 100))
