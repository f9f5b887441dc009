"""Which pixels the windows of a convolution read."""

import numpy as np


def window_taps(n, size, stride, padding):
    """Return the indices that each window along an axis of length n reads.

    Index n stands for a zero beyond the border.

    Returns
    -------
    ndarray of shape (n_windows, size)
    """
    if padding == "valid":
        count, first = (n - size) // stride + 1, 0
    else:
        count = -(-n // stride)
        first = -(max((count - 1) * stride + size - n, 0) // 2)
    taps = first + stride * np.arange(count)[:, None] + np.arange(size)
    if padding == "circular":
        return taps % n
    return np.where((taps >= 0) & (taps < n), taps, n)
