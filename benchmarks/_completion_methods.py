"""Other methods of matrix completion, written naively: for comparison only.

Each takes Y with NaN where entries are missing and returns the completed matrix.
Methods with parameters choose them on a tenth of the observed entries.
"""

import numpy as np
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer

HIDDEN_SHARE = 0.1


def hide(Y, seed=0):
    """Return Y with a tenth of its observed entries hidden, and the mask of these."""
    rng = np.random.default_rng(seed)
    hidden = ~np.isnan(Y) & (rng.random(Y.shape) < HIDDEN_SHARE)
    return np.where(hidden, np.nan, Y), hidden


def error_on(Y, W, hidden):
    """Return the root mean square error on hidden entries."""
    return float(np.sqrt(np.mean((Y - W)[hidden] ** 2)))


def best_iterate(iterates, Y, hidden, *, patience=None):
    """Return the number of the iterate of least error on hidden entries.

    It ends when more than `patience` iterates in turn were no better.
    """
    errors = []
    for W in iterates:
        errors.append(error_on(Y, W, hidden))
        best = int(np.argmin(errors))
        if patience is not None and len(errors) - best > patience:
            break
    return best


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

    best = best_iterate(path(shown, len(penalties)), Y, hidden)
    *_, W = path(Y, best + 1)
    return W


def svd_irls(Y):
    """Log-det by reweighted least squares, the metric by an SVD of each iterate.

    The iterate is chosen on hidden entries, of at most 80.
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

    best = best_iterate(path(shown, 80), Y, hidden, patience=10)
    *_, W = path(Y, best + 1)
    return W


def alternating_least_squares(Y):
    """Alternating ridge regressions of two factors; rank and ridge are chosen."""
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


class Adam:
    """Steps of gradient descent with adaptive rates, on a list of arrays in place."""

    def __init__(self, arrays, rate):
        self.arrays, self.rate, self.count = arrays, rate, 0
        self.moments = [(np.zeros_like(a), np.zeros_like(a)) for a in arrays]

    def step(self, gradients):
        """Update the arrays."""
        self.count += 1
        for i, gradient in enumerate(gradients):
            first, second = self.moments[i]
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient**2 - second)
            corrected = first / (1 - 0.9**self.count)
            spread = np.sqrt(second / (1 - 0.999**self.count)) + 1e-8
            self.arrays[i] = self.arrays[i] - self.rate * corrected / spread


def layer_gradients(layers, products, G):
    """Return the gradients of the layers, where G is that of their product."""
    gradients = []
    for i in range(len(layers) - 1, -1, -1):
        gradients.insert(0, G if i == 0 else products[i - 1].T @ G)
        G = G @ layers[i].T if i else G
    return gradients


def train_layers(observed, *, depth, n_steps, rate=2e-3):
    """Yield the completed matrix after every 50 steps."""
    rng = np.random.default_rng(0)
    seen = (~np.isnan(observed)).astype(np.float32)
    target = np.nan_to_num(observed).astype(np.float32)
    m, n = target.shape
    sizes = [m, *[min(m, n)] * (depth - 1), n]
    layers = [
        (0.02 * rng.standard_normal(size)).astype(np.float32)
        for size in zip(sizes[:-1], sizes[1:], strict=True)
    ]
    optimizer = Adam(layers, rate)
    for step in range(1, n_steps + 1):
        products = [layers[0]]
        for layer in layers[1:]:
            products.append(products[-1] @ layer)
        G = seen * (products[-1] - target)
        optimizer.step(layer_gradients(layers, products, G))
        if step % 50 == 0:
            yield products[-1]


def deep_linear_network(Y, depth=3, n_steps=1500):
    """Product of square layers by gradient descent (Adam), stopped early."""
    shown, hidden = hide(Y)
    scale = np.sqrt(np.nanmean(Y**2))
    iterates = train_layers(shown / scale, depth=depth, n_steps=n_steps)
    best = best_iterate((W * scale for W in iterates), Y, hidden, patience=5)
    *_, W = train_layers(Y / scale, depth=depth, n_steps=50 * (best + 1))
    return W * scale


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


METHODS = {
    "softImpute": soft_impute,
    "SVD-based IRLS": svd_irls,
    "ALS": alternating_least_squares,
    "deep linear (3)": deep_linear_network,
    "KNNImputer": knn,
    "IterativeImputer": iterative,
}
