"""
A virtual drug screen
=====================

A screen measures how drugs change the expression of genes in cell lines. Only some of
the pairs of cell and drug are measured. This example starts from a table of measured
signatures, predicts the signatures of the untested pairs, estimates the accuracy of
these predictions, and ranks the untested pairs by how well they would reverse an
unwanted signature.

The table is simulated, so that the example needs no file: every drug acts along a few
pathways, more or less strongly in each cell. For real data, use a table with an index
of cell and drug, a column for each gene, and NaN in the rows that were not measured.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skrfm import NTKMatrixCompleter
from skrfm.completion import (
    profile_scores,
    rank_untested,
    screen_priors,
    within_cell_splits,
)

# %%
# The table
# ---------
# 14 cells, 20 drugs, 120 genes; 45 % of the pairs are measured.

rng = np.random.default_rng(0)
cells = [f"cell {i}" for i in range(14)]
drugs = [f"drug {j}" for j in range(20)]
genes = [f"gene {k}" for k in range(120)]
pathways = rng.normal(size=(4, 120))
of_drug = rng.normal(size=(20, 4))
of_cell = 1 + 0.5 * rng.normal(size=(14, 4))
effects = np.einsum("ip,jp,pk->ijk", of_cell, of_drug, pathways)
effects += 0.8 * rng.normal(size=effects.shape)
pairs = pd.MultiIndex.from_product([cells, drugs], names=["cell", "drug"])
screen = pd.DataFrame(effects.reshape(-1, 120), index=pairs, columns=genes)
tested = rng.random(len(screen)) < 0.45
screen[~tested] = np.nan
print(f"{tested.sum()} of {len(screen)} pairs measured")

# %%
# Accuracy of the predictions
# ---------------------------
# The measured pairs of each cell are split into folds. The priors are computed anew
# from the training pairs of each fold.


def complete(table):
    """Predict all pairs of a table from priors of its measured ones."""
    completer = NTKMatrixCompleter()
    return completer.fit_transform(table, row_features=screen_priors(table))


measured = screen[tested]
of_pair = measured.index.get_level_values("cell")
predicted = measured.copy()
for _, test in within_cell_splits(of_pair, n_splits=5, random_state=0):
    shown = screen.copy()
    shown.loc[measured.index[test]] = np.nan
    predicted.iloc[test] = complete(shown).loc[measured.index[test]].to_numpy()
for name, score in profile_scores(measured, predicted).items():
    print(f"{name}: {score:.3f}")

# %%
# Untested pairs, ranked
# ----------------------
# The best candidate is the pair whose predicted signature is most opposed to the
# unwanted one.

unwanted = pd.Series(pathways[0] - pathways[1], index=genes)
untested = complete(screen)[~tested]
sizes = np.linalg.norm(untested, axis=1) * np.linalg.norm(unwanted)
reversal = -(untested @ unwanted) / sizes
ranked = reversal.sort_values(ascending=False)
print(ranked.head(8).round(3).to_string())

# %%
# Since the data are simulated, the predicted reversal can be compared with the true
# one:

truth = pd.DataFrame(effects.reshape(-1, 120), index=pairs, columns=genes)[~tested]
really = -(truth @ unwanted) / (
    np.linalg.norm(truth, axis=1) * np.linalg.norm(unwanted)
)

fig, axes = plt.subplots(1, 2, figsize=(8.5, 3.8), layout="constrained")
grid = reversal.unstack("drug").reindex(index=cells, columns=drugs)
image = axes[0].imshow(grid, cmap="RdBu", vmin=-1, vmax=1)
axes[0].set(title="predicted reversal of untested pairs", xlabel="drug", ylabel="cell")
fig.colorbar(image, ax=axes[0], label="minus cosine")
axes[1].scatter(reversal, really, s=14)
axes[1].plot([-1, 1], [-1, 1], color="gray", linewidth=1)
axes[1].set(title="untested pairs", xlabel="predicted", ylabel="true")
plt.show()

# %%
# How certain a ranking is
# ------------------------
# A single readout of each pair, here the measured reversal, is a matrix of cells and
# drugs. Its completion has standard deviations, so that pairs can be ranked cautiously:
# by the prediction less one standard deviation.

of_measured = -(measured @ unwanted) / (
    np.linalg.norm(measured, axis=1) * np.linalg.norm(unwanted)
)
readout = of_measured.unstack("drug").reindex(index=cells, columns=drugs)
completer = NTKMatrixCompleter().fit(readout)
cautious = rank_untested(completer, readout, by="lower_bound", n_pairs=8)
cautious["true"] = really[cautious.set_index(["row", "column"]).index].to_numpy()
print(cautious.round(3).to_string(index=False))
