"""
Digits across label sets and under corruption
=============================================

The source is a model of clean digits. There are three target tasks: the same digits
with noise, with blur, and digits that the source was not trained on. Each has a few
dozen rows. The method of transfer, or none, is chosen automatically.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits

from skrfm import RFMClassifier, TransferKernel

# %%
# Source and targets
# ------------------

X, y = load_digits(return_X_y=True)
X = X / 16
rng = np.random.default_rng(0)
source = RFMClassifier(kernel="laplace", scaling=None, random_state=0).fit(
    X[:900], y[:900]
)
noisy = X[900:] + 0.3 * rng.normal(size=X[900:].shape)
blurred = gaussian_filter(X[900:].reshape(-1, 8, 8), (0, 0.8, 0.8)).reshape(-1, 64)
few = (y[:900] < 5).nonzero()[0]
half = RFMClassifier(kernel="laplace", scaling=None, random_state=0).fit(X[few], y[few])
others = (y[900:] >= 5).nonzero()[0]
tasks = {
    "noise": (source, noisy, y[900:]),
    "blur": (source, blurred, y[900:]),
    "other digits": (half, X[900:][others], y[900:][others]),
}

fig, axes = plt.subplots(1, 3, figsize=(6, 2.2))
for ax, (name, (_, rows, _)) in zip(axes, tasks.items(), strict=True):
    ax.imshow(
        rows[:4].reshape(2, 2, 8, 8).swapaxes(1, 2).reshape(16, 16), cmap="gray_r"
    )
    ax.set(title=name, xticks=[], yticks=[])

# %%
# With and without transfer
# -------------------------
# ``method_`` is the chosen method, and ``cv_results_`` contains its gain on rows that
# were left out. For noise and blur the source helps. A model of the digits 0 to 4
# contains little information about 5 to 9, and no transfer is chosen.

n = 50
names, errors = list(tasks), {"no transfer": [], "transfer": []}
for name, (model, rows, labels) in tasks.items():
    with_source = TransferKernel(model, random_state=0).fit(rows[:n], labels[:n])
    alone = TransferKernel(model, method="none", random_state=0)
    alone.fit(rows[:n], labels[:n])
    for kind, fitted in (("no transfer", alone), ("transfer", with_source)):
        errors[kind].append(1 - fitted.score(rows[n:], labels[n:]))
    results = with_source.cv_results_
    print(f"{name}: {with_source.method_}")
    for row in zip(*results.values(), strict=True):
        print("   {:12s} loss {:.3f}, gain {:.3f} ± {:.3f}".format(*row))

fig, ax = plt.subplots(figsize=(5, 3))
for shift, (kind, values) in zip((-0.2, 0.2), errors.items(), strict=True):
    ax.bar(np.arange(3) + shift, values, width=0.4, label=kind)
ax.set(xticks=range(3), xticklabels=names, ylabel=f"error with {n} rows")
ax.legend()
fig.tight_layout()
plt.show()
