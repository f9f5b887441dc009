"""Masks of observed pixels, and the observed pixels that validation hides."""

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import binary_opening

from ..._backend import BoolArray, IntArray

# missing pixels in squares of this width are a hole, not scattered pixels
_HOLE = 9
# bounds on the share of observed pixels that moved holes may hide: enough of them to
# compare kernels by, and enough that remain to predict from
_LEAST_HIDDEN, _MOST_HIDDEN = 0.02, 0.5
# random shifts of the holes that are tried before scattered pixels are hidden instead
_SHIFTS = 10
# share of the observed pixels that are hidden where the missing ones are scattered
_SCATTERED = 0.1


def equal_masks(observed: BoolArray) -> Iterator[tuple[BoolArray, IntArray]]:
    """Yield each distinct mask (height, width), and the channels that have it."""
    channels = np.moveaxis(observed, -1, 0)
    masks, mask_of = np.unique(channels, axis=0, return_inverse=True)
    for index, mask in enumerate(masks):
        yield mask, np.flatnonzero(mask_of.ravel() == index)


def hidden_pixels(
    observed: BoolArray, random_state: np.random.RandomState
) -> BoolArray:
    """Return a mask of observed pixels to hide for the choice of a kernel.

    They are a tenth of the observed pixels or, where most missing pixels are in holes,
    the same holes at another position.

    Parameters
    ----------
    observed : ndarray of bool of shape (height, width, n_channels)
    random_state : RandomState

    Returns
    -------
    ndarray of bool of shape (height, width, n_channels)
    """
    hidden = np.zeros_like(observed)
    for mask, channels in equal_masks(observed):
        chosen = _moved_holes(mask, random_state)
        if chosen is None:
            chosen = mask & (random_state.random_sample(mask.shape) < _SCATTERED)
        if chosen.sum() < mask.sum():
            hidden[:, :, channels] = chosen[:, :, None]
    return hidden


def _moved_holes(mask, random_state):
    """Return the observed pixels inside the holes after a shift of the mask.

    None where most missing pixels are not in holes, or no shift hides a suitable
    number of pixels.
    """
    holes = binary_opening(~mask, np.ones((_HOLE, _HOLE)))
    if 2 * holes.sum() <= np.sum(~mask):
        return None
    for _ in range(_SHIFTS):
        shift = tuple(random_state.randint(size) for size in mask.shape)
        chosen = np.roll(~mask, shift, axis=(0, 1)) & mask
        if _LEAST_HIDDEN * mask.sum() <= chosen.sum() <= _MOST_HIDDEN * mask.sum():
            return chosen
    return None
