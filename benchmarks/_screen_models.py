"""Models of drug screens: functions that complete a matrix with gaps."""

import numpy as np
from _completion_methods import knn
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.model_selection import GroupShuffleSplit

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
        "random forest": trees(screen, split, forests),
        "gradient boosting": trees(screen, split, boostings),
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

# Principal components of each side: with 50 instead of 20 both ensembles predict whole
# rows of ctrp worse (normalised correlation .09 and .11, instead of .11 and .15).
N_COMPONENTS = 20
# Trees of a forest, of those that are only compared, and the most iterations of
# boosting, which takes the best number.
N_TREES, N_COMPARED, MAX_ITER = 100, 30, 150


def trees(screen, split, candidates):
    """Return a function that completes a matrix by one regressor of all entries.

    Its features are principal components of the features of the row and of the column,
    side by side, those of rows and columns with entries. The parameters are chosen on a
    fifth of the entries, of whole rows or columns where those are what is held out.
    """
    columns = screen.kernel if screen.columns is None else screen.columns

    def complete(X):
        observed = ~np.isnan(X)
        left = components(screen.rows, observed.any(axis=1))
        right = components(columns, observed.any(axis=0))

        def features(rows, cols):
            return np.hstack([left[rows], right[cols]])

        at, gaps = np.nonzero(observed), np.nonzero(~observed)
        train, test = inner_split(screen, split, at)
        F, y = features(*at), X[at]
        model = best_of(candidates, F, y, train=train, test=test).fit(F, y)
        completed = X.copy()
        completed[gaps] = model.predict(features(*gaps))
        return completed

    return complete


def components(F, seen):
    """Return principal components of features, fitted to the rows that are seen."""
    count = min(N_COMPONENTS, int(seen.sum()) - 1, F.shape[1])
    pca = PCA(count, svd_solver="full").fit(F[seen])
    return pca.transform(F).astype(np.float32)


def inner_split(screen, split, at):
    """Return indices of entries to train and to test parameters on, as in the split."""
    rows, cols = at
    groups = {
        "entries": np.arange(len(rows)),
        "rows": rows,
        "columns": cols,
        "tissues": None if screen.tissues is None else screen.tissues[rows],
    }[split]
    folds = GroupShuffleSplit(1, test_size=0.2, random_state=0)
    return next(folds.split(rows, groups=groups))


def best_of(candidates, F, y, *, train, test):
    """Return the regressor that predicts the test entries best, not fitted."""
    found = []
    for model in candidates():
        model.fit(F[train], y[train])
        if isinstance(model, RandomForestRegressor):
            found.append((loss(y[test], model.predict(F[test])), model))
            continue
        losses = [loss(y[test], guess) for guess in model.staged_predict(F[test])]
        best = int(np.argmin(losses))
        found.append((losses[best], model.set_params(max_iter=best + 1)))
    model = min(found, key=lambda pair: pair[0])[1]
    if isinstance(model, RandomForestRegressor):
        model.set_params(n_estimators=N_TREES)
    return model


def loss(y, predicted):
    """Return the mean squared error."""
    return float(np.mean((y - predicted) ** 2))


def forests():
    """Yield random forests."""
    for max_features in (0.1, 0.3):
        for min_samples_leaf in (5, 50):
            # half the rows a tree halve the time
            yield RandomForestRegressor(
                n_estimators=N_COMPARED,
                max_features=max_features,
                max_samples=0.5,
                min_samples_leaf=min_samples_leaf,
                n_jobs=-1,
                random_state=0,
            )


def boostings():
    """Yield gradient boosting of trees of several sizes."""
    for max_leaf_nodes in (6, 31):
        yield HistGradientBoostingRegressor(
            max_iter=MAX_ITER,
            max_leaf_nodes=max_leaf_nodes,
            max_features=0.3,
            early_stopping=False,
            random_state=0,
        )
