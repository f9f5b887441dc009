"""From what a user passes to images of checked shape."""

from dataclasses import dataclass
from math import isqrt, prod

import numpy as np

from .._backend import FloatArray
from .._tables import to_host


@dataclass(frozen=True)
class ImageReader:
    """How images are read.

    Attributes
    ----------
    shape : tuple of (int, int, int)
        Height, width and number of channels.
    """

    shape: tuple[int, int, int]

    @classmethod
    def of_rows(cls, rows, own_shape, image_shape):
        """Return the reader of rows of pixels.

        Parameters
        ----------
        rows : ndarray of shape (n, n_features)
        own_shape : tuple of (int, int, int) or None
            The shape of the images that the rows were made of.
        image_shape : tuple or None
            The parameter of the estimator.
        """
        n_features = rows.shape[1]
        given = None if image_shape is None else _checked_shape(image_shape)
        if own_shape is None:
            if given is not None and prod(given) != n_features:
                raise ValueError(
                    f"image_shape={image_shape} has {prod(given)} numbers, but X has "
                    f"{n_features} columns. Pass (height, width) or (height, width, "
                    "channels) of the flattened images."
                )
            return cls(given or _default_shape(n_features))
        if given not in (None, own_shape):
            raise ValueError(
                f"image_shape={image_shape} is not the shape of the images in X, "
                f"{own_shape}: leave it at None for images of three or four axes."
            )
        return cls(own_shape)

    def rows(self, X):
        """Return further images as rows of pixels."""
        X, own = as_rows(X)
        if own is not None and own != self.shape:
            raise ValueError(
                f"X has images of shape {own}, but those that the estimator was fitted "
                f"to have the shape {self.shape}."
            )
        return X

    def images(self, rows: FloatArray) -> FloatArray:
        """Return rows of pixels as images (n, height, width, channels) in float64."""
        return rows.reshape(-1, *self.shape).astype(np.float64)


def as_rows(X):
    """Return images as rows of pixels, and their shape; of other input None."""
    X = to_host(X)
    if isinstance(X, (list, tuple)) and np.ndim(X) in (3, 4):
        X = np.asarray(X)
    if not isinstance(X, np.ndarray) or X.ndim not in (3, 4):
        return X, None
    shape = (*X.shape[1:], 1)[:3]
    if not prod(shape):
        raise ValueError(f"The images in X are empty: the shape of X is {X.shape}.")
    return X.reshape(len(X), -1), shape


def _checked_shape(image_shape):
    """Return (height, width, channels) of the parameter image_shape."""
    shape = np.asarray(image_shape)
    whole = shape.ndim == 1 and shape.dtype.kind in "iu"
    if not whole or len(shape) not in (2, 3) or shape.min() < 1:
        raise ValueError(
            "image_shape must be (height, width) or (height, width, channels), in "
            f"whole numbers from 1 on, got {image_shape!r}."
        )
    height, width, channels = (*map(int, shape), 1)[:3]
    return height, width, channels


def _default_shape(n_features):
    """Return the shape of flat images: square of one channel, or else of one row."""
    side = isqrt(n_features)
    return (side, side, 1) if side * side == n_features else (1, n_features, 1)
