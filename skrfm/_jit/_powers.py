"""Powers and an arcsine in code that LLVM turns into SIMD code: no call into libm.

A loop with a call into libm is not vectorised. Here 2**x is a polynomial times a power
of two that is written into the bits of the exponent, and log2 reads them.
"""

import math

import numpy as np
from numba import njit, typeof, types
from numba.extending import overload
from numpy.polynomial import Chebyshev, Polynomial

from ._compile import EXACT

LOG2E = 1 / math.log(2)
# coefficients of a polynomial in one loop: with 8 all polynomials become SIMD code
_MOST_UNROLLED = 8


def _horner(coefficients):
    """Return a compiled polynomial, given its coefficients from the highest power.

    LLVM unrolls loops over a few coefficients only: longer ones would keep a jump for
    each coefficient, and the loops that call them would not become SIMD code.
    """
    most = _MOST_UNROLLED
    first, rest = coefficients[0], tuple(coefficients[1 : most + 1])

    @njit(**EXACT)
    def evaluate(r):
        p = first
        for c in rest:
            p = p * r + c
        return p

    for start in range(most + 1, len(coefficients), most):
        evaluate = _continued(evaluate, tuple(coefficients[start : start + most]))
    return evaluate


def _continued(polynomial, rest):
    """Return a compiled polynomial times powers, plus further coefficients."""

    @njit(**EXACT)
    def evaluate(r):
        p = polynomial(r)
        for c in rest:
            p = p * r + c
        return p

    return evaluate


def _exp2_taylor(degree, dtype):
    """Return the coefficients of the Taylor series of 2**r, highest first."""
    ln2 = math.log(2)
    return [dtype(ln2**i / math.factorial(i)) for i in range(degree, -1, -1)]


def _log2_interpolant(degree, dtype):
    """Return coefficients of log2(1 + f) / f for 1 + f in 1/√2 … √2, highest first."""
    series = Chebyshev.interpolate(
        lambda f: np.log1p(f) / f * LOG2E, degree, [0.5**0.5 - 1, 2**0.5 - 1]
    )
    return [dtype(c) for c in series.convert(kind=Polynomial).coef[::-1]]


def _atanh_series(terms, dtype):
    """Return coefficients of log2((1 + t) / (1 − t)) / t in t², highest first."""
    return [dtype(2 / (2 * i + 1) * LOG2E) for i in range(terms - 1, -1, -1)]


def _make_log2_of_fraction_32():
    """Return log2 in 1/√2 … √2 in float32."""
    # no division here: it costs as much as ten products
    polynomial = _horner(_log2_interpolant(8, np.float32))
    one = np.float32(1)

    def log2_of_fraction(m):
        f = m - one
        return f * polynomial(f)

    return njit(**EXACT)(log2_of_fraction)


def _make_log2_of_fraction_64():
    """Return log2 in 1/√2 … √2 in float64."""
    series = _horner(_atanh_series(11, np.float64))

    def log2_of_fraction(m):
        t = (m - 1.0) / (m + 1.0)
        return t * series(t * t)

    return njit(**EXACT)(log2_of_fraction)


def _make_exp2(dtype, integer, degree, bias, mantissa):
    """Return 2**x in one precision; `mantissa` is its number of bits."""
    polynomial = _horner(_exp2_taylor(degree, dtype))
    lowest, half = dtype(1 - bias), dtype(0.5)
    bias, mantissa = integer(bias), integer(mantissa)

    def exp2(x):
        x = min(max(x, lowest), -lowest)
        n = np.floor(x + half)
        bits = (integer(n) + bias) << mantissa
        return polynomial(x - n) * integer(bits).view(dtype)

    return exp2


def _make_power(dtype, integer, log2_of_fraction, mantissa):
    """Return x**y = 2**(y log2 x), with x = 2**n times a fraction in 1/√2 … √2."""
    smallest_fraction = integer(int(dtype(0.5**0.5).view(integer)))
    mantissa = integer(mantissa)

    def power_of(x, y):
        bits = dtype(x).view(integer)
        n = integer(bits - smallest_fraction) >> mantissa
        fraction = integer(bits - integer(n << mantissa)).view(dtype)
        return exp2(y * (dtype(n) + log2_of_fraction(fraction)))

    return power_of


def _make_asin_root(dtype, degree):
    """Return asin(√z) in one precision."""
    # asin(√z) / √z has no singularity nearer than z = 1
    series = Chebyshev.interpolate(
        lambda z: np.arcsin(np.sqrt(z)) / np.sqrt(z), degree, [0, 0.5]
    )
    # in powers of t = 4 z − 1, which no cancellation disturbs
    coefficients = Chebyshev(series.coef).convert(kind=Polynomial).coef[::-1]
    polynomial = _horner([dtype(c) for c in coefficients])
    four, one = dtype(4), dtype(1)

    def asin_root(z):
        return np.sqrt(z) * polynomial(four * z - one)

    return asin_root


# The functions of each precision. Numba compiles those that the overloads below return;
# without compilation the bodies of `exp2` and its siblings call them as Python code.
_ASIN_ROOT = {
    types.float32: _make_asin_root(np.float32, 9),
    types.float64: _make_asin_root(np.float64, 19),
}
_EXP2 = {
    types.float32: _make_exp2(np.float32, np.int32, 7, 127, 23),
    types.float64: _make_exp2(np.float64, np.int64, 13, 1023, 52),
}
_POWER = {
    types.float32: _make_power(np.float32, np.int32, _make_log2_of_fraction_32(), 23),
    types.float64: _make_power(np.float64, np.int64, _make_log2_of_fraction_64(), 52),
}


def exp2(x):
    """Return 2**x, clipped where the result would leave the normal numbers."""
    return _EXP2[typeof(x)](x)


def power_of(x, y):
    """Return x**y for a positive normal x, clipped as `exp2` is."""
    return _POWER[typeof(x)](x, y)


def asin_root(z):
    """Return asin(√z) for 0 <= z <= 1/2."""
    return _ASIN_ROOT[typeof(z)](z)


@overload(asin_root, jit_options=EXACT)
def _overload_asin_root(z):
    return _ASIN_ROOT.get(z)


@overload(exp2, jit_options=EXACT)
def _overload_exp2(x):
    return _EXP2.get(x)


@overload(power_of, jit_options=EXACT)
def _overload_power_of(x, y):
    return _POWER.get(x)
