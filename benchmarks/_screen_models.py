"""Models of drug screens: functions that complete a matrix with gaps."""

import numpy as np
from _completion_methods import knn
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

from skrfm import LinRFMCompleter, MatrixCompleter, NTKMatrixCompleter
from skrfm.completion._choice._means import ShrunkMeans
from skrfm.completion._entries import ObservedEntries


def response_models(screen, split):
    """Return {name: function that completes a matrix}, by what is held out."""
    across = split == "columns"
    models = side_models(screen.columns if across else screen.rows)
    if across:
        if screen.kernel is not None:
            models["NTK, kernel"] = ntk(row_kernel=screen.kernel)
        models = {name: transposed(model) for name, model in models.items()}
    if split == "entries":
        models |= entry_models(screen)
    models |= {
        "shrunk means": shrunk_means,
        "random forest": trees(screen, forest),
        "gradient boosting": trees(screen, boosting),
        "MatrixCompleter": one_door(screen),
    }
    both = {"columns": screen.columns, "col_kernel": screen.kernel}
    if any(side is not None for side in both.values()):
        both |= {"rows": screen.rows, "prior_identity": 1.0}
        models["NTK, both sides"] = ntk(**both)
    return models


def side_models(features):
    """Return models of whole rows, from their features where there are any."""
    models = {"mean": lambda X: np.broadcast_to(np.nanmean(X, axis=0), X.shape)}
    if features is not None:
        models["ridge"] = lambda X: ridge(X, features)
        models["NTK, features"] = ntk(rows=features)
        models["NTK, features, depth 1"] = ntk(rows=features, depth=1)
    return models


def entry_models(screen):
    """Return models of random entries."""
    rows, kernel = screen.rows, screen.kernel
    low_rank = LinRFMCompleter(random_state=0)
    models = {
        "KNNImputer": knn,
        "LinRFMCompleter": LinRFMCompleter(random_state=0).fit_transform,
        "NTK, entries": ntk(),
        "NTK, features + entries": ntk(rows=rows, prior_entries=2.0),
        "NTK after LinRFM, features": ntk(rows=rows, first_completer=low_rank),
    }
    if kernel is not None:
        after = ntk(row_kernel=kernel, first_completer=low_rank)
        models["NTK after LinRFM, kernel"] = transposed(after)
    return models


def ridge(X, F):
    """Complete by ridge regression on features, the ridge by leave-one-out."""
    K = F @ F.T
    completer = NTKMatrixCompleter(alphas=np.geomspace(1e-3, 1e3, 13))
    return completer.fit_transform(X, row_kernel=2 * K / np.mean(np.diag(K)))


def transposed(complete):
    """Return a function that completes the transposed matrix."""
    return lambda X: complete(X.T).T


def ntk(*, rows=None, row_kernel=None, columns=None, col_kernel=None, **parameters):
    """Return a function that completes a matrix from what is known of its sides."""
    sides = {
        "row_features": rows,
        "row_kernel": row_kernel,
        "col_features": columns,
        "col_kernel": col_kernel,
    }
    sides = {name: side for name, side in sides.items() if side is not None}

    def complete(X):
        completer = NTKMatrixCompleter(random_state=0, **parameters)
        return completer.fit_transform(X, **sides)

    return complete


def one_door(screen):
    """Return a function that completes a matrix by what predicts hidden entries."""
    sides = {
        "row_features": screen.rows,
        "col_features": screen.columns,
        "col_kernel": screen.kernel,
    }
    sides = {name: side for name, side in sides.items() if side is not None}
    return lambda X: MatrixCompleter(random_state=0).fit_transform(X, **sides)


def shrunk_means(X):
    """Complete by the effects of rows and columns, both shrunk."""
    rows, cols = np.nonzero(~np.isnan(X))
    entries = ObservedEntries(rows, cols, X[rows, cols], shape=X.shape)
    means = ShrunkMeans.of(entries)
    return means.dense(means.rows)


# -- trees on concatenated features ---------------------------------------------------


def trees(screen, make):
    """Return a function that completes a matrix by one regressor of all entries.

    Its features are those of the row and of the column, side by side.
    """
    columns = screen.kernel if screen.columns is None else screen.columns
    left, right = (F.astype(np.float32) for F in (screen.rows, columns))

    def features(rows, cols):
        return np.hstack([left[rows], right[cols]])

    def complete(X):
        observed = ~np.isnan(X)
        at, gaps = np.nonzero(observed), np.nonzero(~observed)
        model = make().fit(features(*at), X[at])
        completed = X.copy()
        completed[gaps] = model.predict(features(*gaps))
        return completed

    return complete


def forest():
    """Return a random forest."""
    # a tenth of the features a split, as wide fingerprints are sparse; half the rows a
    # tree, which halves the time
    return RandomForestRegressor(
        n_estimators=50,
        max_features=0.1,
        max_samples=0.5,
        min_samples_leaf=2,
        n_jobs=-1,
        random_state=0,
    )


def boosting():
    """Return gradient boosting, stopped early."""
    return HistGradientBoostingRegressor(
        max_iter=300, max_features=0.1, early_stopping=True, random_state=0
    )
