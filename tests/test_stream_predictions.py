"""Predictions and scores of tables that are read in batches."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skrfm import RFMClassifier, RFMRegressor, XRFMRegressor
from skrfm._tables import _stream

ONE = {"kernel": "laplace", "alpha": 0.1, "validation": None, "random_state": 0}
NAMES = ["a", "b", "c"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(_stream, "_BLOCK_ROWS", 128)


@pytest.fixture
def frame(rng):
    X = rng.normal(size=(700, 3))
    y = np.sin(2 * X[:, 0]) + X[:, 1]
    frame = pd.DataFrame(X, columns=NAMES).assign(other=1.0, target=y)
    return frame.assign(weight=np.arange(700) % 3)


@pytest.fixture
def model(frame):
    model = RFMRegressor(**ONE, max_iter=1, n_centers=60)
    return model.fit(frame[NAMES], frame["target"])


class Array:
    """Slices of an array, as a file of HDF5 gives them; it records the largest."""

    def __init__(self, array):
        self._array, self.shape, self.largest = array, array.shape, 0
        self.dtype = array.dtype

    def __getitem__(self, rows):
        values = self._array[rows]
        self.largest = max(self.largest, len(values))
        return values


def sources(frame, folder):
    """Return tables that hold the rows of a frame, by name."""
    for i, part in enumerate(np.array_split(np.arange(len(frame)), 3)):
        table = pa.Table.from_pandas(frame.iloc[part], preserve_index=False)
        pq.write_table(table, folder / f"{i}.parquet", row_group_size=100)
    dd = pytest.importorskip("dask.dataframe")
    names = [name for name in NAMES if name in frame]
    return {
        "data set": pads.dataset(folder),
        "lazy frame": pl.scan_parquet(folder / "*.parquet"),
        "dask": dd.from_pandas(frame, npartitions=4, sort=False),
        "batches": ((frame[names][i : i + 90], 0) for i in range(0, 700, 90)),
        "tables": (frame[names][i : i + 200] for i in range(0, 700, 200)),
    }


def test_all_sources_give_the_predictions_of_the_rows(model, frame, tmp_path):
    expected = model.predict(frame[NAMES])
    for name, source in sources(frame, tmp_path).items():
        found = model.predict(source)
        assert isinstance(found, np.ndarray)
        assert_allclose(found, expected, rtol=1e-10, err_msg=name)


def test_all_methods_of_an_estimator(model, frame, tmp_path):
    data_set = sources(frame, tmp_path)["data set"]
    rows = frame[NAMES]
    found = model.predict(data_set, return_std=True)
    for values, expected in zip(
        found, model.predict(rows, return_std=True), strict=True
    ):
        assert_allclose(values, expected, rtol=1e-8)
    assert_allclose(model.transform(data_set), model.transform(rows), rtol=1e-10)
    classes = np.where(frame["target"] > 0, "up", "down")
    classifier = RFMClassifier(**ONE, max_iter=1, n_centers=60).fit(rows, classes)
    assert_array_equal(classifier.predict(data_set), classifier.predict(rows))
    for method in ("predict_proba", "decision_function"):
        found, expected = (getattr(classifier, method)(X) for X in (data_set, rows))
        assert_allclose(found, expected, rtol=1e-8, atol=1e-12)


def test_scores_read_targets_and_weights(model, frame, tmp_path):
    X, y, weight = frame[NAMES], frame["target"] + frame["b"], frame["weight"]
    tables = sources(frame.assign(target=y), tmp_path)
    for name in ("data set", "lazy frame", "dask"):
        found = model.score(tables[name], "target", "weight")
        assert_allclose(found, model.score(X, y, weight), err_msg=name)
    batches = [
        (X[i : i + 90], y[i : i + 90], weight[i : i + 90]) for i in range(0, 700, 90)
    ]

    class Again:
        def __iter__(self):
            return iter(batches)

    assert_allclose(model.score(Again()), model.score(X, y, weight))
    classes = np.where(y > 0, "up", "down")
    classifier = RFMClassifier(**ONE, max_iter=0, n_centers=60).fit(X, classes)
    batches = [(X[i : i + 90], classes[i : i + 90]) for i in range(0, 700, 90)]
    assert classifier.score(Again()) == classifier.score(X, classes)


def test_arrays_on_disk_are_read_in_slices(frame, tmp_path):
    X, y = frame[NAMES].to_numpy(), frame["target"].to_numpy()
    model = RFMRegressor(**ONE, max_iter=1, n_centers=60).fit(X, y)
    expected = model.predict(X)
    array = Array(X)
    assert_allclose(model.predict(array), expected, rtol=1e-10)
    assert array.largest == 128
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert_allclose(model.predict(mapped), expected, rtol=1e-10)
    # what is in memory is one batch
    assert_array_equal(model.predict(X), expected)


def test_trees_take_sources_as_well(frame, tmp_path):
    X, y = frame[NAMES], frame["target"]
    tree = XRFMRegressor(RFMRegressor(**ONE, max_iter=1), max_leaf_size=300)
    tree.set_params(random_state=0).fit(X, y)
    data_set = sources(frame, tmp_path)["data set"]
    assert_allclose(tree.predict(data_set), tree.predict(X), rtol=1e-8)
    assert_allclose(tree.score(data_set, "target"), tree.score(X, y))


def test_what_does_not_fit(model, frame, tmp_path):
    with pytest.raises(ValueError, match="X has no rows"):
        model.predict(iter([]))
    data_set = sources(frame.drop(columns="b"), tmp_path)
    with pytest.raises(ValueError, match="X has no column 'b'"):
        model.predict(data_set["data set"])
    with pytest.raises(ValueError, match="X has no column 'b'"):
        model.predict(data_set["dask"])
    with pytest.raises(ValueError, match="y must name the column of the targets"):
        model.score(data_set["lazy frame"])
    with pytest.raises(ValueError, match="score needs y"):
        model.score(frame[NAMES])
