"""The angle between two pixels, or patches, and what a ReLU makes of it.

The functions take no branches, so that LLVM makes SIMD code of loops that call them.
"""

import numpy as np

from ._compile import jit_helper

# Angles below this take the series of θ cos θ − sin θ, which cancels.
_SMALL = 0.01
# Multiplications are faster than divisions.
_HALF_TURN, _SHARE, _THIRD, _THIRTIETH = np.pi / 2, 1 / np.pi, 1 / 3, 1 / 30
# Coefficients of asin(√z) / √z for z up to 1/4, interpolated at Chebyshev nodes: the
# error is 2e-17. SIMD code has no arcsine of its own.
_ASIN = (
    1.0,
    0.16666666666664942,
    0.07500000000385201,
    0.044642856805998936,
    0.03038195969768514,
    0.022371749733164054,
    0.01735977964134998,
    0.01388484282640208,
    0.012170138592391726,
    0.0065293020047365695,
    0.019513468251252167,
    -0.016187392271599134,
    0.03187962140081284,
)
_A0, _A1, _A2, _A3, _A4, _A5, _A6, _A7, _A8, _A9, _A10, _A11, _A12 = _ASIN


@jit_helper
def angle(om):
    """Return the angle θ and sin θ, given om = 1 − cos θ from 0 to 2."""
    cosine = 1 - om
    near = om if om < 1 else 2 - om  # 1 − abs(cos θ)
    middle = near > 0.5
    z = cosine * cosine if middle else near / 2
    high = _A7 + z * (_A8 + z * (_A9 + z * (_A10 + z * (_A11 + z * _A12))))
    series = _A2 + z * (_A3 + z * (_A4 + z * (_A5 + z * (_A6 + z * high))))
    root = cosine if middle else np.sqrt(z)
    arcsine = root * (_A0 + z * (_A1 + z * series))
    turned = 2 * arcsine if om < 1 else 2 * _HALF_TURN - 2 * arcsine
    theta = _HALF_TURN - arcsine if middle else turned
    return theta, np.sqrt(om * (2 - om))


@jit_helper
def relu_angle(om):
    """Return 1 − cos after a ReLU, and its derivative, given om = 1 − cos before it.

    With θ the angle they are om + (θ cos θ − sin θ) / π and (π − θ) / π. Both are as
    accurate near θ = 0 as `om` is, which is from 0 to 2.
    """
    theta, sine = angle(om)
    series = theta * theta * theta * (theta * theta * _THIRTIETH - _THIRD)
    bend = theta * (1 - om) - sine
    bend = series if theta < _SMALL else bend
    return om + bend * _SHARE, 1 - theta * _SHARE
