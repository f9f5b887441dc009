"""
From one drug screen to another
===============================

Two laboratories have measured how cell lines respond to the same drugs, with different
assays and on different scales. The first screen is large, the second has few measured
pairs. How many pairs does the second one need with and without a model of the first?

The responses are simulated, so that the example needs no file: they depend on features
of the cell line and of the drug, and the two screens agree in part.
"""

import matplotlib.pyplot as plt
import numpy as np

from skrfm import RFMRegressor, TransferKernel
from skrfm.inspection import ScalingLawDisplay, scaling_law

# %%
# Two screens
# -----------
# Each row is a pair of cell line and drug, with five features of each.

rng = np.random.default_rng(0)
cells, drugs = rng.normal(size=(60, 5)), rng.normal(size=(40, 5))
W = rng.normal(size=(5, 5)) / 3


def pairs(cell_rows):
    """Return features of all pairs of some cell lines with the drugs."""
    cell, drug = np.meshgrid(cell_rows, np.arange(40), indexing="ij")
    return np.hstack([cells[cell.ravel()], drugs[drug.ravel()]])


def response(X):
    """Return what both screens share: sensitivity, and strength of the drug."""
    return np.tanh(np.sum((X[:, :5] @ W) * X[:, 5:], axis=1)) + 0.5 * X[:, 5]


X_first, X_second = pairs(np.arange(30)), pairs(np.arange(30, 60))
first = response(X_first) + 0.3 * rng.normal(size=len(X_first))
own = 0.5 * np.sin(2 * X_second[:, 6])  # measured by the second assay only
second = 0.7 * response(X_second) + own + 0.3 * rng.normal(size=len(X_second))

# %%
# A model of the first screen
# ---------------------------

source = RFMRegressor(kernel="laplace", scaling=None, random_state=0).fit(
    X_first, first
)
print(
    f"correlation with the second screen: "
    f"{np.corrcoef(source.predict(X_second), second)[0, 1]:.2f}"
)

# %%
# Scaling laws
# ------------
# Scores are fitted by a linear function of the logarithm of the number of pairs, with
# and without the source. From these laws follows how many pairs without transfer reach
# the same score as a given number of pairs with it.

transfer = TransferKernel(
    source, RFMRegressor(kernel="laplace", scaling=None), random_state=0
)
law = scaling_law(
    transfer,
    X_second,
    second,
    train_sizes=[25, 50, 100, 200],
    n_repeats=5,
    random_state=0,
)
display = ScalingLawDisplay(law, score_name="R²").plot()
display.figure_.set_size_inches(6, 4)
reached = law.predict("transfer", 50)
needed = np.exp((reached - law.intercept["no transfer"]) / law.slope["no transfer"])
print(f"50 pairs with the source are worth {needed:.0f} pairs without it")
for name in law.scores:
    print(
        f"{name}: {law.slope[name]:.3f} ± {law.slope_error[name]:.3f} log n "
        f"{law.intercept[name]:+.3f}, off by {law.error[name]:.3f}"
    )
plt.show()
