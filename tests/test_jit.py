"""The compiled loops: polynomial powers, distances, and their edges."""

import ast
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import _uncompiled
import numpy as np
import pytest
from numba import njit
from numpy.testing import assert_allclose, assert_array_equal

import skrfm
from skrfm import _jit
from skrfm._jit import _angles, _powers
from skrfm._jit._compile import OPTIONS
from skrfm.kernels import GeneralizedLaplace, get_kernel

# the options with which the package compiles, without its cache on disk
compiled = njit(**OPTIONS)


@compiled
def exp2_of(x, out):
    for i in range(x.size):
        out[i] = _powers.exp2(x[i])


@compiled
def power_of(x, y, out):
    for i in range(x.size):
        out[i] = _powers.power_of(x[i], y)


PRECISIONS = [(np.float32, 2e-7), (np.float64, 1e-15)]


def relative_error(got, reference):
    """Relative error against a reference in extended precision."""
    return float(np.abs(got.astype(np.longdouble) / reference - 1).max())


@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS)
def test_exp2_is_accurate_from_the_smallest_to_the_largest_number(dtype, bound):
    largest = np.finfo(dtype).maxexp - 2
    wide = np.linspace(-largest, largest, 40001)
    near = np.geomspace(1e-12, 1, 5001)
    x = np.concatenate([wide, near, -near, [0.0]]).astype(dtype)
    out = np.empty_like(x)
    exp2_of(x, out)
    assert relative_error(out, np.exp2(x.astype(np.longdouble))) <= bound


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp2_is_exactly_1_at_0(dtype):
    out = np.empty(1, dtype=dtype)
    exp2_of(np.zeros(1, dtype=dtype), out)
    assert out[0] == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp2_of_very_negative_numbers_is_negligible_and_finite(dtype):
    x = -np.geomspace(200, float(np.finfo(dtype).max) / 4, 50).astype(dtype)
    out = np.empty_like(x)
    exp2_of(x, out)
    assert (out >= 0).all() and (out <= 1.001 * np.exp2(-126.0)).all()


@pytest.mark.parametrize("y", [0.1, 0.65, 1.3, 2.0, -0.5])
@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS)
def test_powers_are_as_accurate_as_their_logarithm_can_be(dtype, bound, y):
    info = np.finfo(dtype)
    reach = 0.9 / max(abs(y), 1)
    wide = np.exp2(np.linspace(info.minexp, info.maxexp, 40001) * reach)
    near = 1 + np.concatenate([s * np.geomspace(1e-6, 0.5, 5001) for s in (-1, 1)])
    x = np.concatenate([wide, near, [1.0]]).astype(dtype)
    out = np.empty_like(x)
    power_of(x, dtype(y), out)
    logarithm = y * np.log2(x.astype(np.longdouble))
    error = np.abs(out / x.astype(np.longdouble) ** np.longdouble(dtype(y)) - 1)
    # y log2 x is rounded: to half a unit of its size
    assert float((error / (1 + np.abs(logarithm) / 2)).max()) <= bound


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers_out_of_range_are_clipped(dtype):
    info, out = np.finfo(dtype), np.empty(2, dtype=dtype)
    power_of(np.array([info.tiny, info.max], dtype=dtype), dtype(1.9), out)
    assert 0 < out[0] <= 1.01 * info.tiny
    assert 0.2 * info.max <= out[1] < np.inf


@pytest.mark.parametrize("count", [2, 8, 9, 10, 17, 20])
def test_polynomials_of_any_length(count, rng):
    coefficients = rng.normal(size=count)
    polynomial = _powers._horner(coefficients)
    got = [polynomial(r) for r in (-0.7, 0.0, 0.4)]
    assert_allclose(got, np.polyval(coefficients, [-0.7, 0.0, 0.4]), rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [1.0, 1.25, 1.3, 1.5, 1.75, 2.0])
@pytest.mark.parametrize("d", [1, 3, 4, 6, 9])
def test_power_sums_at_every_width(dtype, p, d, rng):
    t, z = rng.normal(size=(3, d)).astype(dtype), rng.normal(size=(5, d)).astype(dtype)
    z[2] = t[1]
    out = np.empty((3, 5), dtype=dtype)
    order = None if p == 1 else dtype(p)
    _jit.power_sums(t, np.ascontiguousarray(z.T), 0, order, out)
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
    _jit.unpack_slopes(packed, rows, 2, out)
    assert_array_equal(out, expected[rows, 2:7])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize(("n", "columns"), [(3, 1), (37, 5), (70, 2)])
def test_a_product_with_a_triangle_is_that_with_the_matrix(
    n, columns, upper, dtype, rng
):
    packed = rng.normal(size=(n, n)).astype(dtype)
    V = rng.normal(size=(columns, n)).astype(dtype)
    triangle = (np.triu(packed, 1) if upper else np.tril(packed, -1)).astype(float)
    expected = V @ (triangle + triangle.T)
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype is np.float32 else {"rtol": 1e-10}
    edges = [0, n // 3, n]
    parts = [_jit.triangle_product(packed, upper, V, rows) for rows in pairwise(edges)]
    assert all(part.dtype == dtype for part in parts)
    assert_allclose(sum(parts), expected, **tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kernel", ["laplace", "l1_laplace", 0.6, 1.0, 1.4], ids=str)
def test_values_and_slopes_of_powers(kernel, dtype, rng):
    kernel = GeneralizedLaplace(kernel) if isinstance(kernel, float) else kernel
    kernel = get_kernel(kernel)
    profile = tuple(map(dtype, kernel.profile(1.3)))
    power = profile[1] if isinstance(kernel, GeneralizedLaplace) else None
    floor = kernel.profile(1.3)[3]
    u = rng.exponential(size=(5, 7))
    u[0, :3] = 0, floor / 2, floor
    u = u.astype(dtype)
    exact = u.astype(float)
    expected = kernel.value(exact, 1.3, np)
    values, both = u.copy(), u.copy()
    slopes = np.empty_like(both)
    _jit.values_of_powers(values.reshape(-1), profile, power)
    _jit.values_and_slopes(both.reshape(-1), profile, power, slopes.reshape(-1))
    rtol = 2e-5 if dtype is np.float32 else 1e-12
    assert_allclose(values, expected, rtol=rtol)
    assert_allclose(both, expected, rtol=rtol)
    assert_allclose(slopes, kernel.slope(exact, expected, 1.3, np), rtol=rtol)


def test_a_compilation_is_announced_once_and_not_where_the_cache_has_it(tmp_path):
    program = (
        "import numpy as np; from skrfm import _jit; from numba import njit;"
        "njit(lambda x: x)(1);"  # of someone else
        "out = np.empty((2, 2));"
        "_jit.unpack_slopes(np.ones((3, 3)), np.arange(2), 0, out);"
        "_jit.values_of_powers(out[0], (1.0, 1.0, 1.0, 0.0), None)"
    )
    package = Path(skrfm.__file__).parents[1]
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(package),
    }
    messages = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stderr.splitlines()
        for _ in range(2)
    ]
    assert len(messages[0]) == 1 and not messages[1]
    assert (
        messages[0][0].startswith("Compiling loops") and str(tmp_path) in messages[0][0]
    )


def test_results_without_compilation_are_the_same(tmp_path):
    path, package = tmp_path / "results.npz", Path(skrfm.__file__).parents[1]
    subprocess.run(
        [sys.executable, "-W", "error", _uncompiled.__file__, path],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(package)},
        check=True,
    )
    compiled = _uncompiled.results()
    with np.load(path) as uncompiled:
        assert set(uncompiled) == set(compiled)
        for name, expected in compiled.items():
            scale = np.abs(expected).max()
            assert_allclose(
                uncompiled[name], expected, rtol=1e-10, atol=1e-12 * scale, err_msg=name
            )


def assigned_to_slices(tree):
    """Yield the values that are assigned to slices in a module."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for part, value in pairs:
                if isinstance(part, ast.Subscript) and isinstance(
                    part.slice, ast.Slice
                ):
                    yield value


def test_slices_are_assigned_numbers_only():
    """An array takes two seconds to compile: code of the message if shapes differ."""
    scalars = {"zero", "one"}
    n_slices = 0
    for path in Path(_jit.__file__).parent.glob("*.py"):
        for value in assigned_to_slices(ast.parse(path.read_text(encoding="utf-8"))):
            n_slices += 1
            is_scalar = isinstance(value, ast.Name) and value.id in scalars
            assert is_scalar or isinstance(value, ast.Constant), (
                f"{path.name}:{value.lineno} assigns {ast.unparse(value)} to a slice"
            )
    assert n_slices > 0


@pytest.mark.parametrize(("dtype", "bound"), PRECISIONS)
@pytest.mark.parametrize(("d", "k"), [(1, 1), (3, 5), (8, 8), (21, 17), (100, 30)])
def test_a_mapped_row_depends_neither_on_its_place_nor_on_others(
    dtype, bound, d, k, rng
):
    X, A = rng.normal(size=(70, d)).astype(dtype), rng.normal(size=(d, k)).astype(dtype)
    out = np.full((70, k), np.nan, dtype=dtype)
    _jit.mapped_rows(X, A, out)
    size = np.abs(X).astype(np.longdouble) @ np.abs(A)
    exact = X.astype(np.longdouble) @ A
    assert (np.abs(out - exact) <= np.sqrt(d) * bound * size).all()
    for rows in ([5], [69], [0, 64], np.arange(63, 3, -1), np.arange(1, 66)):
        part = np.empty((len(rows), k), dtype=dtype)
        _jit.mapped_rows(X[rows], A, part)
        assert_array_equal(part, out[rows])


def test_the_angle_after_a_relu_keeps_the_digits_of_small_angles():
    relu_angle = njit(**OPTIONS)(lambda om: _angles.relu_angle(om))
    gaps = np.concatenate([[0.0, 2.0], 10.0 ** np.linspace(-15, 0.3, 400)])
    found = np.array([relu_angle(om) for om in gaps])
    om = gaps.astype(np.longdouble)
    theta, pi = 2 * np.arcsin(np.sqrt(om / 2)), np.longdouble("3.141592653589793238")
    bend = theta * (1 - om) - np.sqrt(om * (2 - om))
    small = theta < 1e-3  # the difference cancels there
    bend[small] = (-(theta**3) / 3 + theta**5 / 30 - theta**7 / 840)[small]
    after = om + bend / pi
    assert_allclose(found[:, 0], after.astype(float), rtol=1e-13)
    assert_allclose(found[:, 1], (1 - theta / pi).astype(float), rtol=1e-14, atol=3e-16)
