"""Fits to collections of Dask, in one process and on a cluster, and trees on it."""

import os
import signal
from pathlib import Path

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal

from skrfm import RFMClassifier, RFMRegressor, XRFMRegressor
from skrfm._recursion import _centers
from skrfm._tables import RowBlocks, _stream

CENTERS = {
    "n_centers": 60,
    "kernel": "laplace",
    "alpha": 0.1,
    "max_iter": 1,
    "validation": None,
    "random_state": 0,
}


@pytest.fixture
def small_sample(monkeypatch):
    """Let tables of more than 300 rows be read in blocks of 128 rows."""
    monkeypatch.setattr(_stream, "SAMPLE_ROWS", 300)
    monkeypatch.setattr(_stream, "_BLOCK_ROWS", 128)


@pytest.fixture
def table(rng):
    X = rng.normal(size=(1000, 4))
    return X, np.sin(2 * X[:, 0] + X[:, 1]) + X[:, 2] * X[:, 3]


@pytest.fixture
def parquet(table, tmp_path):
    """The folder of a table in seven files, and its frame."""
    X, y = table
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame = frame.assign(target=y, weight=np.arange(1000) % 3)
    frame["level"] = pd.Categorical(np.where(X[:, 0] > 0, "up", "down"))
    for i, rows in enumerate(np.array_split(np.arange(1000), 7)):
        frame.iloc[rows].to_parquet(tmp_path / f"{i}.parquet")
    return tmp_path, frame


def test_the_solution_is_that_of_a_table_in_memory(small_sample, table, monkeypatch):
    """With the same sample, which partitions draw differently."""
    X, y = table
    streamed = RFMRegressor(**CENTERS).fit(
        da.from_array(X, chunks=(130, 2)), da.from_array(y, chunks=200)
    )
    monkeypatch.setattr(_centers, "_TOLERANCE", 1e-9)
    sample = [rows[0] for rows in (X[None, :300], y[None, :300], np.ones((1, 300)))]
    monkeypatch.setattr(_stream._Sample, "rows", lambda self: sample)
    streamed = RFMRegressor(**CENTERS).fit(
        da.from_array(X, chunks=(130, 2)), da.from_array(y, chunks=200)
    )
    expected = RFMRegressor(**CENTERS).fit(X, y)
    assert_allclose(streamed.predict(X), expected.predict(X), atol=1e-6)


def test_partitions_are_sampled_by_chance(small_sample, table):
    X, y = table
    model = RFMRegressor(**CENTERS | {"n_centers": 299, "scaling": None})
    model.fit(da.from_array(X, chunks=(400, 4)), da.from_array(y, chunks=400))
    rows = [np.flatnonzero((X == z).all(axis=1))[0] for z in model.X_fit_]
    assert len(set(rows)) == 299
    counts = np.bincount(np.array(rows) // 400)
    # 120, 120 and 60 are expected, with a standard deviation of at most 8
    assert (np.abs(counts - [120, 120, 60]) < 32).all()


def test_small_collections_are_in_memory(table):
    X, y = table
    expected = RFMRegressor(**CENTERS).fit(X, y)
    model = RFMRegressor(**CENTERS)
    model.fit(da.from_array(X, chunks=(400, 4)), da.from_array(y, chunks=400))
    assert_array_equal(model.dual_coef_, expected.dual_coef_)


def test_columns_of_a_data_frame(small_sample, parquet):
    folder, frame = parquet
    table = dd.read_parquet(folder)
    named = RFMRegressor(**CENTERS).fit(table, "target", "weight")
    assert_array_equal(named.feature_names_in_, [*"abcd", "level"])
    assert_array_equal(named.is_categorical_, [False] * 4 + [True])
    features = frame[[*"abcd", "level"]]
    assert named.score(features, frame.target) > 0.6
    given = RFMRegressor(**CENTERS).fit(
        table[[*"abcd", "level"]], table.target, table.weight
    )
    assert_array_equal(given.predict(features), named.predict(features))


def test_a_classifier_finds_all_labels(small_sample, parquet):
    folder, frame = parquet
    model = RFMClassifier(**CENTERS | {"validation": "auto"})
    model.fit(dd.read_parquet(folder, columns=[*"abcd", "level"]), "level")
    assert_array_equal(model.classes_, ["down", "up"])
    assert model.score(frame[[*"abcd"]], frame.level.astype(str)) > 0.95


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda X, y: (X, np.ones(1000)), "y must be one as well"),
        (lambda X, y: (X, y.rechunk(1000)[:500]), "3 blocks of rows, y has 1"),
        (lambda X, y: (X, None), "target y is None"),
        (lambda X, y: (dd.from_dask_array(X, columns=list("abcd")), "z"), "no column"),
    ],
)
def test_what_cannot_be_read(table, make, message):
    X, y = (da.from_array(a, chunks=400) for a in table)
    with pytest.raises((TypeError, ValueError), match=message):
        RFMRegressor(**CENTERS).fit(*make(X, y))


# -- on a cluster ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    """A client of two worker processes of Dask."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(**options) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def record_bytes(monkeypatch):
    """Record how many bytes the sums have that come back from the partitions."""
    real, sizes = RowBlocks.sum, []

    def recording(self, function):
        found = real(self, function)
        sizes.append(sum(np.asarray(part).nbytes for part in found))
        return found

    monkeypatch.setattr(RowBlocks, "sum", recording)
    return sizes


@pytest.mark.slow  # a cluster of processes is started
def test_workers_return_sums(small_sample, parquet, cluster, monkeypatch):
    folder, frame = parquet
    table, features = dd.read_parquet(folder), frame[[*"abcd", "level"]]
    sizes = record_bytes(monkeypatch)
    with cluster.as_current():
        there = RFMRegressor(**CENTERS).fit(table, "target", "weight")
    # targets and ones, or coefficients, in double precision: one number for a centre
    assert max(sizes) <= 60 * 2 * 8 + 16
    with dask.config.set(scheduler="synchronous"):
        here = RFMRegressor(**CENTERS).fit(table, "target", "weight")
    assert_allclose(there.predict(features), here.predict(features), atol=1e-10)


class KillingOnce:
    """A function that kills its own process in its first call, on any worker."""

    def __init__(self, flag, function):
        self.flag, self.function = flag, function

    def __call__(self, block):
        if not Path(self.flag).exists():
            Path(self.flag).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.function(block)


@pytest.mark.slow  # a cluster of processes is started
@pytest.mark.filterwarnings("ignore")  # the cluster warns of the lost worker
def test_a_killed_worker_loses_nothing(
    small_sample, parquet, cluster, tmp_path_factory, monkeypatch
):
    folder, frame = parquet
    table, features = dd.read_parquet(folder), frame[[*"abcd", "level"]]
    flag = tmp_path_factory.mktemp("flags") / "killed"
    with cluster.as_current():
        expected = RFMRegressor(**CENTERS).fit(table, "target", "weight")
        workers = set(cluster.run(os.getpid).values())
        real, calls = RowBlocks.sum, []

        def killing_in_the_third_pass(self, function):
            calls.append(function)
            if len(calls) == 3:
                function = KillingOnce(str(flag), function)
            return real(self, function)

        monkeypatch.setattr(RowBlocks, "sum", killing_in_the_third_pass)
        model = RFMRegressor(**CENTERS).fit(table, "target", "weight")
        assert flag.exists() and set(cluster.run(os.getpid).values()) != workers
    assert_allclose(model.predict(features), expected.predict(features), atol=1e-10)


# -- trees on it ----------------------------------------------------------------------

QUICK = RFMRegressor(
    kernel="laplace", alpha=0.1, max_iter=1, validation=None, scaling=None
)


@pytest.fixture
def tree_table(rng):
    X = rng.normal(size=(600, 4))
    return X, np.where(X[:, 0] > 0, np.sin(2 * X[:, 1]), X[:, 2])


@pytest.mark.slow  # a cluster of processes is started
def test_leaves_are_fitted_on_a_dask_cluster(tree_table, cluster):
    X, y = tree_table
    model = XRFMRegressor(QUICK, max_leaf_size=100, random_state=0)
    expected = model.fit(X, y).predict(X)
    with parallel_config("dask"):
        assert_allclose(model.set_params(n_jobs=-1).fit(X, y).predict(X), expected)


def killing_once(flag, estimator):
    """Return an estimator whose first fit kills its own process."""

    class Killing(type(estimator)):
        def fit(self, X, y, sample_weight=None):
            if not Path(flag).exists():
                Path(flag).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().fit(X, y, sample_weight)

    return Killing(**estimator.get_params())


@pytest.mark.slow  # a cluster of processes is started
@pytest.mark.filterwarnings("ignore")  # the cluster warns of the lost worker
def test_jobs_of_a_killed_worker_are_run_again(tree_table, tmp_path, cluster):
    X, y = tree_table
    flag = tmp_path / "killed"
    model = XRFMRegressor(QUICK, max_leaf_size=100, search="leaves", random_state=0)
    expected = model.fit(X, y).predict(X)
    workers = set(cluster.run(os.getpid).values())
    model.set_params(estimator=killing_once(str(flag), QUICK), n_jobs=-1)
    with parallel_config("dask"):
        model.fit(X, y)
    assert flag.exists() and set(cluster.run(os.getpid).values()) != workers
    assert_allclose(model.predict(X), expected)
