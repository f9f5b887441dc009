"""What every solver returns."""

from dataclasses import dataclass


@dataclass
class Solution:
    """Coefficients, and the diagonal of the inverse where it was asked for.

    `jitter` was added to the diagonal; `residual` is what an iterative solver has left,
    by the targets.
    """

    coef: object
    inverse_diagonal: object = None
    jitter: float = 0.0
    residual: float = 0.0
