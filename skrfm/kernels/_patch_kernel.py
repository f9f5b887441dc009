"""The tangent kernel of convolutional networks as a function of mapped patches.

A metric of patches maps each patch of an image to t = Aᵀ patch before the first layer.
The kernel of images is then that of `CNTK` with a readout for each pixel, of which all
pixels of the first layer are given by the inner products of mapped patches. Here it
comes with its gradient in the mapped patches, by one sweep back through the layers for
each pair of images: the sweep is the same for all outputs of a predictor.
"""

from dataclasses import dataclass

import numpy as np

from .._backend import FloatArray, IntArray
from ._mapped_patches import PatchMap, slices

# Pixels, layers and images that count as one row in the decision about threads.
_PIXELS_PER_ROW = 500
# The most numbers of gradients that are held at a time.
_MOST_GRADIENTS = 2**25
# The most kernel values between new images and those of a predictor.
_MOST_VALUES = 2**24


@dataclass(frozen=True, kw_only=True)
class PatchKernel(PatchMap):
    """The tangent kernel of a convolutional network on mapped patches.

    Attributes
    ----------
    depth, size, padding, loops
        As in `PatchMap`.
    """

    # -- values --------------------------------------------------------------------

    def gram(self, images: FloatArray, components: FloatArray | None) -> FloatArray:
        """Return the kernel matrix of images.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels)
        components : ndarray of shape (k, size * size * channels) or None
            Aᵀ of the metric; None for the identity.

        Returns
        -------
        ndarray of shape (n, n)
        """
        n = len(images)
        K, blocks = np.empty((n, n)), self._blocks(images, components)
        for number, block in enumerate(blocks):
            left = self.map(images[block], components)
            for other in blocks[number:]:
                same = other is block
                right = left if same else self.map(images[other], components)
                self._fill(K[block, other], left, right, upper=same)
            diagonal = np.arange(n)[block]
            K[diagonal, diagonal] = self.loops.to_numpy(left.diagonal)
        lower = np.tril_indices(n, -1)
        K[lower] = K.T[lower]
        return K

    def dot(
        self,
        left: FloatArray,
        right: FloatArray,
        components: FloatArray | None,
        coef: FloatArray,
    ) -> FloatArray:
        """Return k(left, right) @ coef.

        Parameters
        ----------
        left : ndarray of shape (n_left, height, width, channels)
        right : ndarray of shape (n_right, height, width, channels)
        components : ndarray of shape (k, size * size * channels) or None
        coef : ndarray of shape (n_right, c)

        Returns
        -------
        ndarray of shape (n_left, c)
        """
        out = np.zeros((len(left), coef.shape[1]))
        most = max(1, _MOST_VALUES // len(right))
        blocks = self._blocks(left, components, most=most)
        for others in self._blocks(right, components):
            mapped = self.map(right[others], components)
            for block in blocks:
                part = self.map(left[block], components)
                K = np.empty((len(part), len(mapped)))
                self._fill(K, part, mapped)
                out[block] += K @ coef[others]
        return out

    def _blocks(self, images, components, *, most=None):
        """Return slices of images whose mapped patches fit the bound on memory.

        A slice has `most` images at most, if it is given.
        """
        k = images.shape[3] * self.size**2 if components is None else len(components)
        rows, columns = self.grids(images.shape[1:])[0]
        size = max(1, self.loops.max_patches // (rows * columns * k))
        return slices(len(images), size if most is None else min(size, most))

    def _fill(self, K, left, right, *, upper=False):
        """Fill K (n_left, n_right), or the tiles that its upper half touches."""
        rows, columns = self.loops.tile_shape(len(left.patches))
        tiles = [
            (i, j)
            for i in slices(len(left), rows)
            for j in slices(len(right), columns)
            if not upper or j.stop > i.start
        ]

        def fill(i, j):
            K[i, j] = self.loops.to_numpy(self._values(left[i], right[j])[0])

        self.loops.run(fill, tiles, self._work(left, right))

    def _values(self, left, right, *, keep=False):
        """Return the kernel (n_left, n_right), and what each activation was applied to.

        The latter, a list of (S, T), is empty unless `keep`.
        """
        S = left.patches @ right.patches.transpose(0, 2, 1)
        S = S.reshape(*left.grid, len(left), len(right))
        T, kept = S.copy(), []
        for layer in range(self.depth):
            if layer:
                S = self.loops.windows(S, *self._forward(S))
                T = self.loops.windows(T, *self._forward(T))
                T += S
            if keep:
                kept.append((S.copy(), T.copy()))
            self.loops.relu_values(S, T, *_deviations(left, right, layer))
        S += T
        return S.mean(axis=(0, 1)), kept

    def _work(self, left, right):
        """Return the work of a kernel matrix in rows of a kernel machine."""
        pixels = len(left.patches) * self.depth
        return len(left) * len(right) * pixels // _PIXELS_PER_ROW

    # -- gradients -----------------------------------------------------------------

    def gradient_products(
        self,
        images: FloatArray,
        components: FloatArray | None,
        coef: FloatArray,
        *,
        rows: IntArray,
        weight: FloatArray,
    ) -> FloatArray:
        """Return the average outer product of gradients in mapped patches.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels)
        components : ndarray of shape (k, size * size * channels) or None
        coef : ndarray of shape (n, c)
            The predictor is k(·, images) @ coef.
        rows : ndarray of int of shape (m,)
            The images of the average.
        weight : ndarray of shape (m,)
            Their weights.

        Returns
        -------
        ndarray of shape (k, k)
            The average over the images, and over the patches of an image, of the sum
            over the outputs.
        """
        total, groups = 0.0, self._groups(images, components, coef.shape[1])
        for group in slices(len(rows), groups):
            left = self.map(images[rows[group]], components)
            gradients = self._gradients(left, images, components, coef)
            gradients *= self.loops.asarray(np.sqrt(weight[group]))[:, None, None]
            flat = gradients.reshape(-1, gradients.shape[-1])
            products = self.loops.sum_of_products(flat, self._work(left, left))
            total = total + self.loops.to_numpy(products)
        return total / (len(left.patches) * weight.sum())

    def gradients(
        self,
        left: FloatArray,
        images: FloatArray,
        components: FloatArray | None,
        coef: FloatArray,
    ) -> FloatArray:
        """Return the gradients of k(left, images) @ coef in the mapped patches of left.

        Parameters
        ----------
        left : ndarray of shape (m, height, width, channels)
        images : ndarray of shape (n, height, width, channels)
        components : ndarray of shape (k, size * size * channels) or None
        coef : ndarray of shape (n, c)

        Returns
        -------
        ndarray of shape (n_patches, m, c, k)

        Notes
        -----
        Where two patches have the same direction the tangent kernel has a kink. The
        gradient there is the mean of those on both sides.
        """
        mapped = self.map(left, components)
        found = self._gradients(mapped, images, components, coef)
        return self.loops.to_numpy(found)

    def _groups(self, images, components, n_outputs):
        """Return of how many images the gradients fit the bound on memory."""
        k = images.shape[3] * self.size**2 if components is None else len(components)
        rows, columns = self.grids(images.shape[1:])[0]
        return max(1, _MOST_GRADIENTS // (rows * columns * k * n_outputs))

    def _gradients(self, left, images, components, coef):
        """Return what `gradients` does, given MappedPatches of the left images."""
        n_patches, n, k = left.patches.shape
        step, _ = self.loops.tile_shape(n_patches)
        tasks = [(part,) for part in slices(n, min(step, -(-n // 2)))]
        total = None
        for block in self._blocks(images, components):
            right = self.map(images[block], components)
            alpha = self.loops.asarray(coef[block])
            out = self.loops.empty((n_patches, n, coef.shape[1], k))

            def fill(part, right=right, alpha=alpha, out=out):
                out[:, part] = self._gradients_of(left[part], right, alpha)

            self.loops.run(fill, tasks, self._work(left, right))
            total = out if total is None else total + out
        return total

    def _gradients_of(self, left, right, coef):
        """Return the gradients (n_patches, n, c, k) of k(left, right) @ coef."""
        n_patches, n, k = left.patches.shape
        out = self.loops.empty((n_patches, n, coef.shape[1], k))
        own = self.loops.empty(out.shape[:3])
        out[:], own[:] = 0, 0
        _, columns = self.loops.tile_shape(n_patches)
        for images in slices(len(right), columns):
            others, alpha = right[images], coef[images]
            dS, da = (
                x.reshape(n_patches, n, -1) for x in self._derivatives(left, others)
            )
            own += da @ alpha
            for output, weights in enumerate(alpha.T):
                out[:, :, output] += (dS * weights) @ others.patches
        out += 2 * own[..., None] * left.patches[:, :, None]
        return out

    def _derivatives(self, left, right):
        """Return the derivatives of the kernel in the input of the first activation.

        Returns
        -------
        dS, da : arrays of shape (rows, columns, n_left, n_right)
            In the covariances of patches, and the variances of the patches of `left`.
        """
        _, kept = self._values(left, right, keep=True)
        dS = np.full_like(kept[-1][0], 1 / np.prod(kept[-1][0].shape[:2]))
        dT, da = dS.copy(), np.zeros_like(dS)
        for layer in reversed(range(self.depth)):
            S, T = kept.pop()
            deviations = _deviations(left, right, layer)
            self.loops.relu_derivatives(S, T, *deviations, dS, dT, da)
            if layer:
                dS, dT, da = (
                    self.loops.windows(x, *self._backward(x)) for x in (dS, dT, da)
                )
        return dS, da


def _deviations(left, right, layer):
    """Return the roots of the variances of both images, and their inverses."""
    return (
        (left.roots[layer], right.roots[layer]),
        (left.inverses[layer], right.inverses[layer]),
    )
