"""
Inpainting with a convolutional tangent kernel
==============================================

:class:`~skrfm.CNTKInpainter` predicts missing pixels by kernel regression. The kernel
is that of an infinitely wide convolutional network that downsamples noise and upsamples
it again. It depends on the positions of two pixels, and is not trained on other images.
"""

# %%
# The image
# ---------
# A part of a photograph that ships with scikit-learn. Two thirds of the pixels are
# missing: they are NaN in all three colours.

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_image

from skrfm import CNTKInpainter, LinRFMCompleter

image = load_sample_image("china.jpg")[60:188, 260:388] / 255.0
missing = np.random.default_rng(0).random(image.shape[:2]) < 2 / 3
X = np.where(missing[:, :, None], np.nan, image)

# %%
# The prediction
# --------------
# Upsampling by nearest neighbours gives rough images, bilinear upsampling smooth ones.
# The tangent kernel corresponds to training all layers, the other kernel to training
# the last layer only, which is smoother. The prediction is a weighted sum over several
# such kernels; the weights are fitted to observed pixels that are hidden first.

inpainter = CNTKInpainter(n_levels=3, random_state=0).fit(X)
filled = inpainter.transform(X)
for (upsampling, tangent), weight in inpainter.weights_.items():
    print(f"{upsampling:8}  tangent {tangent:<5g}  weight {weight:.2f}")

# %%
# The peak signal-to-noise ratio of the missing pixels and the structural similarity of
# the whole image, compared with those of low-rank matrix completion.


def signal_to_noise(prediction):
    """Return 10 log10(1 / mean square error) over the missing pixels, in decibels."""
    return -10 * np.log10(np.mean((prediction - image)[missing] ** 2))


def similarity(prediction):
    """Return the mean structural similarity (SSIM) in Gaussian windows."""

    def mean(values):
        return gaussian_filter(values, (1.5, 1.5, 0))

    a, b = mean(prediction), mean(image)
    variances = mean(prediction**2) - a**2 + mean(image**2) - b**2
    covariance = mean(prediction * image) - a * b
    level = (2 * a * b + 1e-4) / (a**2 + b**2 + 1e-4)
    return np.mean(level * (2 * covariance + 9e-4) / (variances + 9e-4))


planes = [LinRFMCompleter(random_state=0).fit_transform(X[..., k]) for k in range(3)]
low_rank = np.clip(np.stack(planes, axis=-1), 0, 1)
for name, found in (("CNTKInpainter", filled), ("LinRFMCompleter", low_rank)):
    print(f"{name:16} {signal_to_noise(found):.1f} dB  SSIM {similarity(found):.3f}")

# %%
# What it looks like
# ------------------

figure, axes = plt.subplots(1, 4, figsize=(12, 3.3), layout="constrained")
titles = "a third of the pixels", "low rank", "CNTKInpainter", "all of the pixels"
pictures = np.nan_to_num(X, nan=1.0), low_rank, filled, image
for ax, picture, title in zip(axes, pictures, titles, strict=True):
    ax.imshow(picture)
    ax.set_title(title)
    ax.set_axis_off()
