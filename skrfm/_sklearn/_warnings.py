"""Warnings that point at the user's line."""

import sys
import warnings

# frames of these packages are between the user's line and the warning
_PACKAGES = ("skrfm", "sklearn", "joblib")


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


def _package(frame):
    return frame.f_globals.get("__name__", "").partition(".")[0]
