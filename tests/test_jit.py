"""The compiled loops: polynomial exp and log, distances, and their edges."""

import numpy as np
import pytest
from numba import njit
from numpy.testing import assert_allclose, assert_array_equal

from skrfm import _jit

# the options with which the package compiles, without its cache on disk
compiled = njit(**_jit._OPTIONS)


@compiled
def exp_of(x, out):
    for i in range(x.size):
        out[i] = _jit.exp(x[i])


@compiled
def log_of(x, out):
    for i in range(x.size):
        out[i] = _jit.log(x[i])


PRECISIONS = [(np.float32, 2e-7), (np.float64, 1e-15)]


def relative_error(got, reference):
    """Relative error against a reference in extended precision."""
    return float(np.abs(got.astype(np.longdouble) / reference - 1).max())


@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS)
def test_exp_is_accurate_from_the_smallest_to_the_largest_number(dtype, bound):
    largest = np.log(float(np.finfo(dtype).max)) - 2
    wide = np.linspace(-largest, largest, 40001)
    near = np.geomspace(1e-12, 1, 5001)
    x = np.concatenate([wide, near, -near, [0.0]]).astype(dtype)
    out = np.empty_like(x)
    exp_of(x, out)
    assert relative_error(out, np.exp(x.astype(np.longdouble))) <= bound


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_is_exactly_1_at_0(dtype):
    out = np.empty(1, dtype=dtype)
    exp_of(np.zeros(1, dtype=dtype), out)
    assert out[0] == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_of_very_negative_numbers_is_negligible_and_finite(dtype):
    x = -np.geomspace(100, float(np.finfo(dtype).max) / 4, 50).astype(dtype)
    out = np.empty_like(x)
    exp_of(x, out)
    assert (out >= 0).all() and (out <= 1.001 * np.exp(-87.0)).all()


@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS)
def test_log_is_accurate_over_all_normal_numbers(dtype, bound):
    info = np.finfo(dtype)
    wide = np.geomspace(float(info.tiny), float(info.max) / 2, 40001)
    near = 1 + np.concatenate([s * np.geomspace(1e-6, 0.5, 5001) for s in (-1, 1)])
    x = np.concatenate([wide, near]).astype(dtype)
    x = x[x != 1]
    out = np.empty_like(x)
    log_of(x, out)
    assert relative_error(out, np.log(x.astype(np.longdouble))) <= bound


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [1.0, 1.3, 1.5, 2.0])
@pytest.mark.parametrize("d", [1, 3, 4, 6, 9])
def test_power_sums_at_every_width(dtype, p, d, rng):
    t, z = rng.normal(size=(3, d)).astype(dtype), rng.normal(size=(5, d)).astype(dtype)
    z[2] = t[1]
    out = np.empty((3, 5), dtype=dtype)
    _jit.power_sums(t, np.ascontiguousarray(z.T), 0, dtype(p), out)
    delta = np.abs(t[:, None, :].astype(float) - z[None, :, :].astype(float))
    exact = (delta ** float(dtype(p))).sum(axis=-1)
    assert out[1, 2] == 0
    assert_allclose(out, exact, rtol=2e-6 if dtype is np.float32 else 1e-14)


def test_a_tile_of_slopes_is_symmetric_and_has_no_diagonal(rng):
    n = 9
    packed = rng.normal(size=(n, n))
    upper = np.triu(packed, 1)
    expected = upper + upper.T
    rows = np.array([7, 0, 4])
    out = np.empty((3, 5))
    _jit.slope_tile(packed, rows, 2, out)
    assert_array_equal(out, expected[rows, 2:7])
