"""
An image with half of its pixels missing
========================================

:class:`~skrfm.LinRFMCompleter` predicts the missing entries of a matrix. An image is
close to a matrix of low rank, so half of its pixels determine most of the others.
Neither the rank nor the noise is given: both are estimated from the observed pixels.
"""

# %%
# The image
# ---------
# A photograph that ships with scikit-learn. Its three colours are concatenated along
# the columns, so that they share the factors of the rows; a missing pixel is missing in
# all three.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from skrfm import LinRFMCompleter

image = load_sample_image("china.jpg")[40:400, 80:600] / 255.0
height, width, colours = image.shape
rng = np.random.default_rng(0)
missing = rng.random((height, width)) < 0.5
seen = np.where(missing[:, :, None], np.nan, image)
X = seen.transpose(0, 2, 1).reshape(height, colours * width)
print(X.shape, round(float(np.isnan(X).mean()), 3))

# %%
# The completion
# --------------
# No matrix of low rank matches the pixels exactly, so the completer hides a tenth of
# the observed ones and stops when their predictions no longer improve.

completer = LinRFMCompleter(max_rank=40, random_state=0).fit(X)
completed = np.clip(completer.transform(X), 0, 1)
filled = completed.reshape(height, colours, width).transpose(0, 2, 1)
print(completer.rank_, round(completer.validation_score_, 3))

# %%
# The error is reported as the peak signal-to-noise ratio of the missing pixels, and
# compared with that of the column means.


def signal_to_noise(prediction):
    """Return 10 log10(1 / mean square error) over the missing pixels, in decibels."""
    return -10 * np.log10(np.mean((prediction - image)[missing] ** 2))


means = np.broadcast_to(np.nanmean(seen, axis=0), image.shape)
print(f"means of the columns {signal_to_noise(means):.1f} dB")
print(f"LinRFMCompleter      {signal_to_noise(filled):.1f} dB")

# %%
# What it looks like
# ------------------

figure, axes = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
titles = "half of the pixels", "completed", "all of the pixels"
for ax, picture, title in zip(
    axes, (np.nan_to_num(seen, nan=1.0), filled, image), titles, strict=True
):
    ax.imshow(picture)
    ax.set_title(title)
    ax.set_axis_off()

# %%
# History
# -------
# ``history_`` contains the stages: the search for an exact match, which fails; the
# error on hidden pixels while the smoothing ε decreases and the rank grows; and the fit
# to all observed pixels, up to the best ε.

history = completer.history_
hidden = history["stage"] == "hide"
figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
ax.semilogx(history["epsilon"][hidden], history["score"][hidden], marker=".")
ax.invert_xaxis()
ax.set(xlabel="smoothing ε", ylabel="error on hidden pixels")
ax2 = ax.twinx()
ax2.semilogx(history["epsilon"][hidden], history["rank"][hidden], color="0.6")
_ = ax2.set_ylabel("rank", color="0.5")
