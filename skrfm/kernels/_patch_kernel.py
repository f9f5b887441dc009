"""The tangent kernel of convolutional networks as a function of mapped patches.

A metric of patches maps each patch of an image to t = Aᵀ patch before the first layer.
The kernel of images is then that of `CNTK` with a readout for each pixel, of which all
pixels of the first layer are given by the inner products of mapped patches. Here it
comes with its gradient in the mapped patches, by one sweep back through the layers for
each pair of images: the sweep is the same for all outputs of a predictor. With pooling
there is a sweep for each offset of the pixels that are compared.
"""

from dataclasses import dataclass
from math import prod

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
    depth, size, padding, pool_size, loops
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
        """Fill K (n_left, n_right), or the tiles that its upper half touches.

        `upper` says that both images are the same.
        """
        rows, columns = self.loops.tile_shape(left.n_patches)
        tiles = [
            (i, j)
            for i in slices(len(left), rows)
            for j in slices(len(right), columns)
            if not upper or j.stop > i.start
        ]

        def fill(i, j):
            pairs, total = (left[i], right[j]), 0.0
            for offset, weight in self._offsets(left).items():
                S, T, _ = self._layers(*self._at_offset(*pairs, offset))
                values = self.loops.to_numpy((S + T).sum(axis=(0, 1)))
                values *= weight / prod(left.last_grid)
                if upper and offset == (0, 0):
                    same = np.arange(max(i.start, j.start), min(i.stop, j.stop))
                    exact = weight * self.loops.to_numpy(left.diagonal)
                    values[same - i.start, same - j.start] = exact[same]
                total = total + values
            K[i, j] = total

        self.loops.run(fill, tiles, self._work(left, right))

    def _layers(self, left, right, *, keep=False):
        """Return the covariances and the tangent kernels of the last layer.

        Returns
        -------
        S, T : arrays of shape (rows, columns, n_left, n_right)
        kept : list of (S, T)
            What each activation was applied to; empty unless `keep`.
        """
        S = left.patches @ right.patches.swapaxes(2, 3)
        T, kept = S.copy(), []
        for layer in range(self.depth):
            if layer:
                S = self.loops.windows(S, *self._forward(S))
                T = self.loops.windows(T, *self._forward(T))
                T += S
            if keep:
                kept.append((S.copy(), T.copy()))
            self.loops.relu_values(S, T, *_deviations(left, right, layer))
        return S, T, kept

    def _work(self, left, right):
        """Return the work of a kernel matrix in rows of a kernel machine."""
        pixels = left.n_patches * self.depth * len(self._offsets(left))
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
        return total / (left.n_patches * weight.sum())

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
        found = self.loops.to_numpy(found)
        return found.reshape(mapped.n_patches, *found.shape[2:])

    def _groups(self, images, components, n_outputs):
        """Return of how many images the gradients fit the bound on memory."""
        k = images.shape[3] * self.size**2 if components is None else len(components)
        rows, columns = self.grids(images.shape[1:])[0]
        return max(1, _MOST_GRADIENTS // (rows * columns * k * n_outputs))

    def _gradients(self, left, images, components, coef):
        """Return what `gradients` does, given MappedPatches of the left images."""
        n, k = left.patches.shape[2:]
        step, _ = self.loops.tile_shape(left.n_patches)
        tasks = [(part,) for part in slices(n, min(step, -(-n // 2)))]
        total = None
        for block in self._blocks(images, components):
            right = self.map(images[block], components)
            alpha = self.loops.asarray(coef[block])
            out = self.loops.empty((*left.patches.shape[:3], coef.shape[1], k))

            def fill(part, right=right, alpha=alpha, out=out):
                out[:, :, part] = self._gradients_of(left[part], right, alpha)

            self.loops.run(fill, tasks, self._work(left, right))
            total = out if total is None else total + out
        return total

    def _gradients_of(self, left, right, coef):
        """Return the gradients (rows, columns, n, c, k) of k(left, right) @ coef."""
        n_outputs, k = coef.shape[1], left.patches.shape[3]
        out = self._zeros((*left.patches.shape[:3], n_outputs, k))
        own = [self._zeros((*root.shape, n_outputs)) for root in left.roots]
        _, columns = self.loops.tile_shape(left.n_patches)
        for images in slices(len(right), columns):
            others, alpha = right[images], coef[images]
            for offset, weight in self._offsets(left).items():
                parts = self._at_offset(left, others, offset)
                dS, das = self._derivatives(*parts, weight / prod(left.last_grid))
                for total, da in zip(own, das, strict=True):
                    total[self._pixels_at(offset, total.shape[:2])] += da @ alpha
                found = out[self._pixels_at(offset, out.shape[:2])]  # a view
                for output, weights in enumerate(alpha.T):
                    found[..., output, :] += (dS * weights) @ parts[1].patches
        out += 2 * self._of_patches(own)[..., None] * left.patches[..., None, :]
        return out

    def _of_patches(self, totals):
        """Return derivatives in variances of patches from those of every layer.

        A variance of one layer is the mean over a window of the layer before, whether
        or not these pixels have partners in other images.
        """
        *below, total = totals
        for before in reversed(below):
            total = before + self.loops.windows(total, *self._backward(total))
        return total

    def _zeros(self, shape):
        """Return zeros on the device."""
        zeros = self.loops.empty(shape)
        zeros[:] = 0
        return zeros

    def _derivatives(self, left, right, share):
        """Return derivatives of `share` times the sum over the last layer's pixels.

        Returns
        -------
        dS : array of shape (rows, columns, n_left, n_right)
            In the covariances of patches.
        das : list of arrays of such shapes
            In the variances of `left` that the activation of each layer gets, given
            those of the other layers.
        """
        *_, kept = self._layers(left, right, keep=True)
        dS, das = np.full_like(kept[-1][0], share), []
        dT = dS.copy()
        for layer in reversed(range(self.depth)):
            S, T = kept.pop()
            das.append(np.zeros_like(S))
            deviations = _deviations(left, right, layer)
            self.loops.relu_derivatives(S, T, *deviations, dS, dT, das[-1])
            if layer:
                dS, dT = (self.loops.windows(x, *self._backward(x)) for x in (dS, dT))
        return dS, das[::-1]


def _deviations(left, right, layer):
    """Return the roots of the variances of both images, and their inverses."""
    return (
        (left.roots[layer], right.roots[layer]),
        (left.inverses[layer], right.inverses[layer]),
    )
