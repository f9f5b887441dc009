"""Mapped patches of images, and the pixels of the layers above them."""

from dataclasses import dataclass, replace

import numpy as np

from .._backend import Array, FloatArray
from ._image_loops import HostImageLoops, ImageLoops
from ._pooling import overlap, pooling_offsets
from ._windows import window_taps

# Numbers that count as one row in the decision about threads.
_PER_ROW = 500


@dataclass(frozen=True, kw_only=True)
class MappedPatches:
    """The mapped patches of images, with the variances of the pixels of each layer.

    Attributes
    ----------
    patches : array of shape (rows, columns, n, k)
    roots, inverses : lists of arrays of shape (rows, columns, n)
        For each layer the standard deviations of the pixels that its activation gets,
        and their inverses, which are 0 for 0.
    diagonal : array of shape (n,)
        The kernel of each image with itself, of which pixels of equal position are
        compared.
    """

    patches: Array
    roots: list[Array]
    inverses: list[Array]
    diagonal: Array

    def __len__(self):
        return self.patches.shape[2]

    @property
    def n_patches(self):
        """The number of patches of an image."""
        return self.patches.shape[0] * self.patches.shape[1]

    @property
    def last_grid(self):
        """Rows and columns of the pixels of the last layer."""
        return self.roots[-1].shape[:2]

    def __getitem__(self, images):
        """Return the patches of a slice of the images."""
        return replace(
            self,
            patches=self.patches[:, :, images],
            roots=[a[..., images].copy() for a in self.roots],
            inverses=[a[..., images].copy() for a in self.inverses],
            diagonal=self.diagonal[images],
        )

    def at_pixels(self, choose):
        """Return the pixels that a function (rows, columns, …) -> array chooses.

        The diagonal stays that of all pixels.
        """
        return replace(
            self,
            patches=choose(self.patches).copy(),
            roots=[choose(a).copy() for a in self.roots],
            inverses=[choose(a).copy() for a in self.inverses],
        )


@dataclass(frozen=True, kw_only=True)
class PatchMap:
    """From images to mapped patches, and to the pixels of later layers.

    Attributes
    ----------
    depth : int
        Number of layers, each followed by a ReLU that keeps the variance.
    size : int
        Height and width of the patches, and of the windows of later layers.
    padding : {"same", "valid", "circular"}
        What patches and windows have beyond the border, as in `CNTK`.
    pool_size : int or "global"
        Height and width of the windows over which the last layer is averaged.
    loops : ImageLoops
        The device that computes. Images, maps and coefficients are passed as NumPy.
    """

    depth: int
    size: int
    padding: str
    pool_size: int | str = 1
    loops: ImageLoops = HostImageLoops()

    def grids(self, shape):
        """Return the rows and columns of the pixels in each layer.

        Parameters
        ----------
        shape : tuple of int
            Height and width of the images, and more.

        Raises
        ------
        ValueError
            If the images are too small for patches without padding.
        """
        lost = self.size - 1 if self.padding == "valid" else 0
        grids = [
            (shape[0] - lost * layer, shape[1] - lost * layer)
            for layer in range(1, self.depth + 1)
        ]
        if min(grids[-1]) < 1:
            raise ValueError(
                f"Images of {shape[0]} x {shape[1]} pixels are too small for "
                f"{self.depth} layers of {self.size} x {self.size} patches without "
                'padding. Lower depth or patch_size, or choose padding="same".'
            )
        return grids

    def patches(self, images: FloatArray) -> Array:
        """Return the patches of images.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels)

        Returns
        -------
        array of shape (n_patches, n, size * size * channels)
            Patches row by row of the image. A patch has its rows first, then its
            columns, then the channels.
        """
        n, height, width, channels = images.shape
        # the pixels, and a zero for those beyond the border
        pixels = self.loops.empty((height * width + 1, n, channels))
        flat = self.loops.asarray(images).reshape(n, height * width, channels)
        pixels[:-1] = flat.transpose(1, 0, 2)
        pixels[-1] = 0
        found = pixels[self.loops.asarray(self._pixels_of_patches(height, width))]
        return found.transpose(0, 2, 1, 3).reshape(len(found), n, -1)

    def _pixels_of_patches(self, height, width):
        """Return the indices of the pixels of patches, the last for a zero."""
        rows, columns = (
            window_taps(n, self.size, 1, self.padding) for n in (height, width)
        )
        rows, columns = rows[:, None, :, None], columns[None, :, None, :]
        beyond = (rows == height) | (columns == width)
        pixels = np.where(beyond, height * width, rows * width + columns)
        return pixels.reshape(-1, self.size**2)

    def map(self, images: FloatArray, components: FloatArray | None) -> MappedPatches:
        """Return the mapped patches of images.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels)
        components : ndarray of shape (k, size * size * channels) or None
            Aᵀ of the metric; None for the identity.
        """
        (rows, columns), n = self.grids(images.shape[1:])[0], len(images)
        q, loops = self.size**2 * images.shape[3], self.loops
        k = q if components is None else len(components)
        mapped = loops.empty((rows, columns, n, k))
        patches = mapped.reshape(rows * columns, n, k)  # a view
        A = None if components is None else loops.asarray(components).T

        def fill(part):
            found = self.patches(images[part])
            patches[:, part] = found if A is None else found @ A

        step = max(1, loops.strip(q) // (rows * columns))
        tasks = [(part,) for part in slices(n, step)]
        loops.run(fill, tasks, rows * columns * n * k // _PER_ROW)
        return self._with_variances(mapped)

    def _with_variances(self, patches):
        """Return MappedPatches of an array (rows, columns, n, k)."""
        variance = np.einsum("pqik,pqik->pqi", patches, patches)
        roots, inverses, tangent = [], [], np.zeros_like(variance)
        for layer in range(self.depth):
            if layer:
                variance = self.loops.windows(variance, *self._forward(variance))
                tangent = self.loops.windows(tangent, *self._forward(tangent))
            # the angle of an image with itself is 0
            tangent = tangent + variance
            roots.append(np.sqrt(variance))
            with np.errstate(divide="ignore"):
                inverse = 1 / roots[-1]
            inverses.append(np.where(roots[-1] > 0, inverse, 0.0))
        return MappedPatches(
            patches=patches,
            roots=roots,
            inverses=inverses,
            diagonal=np.mean(variance + tangent, axis=(0, 1)),
        )

    @property
    def _wraps(self):
        """Whether windows go on at the opposite side of the image."""
        return self.padding == "circular"

    def _offsets(self, mapped):
        """Return the offsets of the last layer's pixels that are compared, weighted."""
        return pooling_offsets(mapped.last_grid, self.pool_size, self._wraps)

    def _pixels_at(self, offset, grid):
        """Return which pixels p of a grid have a pixel p + offset."""
        return (...,) if self._wraps else overlap(grid, offset)

    def _at_offset(self, left, right, offset):
        """Return the pixels of mapped images that are compared: p, and p + offset."""
        if offset == (0, 0):
            return left, right
        back = -offset[0], -offset[1]
        if self._wraps:
            return left, right.at_pixels(lambda a: np.roll(a, back, axis=(0, 1)))
        return (
            left.at_pixels(lambda a: a[overlap(a.shape, offset)]),
            right.at_pixels(lambda a: a[overlap(a.shape, back)]),
        )

    @property
    def _first(self):
        """The first row of the window of a pixel, from the pixel."""
        return 0 if self.padding == "valid" else -((self.size - 1) // 2)

    def _window_options(self, first, shape, change):
        """Return the arguments of `windows` for pixels of a shape, but the pixels."""
        if self.padding != "valid":
            change = 0
        grid = shape[0] + change, shape[1] + change
        return first, self.size, self._wraps, grid

    def _forward(self, x):
        """Return the arguments of `windows` from the pixels of a layer to the next."""
        return self._window_options(self._first, x.shape, 1 - self.size)

    def _backward(self, x):
        """Return the arguments of `windows` for the adjoint of the windows."""
        return self._window_options(1 - self.size - self._first, x.shape, self.size - 1)


def slices(n, size):
    """Return slices of `size` of n."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
