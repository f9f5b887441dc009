"""Loops that turn distance powers into kernel values and slopes.

A profile is (scale, exponent, order, floor). Of a distance power u the value k is
exp(-(scale * u)**exponent); the slope is -order * (scale * x)**exponent * k / x with
x = max(u, floor), and 0 where u is 0.

Exponents 1 and 1/2 need no logarithm. The code for others takes as long to compile, so
it is compiled when a kernel first needs it: `power` is None without it, and Numba
leaves out the branches that a None rules out.
"""

import numpy as np

from ._compile import jit
from ._powers import LOG2E, exp2, power_of


def _power(profile):
    """Return None where the exponent needs no logarithm, else the exponent."""
    _, exponent, _, floor = profile
    plain = exponent == 1 or (exponent == 0.5 and floor == 0)
    return None if plain else exponent


@jit
def _values(u, profile, power):
    scale, exponent, _, _ = profile
    zero, one = u.dtype.type(0), u.dtype.type(1)
    log2e = u.dtype.type(LOG2E)
    if power is not None:
        for j in range(u.size):
            positive = u[j] > zero
            v = power_of(scale * (u[j] if positive else one), power)
            u[j] = exp2(-log2e * v) if positive else one
    elif exponent == 1:
        for j in range(u.size):
            u[j] = exp2(-(scale * log2e) * u[j])
    else:
        for j in range(u.size):
            u[j] = exp2(-np.sqrt((scale * log2e * log2e) * u[j]))


@jit
def _values_and_slopes(u, profile, power, w):
    scale, exponent, order, floor = profile
    zero, one = u.dtype.type(0), u.dtype.type(1)
    log2e = u.dtype.type(LOG2E)
    if power is not None:
        bound = -order * power_of(scale * floor, power) / floor if floor > 0 else zero
        for j in range(u.size):
            positive = u[j] > zero
            x = u[j] if positive else one
            v = power_of(scale * x, power)
            k = exp2(-log2e * v) if positive else one
            slope = -order * v / x if x >= floor else bound
            w[j] = slope * k if positive else zero
            u[j] = k
    elif exponent == 1:
        for j in range(u.size):
            k = exp2(-(scale * log2e) * u[j])
            w[j] = -order * scale * k if u[j] > zero else zero
            u[j] = k
    else:
        for j in range(u.size):
            positive = u[j] > zero
            k = exp2(-np.sqrt((scale * log2e * log2e) * u[j]))
            w[j] = -order * np.sqrt(scale / (u[j] if positive else one)) * k
            w[j] = w[j] if positive else zero
            u[j] = k


def values_of_powers(u, profile):
    """Turn a tile of distance powers into kernel values, in place."""
    _values(u.reshape(-1), profile, _power(profile))


def values_and_slopes_of_powers(u, profile):
    """Turn a tile of distance powers into kernel values, in place; return slopes."""
    w = np.empty_like(u)
    _values_and_slopes(u.reshape(-1), profile, _power(profile), w.reshape(-1))
    return w
