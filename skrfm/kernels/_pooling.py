"""Average pooling of the pixels of the last layer, as a sum over offsets.

The kernel of pooled pixels sums the kernels of all pairs of pixels in a window. Such
pairs are pixels p of one image and p + d of the other: each offset d has one weight, as
windows go on beyond the border, where there are zeros.
"""

from itertools import product

# From the rows and columns of a pixel to those of the pixel it is compared with.
Offset = tuple[int, int]


def pooling_offsets(
    grid: tuple[int, int], pool_size: int | str, wrap: bool
) -> dict[Offset, float]:
    """Return the offsets of pixels that share a window, with their weights.

    Parameters
    ----------
    grid : tuple of (int, int)
        Rows and columns of the pixels.
    pool_size : int or "global"
        Height and width of the windows; "global" is one window, the image.
    wrap : bool
        Whether windows go on at the opposite side, beyond the border.
    """
    rows, columns = (_axis_weights(n, pool_size, wrap) for n in grid)
    return {(i, j): rows[i] * columns[j] for i, j in product(rows, columns)}


def _axis_weights(n, pool_size, wrap):
    """Return the offsets along an axis of n pixels, with their weights."""
    if isinstance(pool_size, str):
        return {offset: 1 / n for offset in range(0 if wrap else 1 - n, n)}
    reach = pool_size if wrap else min(pool_size, n)
    weights: dict[int, float] = {}
    for offset in range(1 - reach, reach):
        share = (pool_size - abs(offset)) / pool_size**2
        key = offset % n if wrap else offset
        weights[key] = weights.get(key, 0.0) + share
    return weights


def overlap(shape: tuple[int, ...], offset: Offset) -> tuple[slice, ...]:
    """Return the pixels, of a grid of a shape, for which pixel + offset is inside."""
    return tuple(
        slice(max(0, -d), n - max(0, d)) for n, d in zip(shape, offset, strict=False)
    )
