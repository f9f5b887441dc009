"""Results of all compiled loops on tiny data, to be computed with and without Numba.

    NUMBA_DISABLE_JIT=1 python tests/_uncompiled.py results.npz

writes those of the loops as Python code.
"""

import sys

import numpy as np
import pandas as pd

from skrfm import CNTKInpainter, LinRFMCompleter, RFMRegressor, _jit
from skrfm._backend import NumpyBackend
from skrfm.completion._entries import ObservedEntries
from skrfm.kernels import CNTK, NTK, GeneralizedLaplace, get_kernel

KERNELS = {
    "laplace": "laplace",
    "l1_laplace": "l1_laplace",
    "lpq_laplace": "lpq_laplace",
    "other exponents": GeneralizedLaplace(exponent=0.7),
    "networks": NTK(bias=0.5),
}


def predictions(rng):
    """Yield (name, predictions of a fitted model)."""
    X = rng.normal(size=(30, 3))
    y = np.sin(2 * X[:, 0]) + X[:, 1]
    options = {"alpha": 0.1, "max_iter": 1, "validation": None, "random_state": 0}
    for name, kernel in KERNELS.items():
        model = RFMRegressor(kernel=kernel, **options).fit(X, y)
        yield name, model.predict(X)
    X = pd.DataFrame(X, columns=list("abc"))
    X["kind"] = pd.Categorical(rng.integers(0, 12, size=30).astype(str))
    model = RFMRegressor(kernel="l1_laplace", **options).fit(X, y)
    yield "categories", model.predict(X)
    Y = rng.normal(size=(9, 2)) @ rng.normal(size=(2, 8))
    Y[rng.random(Y.shape) < 0.2] = np.nan
    completer = LinRFMCompleter(
        solver="alternating", max_rank=2, max_iter=3, tol=1, random_state=0
    )
    yield "completion", completer.fit_transform(Y)
    image = rng.normal(size=(4, 4, 1))
    image[1, 2] = np.nan
    yield "inpainting", CNTKInpainter(n_levels=1, random_state=0).fit_transform(image)


def sums(rng):
    """Yield (name, what loops compute) for loops that no model above reaches."""
    T, V = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    for name in ("laplace", "l1_laplace"):
        gram = NumpyBackend().gram(get_kernel(name), T, 2.0)
        yield f"{name} slopes", gram.slope_rows_product(np.arange(5), V)
        streamed = NumpyBackend().streamed_gram(get_kernel(name), T, 2.0)
        yield f"{name} streamed slopes", streamed.slope_product(V)
    blocks = gram.coordinate_gradients(np.arange(5), V)
    yield "gradients", np.concatenate([block for _, block in blocks])
    yield "triangle", _jit.triangle_product(T @ T.T, True, V.T.copy(), (0, 20))
    rows, cols = np.divmod(np.arange(0, 60, 2), 10)
    weight = np.linspace(1, 2, len(rows))
    values = V[rows, 0]
    entries = ObservedEntries(rows, cols, values, shape=(6, 10), weight=weight)
    L, R = rng.normal(size=(6, 2)), rng.normal(size=(10, 2))
    yield "products", entries.products(L, R)
    yield "normal sums", entries.normal_row_sums(weight, L, R, slice(0, 2))
    yield "row solves", entries.row_solves(R, np.ones(2), weight)
    yield "dual solves", entries.dual_solves(R @ R.T + np.eye(10), 1 / weight)
    yield "images", CNTK(depth=2).kernel(rng.normal(size=(2, 3, 3, 1)))


def results():
    """Return all results as a dict of arrays."""
    rng = np.random.default_rng(0)
    return {**dict(predictions(rng)), **dict(sums(rng))}


if __name__ == "__main__":
    np.savez(sys.argv[1], **results())
