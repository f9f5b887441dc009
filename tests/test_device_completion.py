"""Completion and kernels of images on a GPU, simulated or real."""

import numpy as np
import pytest
from _gpu import OutOfMemory, same
from sklearn.base import clone

from skrfm import (
    CNTKInpainter,
    EntryRegressor,
    LinRFMCompleter,
    NTKMatrixCompleter,
)
from skrfm._backend import CudaBackend, _cuda
from skrfm.completion._entries import ObservedEntries
from skrfm.completion._low_rank._gpu_entries import GpuEntries
from skrfm.kernels import CNTK


def low_rank(rng, noise, shape=(32, 24), share=0.65):
    """A matrix of rank two, with missing entries."""
    X = rng.normal(size=(shape[0], 2)) @ rng.normal(size=(2, shape[1]))
    X += noise * rng.normal(size=shape)
    X[rng.random(shape) > share] = np.nan
    return X


COMPLETERS = [
    LinRFMCompleter(random_state=0),
    LinRFMCompleter(random_state=0, max_rank=4, center=True),
    LinRFMCompleter(random_state=0, loss="huber", max_rank=4),
    LinRFMCompleter(random_state=0, alpha=0.01),
    LinRFMCompleter(random_state=0, solver="alternating", max_rank=3),
    LinRFMCompleter(random_state=0, solver="exact", max_iter=15, tol=1e-3),
]


@pytest.mark.parametrize("completer", COMPLETERS, ids=repr)
@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::skrfm.exceptions.NumericalWarning")
def test_completion_on_the_gpu(completer, noise, rng, numpy_gpu):
    gpu, X = numpy_gpu, low_rank(rng, noise)
    here = clone(completer).fit(X)
    there = clone(completer).set_params(device="cuda").fit(X)
    assert gpu.launches
    assert there.rank_ == here.rank_
    assert there.n_iter_ == pytest.approx(here.n_iter_, abs=2)
    same(there.transform(X), here.transform(X))
    same(there.transform(X[:5]), here.transform(X[:5]))
    assert there.score(X) == pytest.approx(here.score(X))
    rows, cols = np.arange(24), np.arange(24)[::-1]
    same(there.predict_entries(rows, cols), here.predict_entries(rows, cols))


def test_entries_on_the_gpu(rng, numpy_gpu):
    gpu, X = numpy_gpu, low_rank(rng, 0.1)
    pairs = np.argwhere(~np.isnan(X))
    y = X[tuple(pairs.T)]
    machine = EntryRegressor(LinRFMCompleter(max_rank=3, device="cuda", random_state=0))
    there, targets = gpu.to_device(pairs), gpu.to_device(y)
    got = machine.fit(there, targets).predict(there)
    assert gpu.owns(got)
    score = machine.score(there, targets)
    machine.set_params(completer__device=None)
    same(gpu.to_host(got), machine.fit(pairs, y).predict(pairs))
    assert score == pytest.approx(machine.score(pairs, y))


def test_completion_of_gpu_arrays(rng, numpy_gpu):
    gpu, X = numpy_gpu, low_rank(rng, 0.1).astype(np.float32)
    here = LinRFMCompleter(max_rank=3, random_state=0).fit(X)
    there = clone(here).fit(gpu.to_device(X))
    got = there.transform(gpu.to_device(X))
    assert gpu.owns(got)
    same(gpu.to_host(got), here.transform(X), 1e-4)
    assert isinstance(there.factors_[0], np.ndarray)


@pytest.mark.parametrize("alpha", ["auto", 0.1, 0.0])
@pytest.mark.parametrize("sides", [(), ("row",), ("row", "col")])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_kernel_completion_on_the_gpu(alpha, sides, rng, numpy_gpu):
    gpu, X = numpy_gpu, low_rank(rng, 0.1, (30, 12))
    features = {
        f"{side}_features": rng.normal(size=(size, 3))
        for side, size in zip(("row", "col"), X.shape, strict=True)
        if side in sides
    }
    completer = NTKMatrixCompleter(alpha=alpha, random_state=0)
    here = clone(completer).fit(X, **features)
    there = clone(completer).set_params(device="cuda").fit(X, **features)
    assert there.alpha_ == here.alpha_
    same(there.transform(X), here.transform(X))
    there = clone(completer).fit(
        gpu.to_device(X), **{name: gpu.to_device(a) for name, a in features.items()}
    )
    got = there.transform(gpu.to_device(X))
    assert gpu.owns(got)
    same(gpu.to_host(got), here.transform(X))
    if sides == ("row",):
        new = rng.normal(size=(4, 3))
        expected = here.predict(new, return_std=True)
        got = there.predict(gpu.to_device(new), return_std=True)
        for a, b in zip(got, expected, strict=True):
            same(gpu.to_host(a), b)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("k", [1, 7, 70])
def test_sums_over_entries_on_the_gpu(dtype, k, rng, numpy_gpu, monkeypatch):
    """Some rows have no entries, some more than a block has threads."""
    m, n = 50, 150
    X = rng.normal(size=(m, n)).astype(dtype)
    keep = rng.random((m, n)) < np.linspace(0, 1, m)[:, None] ** 2
    rows, cols = np.nonzero(keep)
    weight = rng.uniform(0.5, 2, size=len(rows))
    here = ObservedEntries(rows, cols, X[rows, cols], shape=(m, n), weight=weight)
    there = GpuEntries(here, CudaBackend(numpy_gpu))
    L, R = (rng.normal(size=(size, k)).astype(dtype) for size in (m, n))
    penalty = rng.uniform(0.5, 1, size=k).astype(dtype)
    part = slice(k // 3, None)
    tolerance = {np.float64: 1e-10, np.float32: 1e-4}[dtype]
    P = (R @ R.T + np.eye(n)).astype(dtype)

    def check(name, *arrays, columns=()):
        given = [there.asarray(a) for a in arrays]
        expected = getattr(here, name)(*arrays, *columns)
        same(gpu_host(getattr(there, name)(*given, *columns)), expected, tolerance)

    gpu_host = numpy_gpu.to_host
    check("products", L, R)
    check("row_sums", here.values, R)
    check("column_sums", here.values, L)
    check("normal_row_sums", here.weight, L, R, columns=(part,))
    by_column = here.by_column(here.weight)
    check("normal_column_sums", by_column, L, R, columns=(part,))
    check("row_solves", R, penalty, here.weight)
    check("dual_solves", P, 1 / here.weight)
    monkeypatch.setattr(_cuda, "_MOST_ELEMENTS", 20_000)  # several rows at a time
    check("dual_solves", P, 1 / here.weight)
    monkeypatch.setattr(ObservedEntries, "_has_short_rows", lambda *_: False)
    check("row_solves", R, penalty, here.weight)
    check("column_means")
    check("dense")
    check("row_maxima", np.abs(here.values))
    other, turned = there.transposed(), here.transposed()
    same(
        gpu_host(other.row_sums(other.values, there.asarray(L))),
        turned.row_sums(turned.values, L),
        tolerance,
    )


def test_completion_in_blocks_when_memory_runs_out(rng, numpy_gpu, monkeypatch):
    X = low_rank(rng, 0.1)
    rows, cols = np.nonzero(~np.isnan(X))
    here = ObservedEntries(rows, cols, X[rows, cols], shape=X.shape)
    there = GpuEntries(here, CudaBackend(numpy_gpu))
    V, P = rng.normal(size=(24, 2)), np.eye(24)

    def limited(name, grid, *arguments):
        if name in ("entries.row_solves", "entries.dual_solves") and grid[0] > 5:
            failed.append(name)
            raise OutOfMemory("1,000,000 bytes.")
        launch(name, grid, *arguments)

    failed, launch = [], numpy_gpu.launch
    monkeypatch.setattr(numpy_gpu, "launch", limited)
    penalty = np.ones(2)
    found = there.row_solves(*map(there.asarray, (V, penalty, here.weight)))
    same(numpy_gpu.to_host(found), here.row_solves(V, penalty, here.weight))
    found = there.dual_solves(*map(there.asarray, (P, here.weight)))
    same(numpy_gpu.to_host(found), here.dual_solves(P, here.weight))
    assert failed == ["entries.row_solves", "entries.dual_solves"]


# -- images ---------------------------------------------------------------------------


@pytest.mark.parametrize("readout", ["flatten", "mean"])
@pytest.mark.parametrize("padding", ["same", "valid", "circular"])
@pytest.mark.parametrize("stride", [1, 2])
def test_kernels_of_images_on_the_gpu(readout, padding, stride, rng, numpy_gpu):
    gpu = numpy_gpu
    images, others = rng.normal(size=(4, 9, 8, 2)), rng.normal(size=(3, 9, 8, 2))
    images[2] = images[1]
    images[3, :, :3] = 0
    kernel = CNTK(depth=2, readout=readout, padding=padding, stride=stride)
    there = clone(kernel).set_params(device="cuda")
    same(there.kernel(images), kernel.kernel(images))
    assert gpu.launches
    got = kernel.kernel(gpu.to_device(images), gpu.to_device(others))
    assert gpu.owns(got)
    same(gpu.to_host(got), kernel.kernel(images, others))
    there.set_params(nngp=True)
    kernel.set_params(nngp=True)
    same(there.kernel(images, others), kernel.kernel(images, others))


@pytest.mark.parametrize("max_dense", [0, 500])
def test_inpainting_on_the_gpu(max_dense, rng, numpy_gpu):
    gpu, image = numpy_gpu, rng.normal(size=(12, 14, 2)).cumsum(axis=0)
    image[rng.random(image.shape) < 0.4] = np.nan
    painter = CNTKInpainter(n_levels=2, alpha=1e-3, max_dense=max_dense, random_state=0)
    expected = clone(painter).fit_transform(image)
    there = clone(painter).set_params(device="cuda")
    same(there.fit_transform(image), expected)
    got = painter.fit_transform(gpu.to_device(image))
    assert gpu.owns(got)
    same(gpu.to_host(got), expected)
