"""Warnings that point at the user's line."""

import sys
import warnings

import numpy as np

# frames of these packages are between the user's line and the warning
_PACKAGES = ("skrfm", "sklearn", "joblib")
# At the edge of a grid a value is clearly better if the next has so many times its
# loss: of nearly equal models even small differences are significant.
_LOSS_AT_EDGE = 1.05


def warn(message, category=UserWarning):
    """Warn at the first frame outside skrfm, scikit-learn and joblib.

    Their decorators, metadata routing and wrappers of `set_output` put a varying number
    of frames between the call of a user and a warning.

    Parameters
    ----------
    message : str
    category : type of Warning, default=UserWarning
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _package(frame) in _PACKAGES:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def warn_of_edge(alphas, losses, advice="Extend alphas."):
    """Warn where the best ridge of a grid is at an edge, and clearly better.

    Parameters
    ----------
    alphas : list of float
        The grid, in increasing order. No ridge is smaller than 0.
    losses : array-like of float
        A loss for each of them, in the same order; NaN or infinite where a ridge was
        left out as worse.
    advice : str
        The last sentence of the warning.
    """
    losses = np.nan_to_num(losses, nan=np.inf)
    best = int(np.argmin(losses))
    if len(alphas) < 2 or best not in (0, len(alphas) - 1) or alphas[best] == 0:
        return
    following = losses[1 if best == 0 else best - 1]
    if not losses[best] * _LOSS_AT_EDGE < following:
        return
    edge, further = ("smallest", "smaller") if best == 0 else ("largest", "larger")
    warn(
        f"The best ridge, {alphas[best]:g}, is the {edge} of alphas, and clearly "
        f"better than the next: a {further} one may be better still. {advice}"
    )


def _package(frame):
    return frame.f_globals.get("__name__", "").partition(".")[0]
