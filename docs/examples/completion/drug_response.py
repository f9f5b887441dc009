"""
The missing measurements of a drug screen
=========================================

A screen measures how strongly each drug inhibits each cell line; some pairs are never
measured. This example completes such a matrix and estimates the error of the completion
by cross-validation over the measured pairs. It reads a file with an array ``Y`` of
shape (cell lines, drugs) in which missing pairs are NaN, for example the ln IC50 values
that the Genomics of Drug Sensitivity in Cancer project publishes::

    python drug_response.py screen.npz picture.png
"""
# sphinx_gallery_thumbnail_path = '_static/drug_response.png'

import sys

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import KFold, cross_val_predict

from skrfm import EntryRegressor, LinRFMCompleter


def main(path, picture):
    with np.load(path, allow_pickle=False) as file:
        Y = file["Y"].astype(float)
    pairs = np.argwhere(~np.isnan(Y))
    values = Y[tuple(pairs.T)]
    completer = LinRFMCompleter(random_state=0)
    regressor = EntryRegressor(completer, shape=Y.shape)
    folds = KFold(5, shuffle=True, random_state=0)
    predicted = cross_val_predict(regressor, pairs, values, cv=folds)
    drug_means = np.nanmean(Y, axis=0)[pairs[:, 1]]
    residual = values - drug_means
    print(f"{Y.shape[0]} cell lines, {Y.shape[1]} drugs, {len(values)} pairs measured")
    error = np.sqrt(np.mean((predicted - values) ** 2))
    print(
        f"root mean square error {error:.3f}; of the drugs' means {residual.std():.3f}"
    )
    r = np.corrcoef(predicted - drug_means, residual)[0, 1]
    print(f"correlation within drugs {r:.3f}")

    completed = completer.fit_transform(Y)
    print(f"rank {completer.rank_}")
    by_drug, by_cell = np.argsort(completed.mean(0)), np.argsort(completed.mean(1))
    order = np.ix_(by_cell, by_drug)
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    limits = np.percentile(values, [1, 99])
    for ax, matrix, title in (
        (axes[0], Y, "measured"),
        (axes[1], completed, "completed"),
    ):
        shown = ax.imshow(
            matrix[order],
            aspect="auto",
            interpolation="nearest",
            vmin=limits[0],
            vmax=limits[1],
        )
        ax.set(title=title, xlabel="drugs", ylabel="cell lines")
    figure.colorbar(shown, ax=axes[:2], label="ln IC50")
    axes[2].hexbin(values, predicted, gridsize=60, bins="log", cmap="Greys")
    axes[2].axline((0, 0), slope=1, linewidth=0.8)
    axes[2].set(title="held-out pairs", xlabel="measured", ylabel="predicted")
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("Usage: python drug_response.py FILE_WITH_Y PICTURE")
    main(*sys.argv[1:])
