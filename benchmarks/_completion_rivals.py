"""Other ways to complete a matrix, written naively: for comparison only.

Each takes Y with NaN where entries are missing and returns the completed matrix. Those
that have parameters choose them on a tenth of the observed entries.
"""

import numpy as np
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer

HIDDEN_SHARE = 0.1


def hide(Y, seed=0):
    """Return Y with a tenth of its observed entries hidden, and the mask of those."""
    rng = np.random.default_rng(seed)
    hidden = ~np.isnan(Y) & (rng.random(Y.shape) < HIDDEN_SHARE)
    return np.where(hidden, np.nan, Y), hidden


def error_on(Y, W, hidden):
    """Return the root mean square error on hidden entries."""
    return float(np.sqrt(np.mean((Y - W)[hidden] ** 2)))


def soft_impute(Y):
    """Nuclear norm by singular value thresholding along a path of penalties."""
    shown, hidden = hide(Y)
    top = np.linalg.norm(np.nan_to_num(Y), 2)
    penalties = top * np.geomspace(0.5, 3e-3, 12)

    def path(observed, count):
        seen, filled = ~np.isnan(observed), np.nan_to_num(observed)
        W = np.zeros_like(filled)
        for penalty in penalties[:count]:
            for _ in range(20):
                U, s, Vt = np.linalg.svd(np.where(seen, filled, W), full_matrices=False)
                before, W = W, (U * np.maximum(s - penalty, 0)) @ Vt
                change = np.linalg.norm(W - before)
                if change < 1e-4 * max(np.linalg.norm(W), 1e-12):
                    break
            yield W

    errors = [error_on(Y, W, hidden) for W in path(shown, len(penalties))]
    *_, W = path(Y, int(np.argmin(errors)) + 1)
    return W


def svd_irls(Y):
    """Log-det by reweighted least squares, the metric by an SVD of each iterate.

    How far to go in the smoothing is chosen on hidden entries, of at most 80 iterates.
    """
    shown, hidden = hide(Y)

    def path(observed, count):
        seen, filled = ~np.isnan(observed), np.nan_to_num(observed)
        n, W = filled.shape[1], filled
        eps = np.linalg.norm(filled, 2)
        for _ in range(count):
            _, s, Vt = np.linalg.svd(W, full_matrices=True)
            squares = np.zeros(n)
            squares[: len(s)] = s**2
            P = (Vt.T * (squares + eps**2)) @ Vt
            W = np.zeros_like(filled)
            for i in range(len(filled)):
                c = seen[i]
                if c.any():
                    A = P[np.ix_(c, c)] + 0.5 * eps**2 * np.eye(c.sum())
                    W[i] = P[:, c] @ np.linalg.solve(A, filled[i, c])
            eps *= 0.75
            yield W

    errors = []
    for W in path(shown, 80):
        errors.append(error_on(Y, W, hidden))
        if len(errors) - np.argmin(errors) > 10:
            break
    *_, W = path(Y, int(np.argmin(errors)) + 1)
    return W


def alternating_least_squares(Y):
    """Factors of a given rank by ridge regressions in turn, both chosen."""
    shown, hidden = hide(Y)

    def fit(observed, rank, ridge):
        rng = np.random.default_rng(0)
        seen, filled = ~np.isnan(observed), np.nan_to_num(observed)
        V = rng.standard_normal((observed.shape[1], rank)) / np.sqrt(rank)
        for _ in range(200):
            U = half_sweep(seen, filled, V, ridge)
            V = half_sweep(seen.T, filled.T, U, ridge)
        return U @ V.T

    def half_sweep(seen, filled, V, ridge):
        products = (V[:, :, None] * V[:, None, :]).reshape(len(V), -1)
        rank = V.shape[1]
        A = (seen @ products).reshape(-1, rank, rank) + ridge * np.eye(rank)
        return np.linalg.solve(A, (filled @ V)[:, :, None])[:, :, 0]

    choices = [(k, r) for k in (2, 5, 10, 20) for r in (1e-3, 0.1, 1.0, 10.0)]
    errors = [error_on(Y, fit(shown, *choice), hidden) for choice in choices]
    return fit(Y, *choices[int(np.argmin(errors))])


def deep_linear_network(Y, depth=3, steps=1500, rate=2e-3):
    """Product of square layers by gradient descent (Adam), stopped early."""
    shown, hidden = hide(Y)
    scale = np.sqrt(np.nanmean(Y**2))

    def train(observed, count):
        rng = np.random.default_rng(0)
        seen = (~np.isnan(observed)).astype(np.float32)
        target = np.nan_to_num(observed / scale).astype(np.float32)
        m, n = target.shape
        k = min(m, n)
        sizes = [m, *[k] * (depth - 1), n]
        layers = [
            (0.02 * rng.standard_normal(size)).astype(np.float32)
            for size in zip(sizes[:-1], sizes[1:], strict=True)
        ]
        moments = [(np.zeros_like(a), np.zeros_like(a)) for a in layers]
        for step in range(1, count + 1):
            ahead = [layers[0]]
            for layer in layers[1:]:
                ahead.append(ahead[-1] @ layer)
            G = seen * (ahead[-1] - target)
            for i in range(depth - 1, -1, -1):
                gradient = G if i == 0 else ahead[i - 1].T @ G
                G = G @ layers[i].T if i else G
                first, second = moments[i]
                first += 0.1 * (gradient - first)
                second += 0.001 * (gradient**2 - second)
                corrected = first / (1 - 0.9**step)
                spread = np.sqrt(second / (1 - 0.999**step)) + 1e-8
                layers[i] = layers[i] - rate * corrected / spread
            if step % 50 == 0:
                yield ahead[-1] * scale

    errors = []
    for W in train(shown, steps):
        errors.append(error_on(Y, W, hidden))
        if len(errors) - np.argmin(errors) > 5:
            break
    *_, W = train(Y, 50 * (int(np.argmin(errors)) + 1))
    return W


def knn(Y):
    """scikit-learn's KNNImputer, the number of neighbours chosen."""
    shown, hidden = hide(Y)
    choices = (5, 10, 20, 40)

    def fit(observed, k):
        imputer = KNNImputer(
            n_neighbors=k, weights="distance", keep_empty_features=True
        )
        return imputer.fit_transform(observed)

    errors = [error_on(Y, fit(shown, k), hidden) for k in choices]
    return fit(Y, choices[int(np.argmin(errors))])


def iterative(Y):
    """scikit-learn's IterativeImputer: Bayesian ridge on the 50 nearest columns."""
    imputer = IterativeImputer(
        max_iter=3, n_nearest_features=50, keep_empty_features=True, random_state=0
    )
    return imputer.fit_transform(Y)


RIVALS = {
    "softImpute": soft_impute,
    "SVD-based IRLS": svd_irls,
    "ALS": alternating_least_squares,
    "deep linear (3)": deep_linear_network,
    "KNNImputer": knn,
    "IterativeImputer": iterative,
}
