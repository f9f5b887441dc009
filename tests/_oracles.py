"""Slow, plain implementations that the package is compared with.

Everything here is written from the formulas, in float64, and imports nothing from
skrfm: one pair of rows at a time where that is fast enough, SciPy's `cdist` where a
whole matrix is needed. Kernels are distinguished by the name of their class.
"""

import cmath
import itertools
import math

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import expit, softmax

# -- kernels ----------------------------------------------------------------------


def norm_order(kernel):
    """Return the order p of the norm that the kernel is a function of."""
    return {"L1Laplace": 1.0, "LpqLaplace": getattr(kernel, "p", None)}.get(
        type(kernel).__name__, 2.0
    )


def distance(kernel, t, z):
    """Return the distance of two rows in the norm of the kernel."""
    p = norm_order(kernel)
    return sum(abs(a - b) ** p for a, b in zip(t, z, strict=True)) ** (1 / p)


def profile(kernel, r, L):
    """Return the kernel as a function of that distance."""
    match type(kernel).__name__:
        case "Laplace" | "L1Laplace":
            return math.exp(-r / L)
        case "GeneralizedLaplace":
            return math.exp(-((r / L) ** kernel.exponent))
        case "Gaussian":
            return math.exp(-(r**2) / (2 * L**2))
        case "LpqLaplace":
            return math.exp(-((r / L) ** kernel.q))
        case "Cauchy":
            return 1 / (1 + r**2 / L**2)
    raise NotImplementedError(kernel)


def profile_derivative(kernel, r, L):
    """Return the derivative of `profile` by the distance, r > 0."""
    k = profile(kernel, r, L)
    match type(kernel).__name__:
        case "Laplace" | "L1Laplace":
            return -k / L
        case "GeneralizedLaplace":
            q = kernel.exponent
            return -q / L * (r / L) ** (q - 1) * k
        case "Gaussian":
            return -r / L**2 * k
        case "LpqLaplace":
            return -kernel.q / L * (r / L) ** (kernel.q - 1) * k
        case "Cauchy":
            return -2 * r / L**2 * k**2
    raise NotImplementedError(kernel)


NETWORKS = ("NTK", "NNGP")


def of_network(kernel):
    return type(kernel).__name__ in NETWORKS


def network_value(kernel, t, z, L):
    """Return the NTK or NNGP kernel of two rows that are not parallel, for ReLU.

    Rows may be complex, as the textbook formulas are analytic.
    """
    square = kernel.bias**2
    K = sum(x * y for x, y in zip(t, z, strict=True)) / L**2 + square
    a = sum(x * x for x in t) / L**2 + square
    c = sum(y * y for y in z) / L**2 + square
    T = K
    for _ in range(kernel.depth):
        r = cmath.sqrt(a * c)
        theta = cmath.acos(K / r)
        F = r * (cmath.sin(theta) + (math.pi - theta) * cmath.cos(theta)) / math.pi
        T = F + square + T * (math.pi - theta) / math.pi
        K, a, c = F + square, a + square, c + square
    return T if type(kernel).__name__ == "NTK" else K


def network_self_value(kernel, t, L):
    """Return the NTK or NNGP kernel of a row with itself, whose angle is 0."""
    K = T = sum(x * x for x in t) / L**2 + kernel.bias**2
    for _ in range(kernel.depth):
        K = K + kernel.bias**2
        T = K + T
    return T if type(kernel).__name__ == "NTK" else K


def network_gradient(kernel, t, z, L, step=1e-30):
    """Return its gradient by t, from steps in the imaginary direction."""
    gradient = np.empty(len(t))
    for axis in range(len(t)):
        moved = np.array(t, dtype=complex)
        moved[axis] += 1j * step
        if np.array_equal(t, z):  # half the gradient of k(t, t), by symmetry
            value = network_self_value(kernel, moved, L) / 2
        else:
            value = network_value(kernel, moved, z, L)
        gradient[axis] = value.imag / step
    return gradient


def kernel_value(kernel, t, z, L):
    """Return the kernel of two rows."""
    if of_network(kernel):
        if np.array_equal(t, z):
            return network_self_value(kernel, t, L)
        return network_value(kernel, t, z, L).real
    return profile(kernel, distance(kernel, t, z), L)


def kernel_gradient(kernel, t, z, L):
    """Return its gradient by t; for a distance it is zero at equal rows."""
    if of_network(kernel):
        return network_gradient(kernel, t, z, L)
    p, r = norm_order(kernel), distance(kernel, t, z)
    if r == 0:
        return np.zeros(len(t))
    outer = profile_derivative(kernel, r, L)
    gradient = []
    for a, b in zip(t, z, strict=True):
        # d r / d a = (|a − b| / r)^(p−1) sign(a − b), and 0 at the kink a = b
        inner = (abs(a - b) / r) ** (p - 1) * np.sign(a - b) if a != b else 0.0
        gradient.append(outer * inner)
    return np.array(gradient)


def kernel_matrix(kernel, T, Z, L):
    """Return the kernel between the rows of T and of Z, one pair at a time."""
    return np.array([[kernel_value(kernel, t, z, L) for z in Z] for t in T])


def dense_values(kernel, T, Z, L):
    """Return the kernel matrix from SciPy's distances, for larger matrices."""
    p = norm_order(kernel)
    r = cdist(np.float64(T), np.float64(Z), "minkowski", p=p)
    match type(kernel).__name__:
        case "Gaussian":
            return np.exp(-0.5 * (r / L) ** 2)
        case "Cauchy":
            return 1 / (1 + (r / L) ** 2)
    return np.exp(-((r / L) ** outer_exponent(kernel)))


def dense_slopes(kernel, T, L):
    """Return W with ∇k(t_i, t_j) = W_ij |t_i − t_j|^(p−1) sign(t_i − t_j), W_ii = 0."""
    p = norm_order(kernel)
    r = cdist(np.float64(T), np.float64(T), "minkowski", p=p)
    k = dense_values(kernel, T, T, L)
    r_or_1 = np.where(r > 0, r, 1)
    match type(kernel).__name__:
        case "Gaussian":
            W = -k / L**2
        case "Cauchy":
            W = -2 * k**2 / L**2
        case _:
            q = outer_exponent(kernel)
            W = -q * r_or_1 ** (q - p) / L**q * k
    return np.where(r > 0, W, 0)


def outer_exponent(kernel):
    """Return the exponent q of exp(−(r/L)^q)."""
    return getattr(kernel, "exponent", getattr(kernel, "q", 1.0))


# -- the predictor and its gradients ----------------------------------------------


def predictor(kernel, T, coef, L):
    """Return the function x → Σ_j coef_j k(x, t_j), with values of shape (c,)."""

    def f(x):
        return sum(a * kernel_value(kernel, x, t, L) for a, t in zip(coef, T, strict=1))

    return f


def gradients(kernel, T, coef, L):
    """Return the gradients (n, c, d) of the predictor at its own rows, by loops."""
    n, d = T.shape
    J = np.zeros((n, coef.shape[1], d))
    for i, j in itertools.product(range(n), range(n)):
        if i != j or of_network(kernel):
            J[i] += np.outer(coef[j], kernel_gradient(kernel, T[i], T[j], L))
    return J


def finite_difference_gradients(kernel, T, coef, L, step=1e-6):
    """Return them by central differences, in which the kink at a row cancels."""
    f, (n, d) = predictor(kernel, T, coef, L), T.shape
    J = np.zeros((n, coef.shape[1], d))
    for i, axis in itertools.product(range(n), range(d)):
        shift = step * np.eye(d)[axis]
        J[i, :, axis] = (f(T[i] + shift) - f(T[i] - shift)) / (2 * step)
    return J


def agop(J, weight=None, centered=False):
    """Return the weighted average of JᵀJ, one gradient and output at a time."""
    n, c, d = J.shape
    weight = np.ones(n) if weight is None else np.asarray(weight, dtype=float)
    if centered:
        J = J - sum(w * j for w, j in zip(weight, J, strict=True)) / weight.sum()
    G = np.zeros((d, d))
    for i, o in itertools.product(range(n), range(c)):
        G += weight[i] * np.outer(J[i, o], J[i, o])
    return G / weight.sum()


def as_array(found):
    """Return an AGOP of skrfm as a matrix of shape (d, d), or (d,) for a diagonal."""
    if found.products is None and found.factor is None:
        return found.squares
    m, squares = found.diagonal().size - found.squares.size, np.diag(found.squares)
    G = found.products
    if found.factor is not None:
        G = sum(np.outer(row, row) for row in found.factor)
    return np.block(
        [[G, np.zeros((m, len(squares)))], [np.zeros((len(squares), m)), squares]]
    )


# -- the recursion ----------------------------------------------------------------


def symmetric_root(M):
    """Return the symmetric square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(M)
    return vectors @ np.diag(np.sqrt(np.maximum(values, 0))) @ vectors.T


class NaiveRFM:
    """The recursion of the paper, in float64: M = I, then solve, AGOP, reweight.

    `rounds` AGOPs and one solve more; no intercept, no weights. A bandwidth "median"
    is the (lower) median distance of the mapped rows, anew in every round.
    """

    def __init__(self, kernel, bandwidth, alpha, rounds, diagonal=False):
        self.kernel, self.bandwidth, self.alpha = kernel, bandwidth, alpha
        self.rounds, self.diagonal = rounds, diagonal

    def fit(self, X, Y):
        n, d = X.shape
        self.metric = np.eye(d)
        for number in range(self.rounds + 1):
            self.root = symmetric_root(self.metric)
            self.T = X @ self.root
            self.L = self.bandwidth
            if self.bandwidth == "median":
                self.L = median_distance(self.kernel, self.T, np.ones(n, dtype=int))
            K = kernel_matrix(self.kernel, self.T, self.T, self.L)
            self.coef = np.linalg.solve(K + self.alpha * np.eye(n), Y)
            if number == self.rounds:
                return self
            J = gradients(self.kernel, self.T, self.coef, self.L)
            G = self.root @ agop(J) @ self.root
            G = np.diag(np.diag(G)) if self.diagonal else G
            self.metric = G / np.diag(G).max()

    def predict(self, X):
        K = kernel_matrix(self.kernel, X @ self.root, self.T, self.L)
        return K @ self.coef


# -- medians ----------------------------------------------------------------------


def median_by_repetition(values, weights):
    """Return the lower median of values, each repeated `weight` times."""
    repeated = sorted(
        value
        for value, weight in zip(values, weights, strict=True)
        for _ in range(int(weight))
    )
    return repeated[(len(repeated) + 1) // 2 - 1]


def median_distance(kernel, T, counts):
    """Return the median distance of a table with row i repeated counts[i] times."""
    rows = [t for t, count in zip(T, counts, strict=True) for _ in range(int(count))]
    distances = [distance(kernel, t, z) for t, z in itertools.combinations(rows, 2)]
    distances = [r for r in distances if r > 0]
    return median_by_repetition(distances, np.ones(len(distances)))


# -- kernel ridge regression with weights -----------------------------------------


def weighted_fit(K, Y, alpha, weight, fit_intercept=True):
    """Return a with (K + alpha diag(1/w)) a = Y − mean, and the mean."""
    mean = weight @ Y / weight.sum() if fit_intercept else np.zeros(Y.shape[1])
    return np.linalg.solve(K + alpha * np.diag(1 / weight), Y - mean), mean


def leave_one_out(K, Y, alpha, weight, *, mean="anew", unit=False):
    """Return residuals y_i − f_i(x_i), with f_i fitted without row i: n fits.

    `mean` is "anew" (without the row), "fixed" (of all rows) or None (no intercept).
    With `unit` the row loses one unit of its weight instead of all of it.
    """
    n = len(Y)
    overall = weight @ Y / weight.sum()
    residuals = np.empty_like(Y)
    for i in range(n):
        remaining = weight.astype(float).copy()
        remaining[i] = remaining[i] - 1 if unit else 0
        rows = np.flatnonzero(remaining > 0)
        if mean == "anew":
            center = remaining @ Y / remaining.sum()
        else:
            center = overall if mean == "fixed" else np.zeros(Y.shape[1])
        matrix = K[np.ix_(rows, rows)] + alpha * np.diag(1 / remaining[rows])
        coef = np.linalg.solve(matrix, Y[rows] - center)
        residuals[i] = Y[i] - center - K[i, rows] @ coef
    return residuals


# -- probabilities ----------------------------------------------------------------

SOFTNESSES = (0.05, 0.2, np.inf)


def calibrated(outputs, factor, softness=np.inf):
    """Return probabilities of classes; one output stands for two classes, ±1."""
    if np.isfinite(softness):
        q = outputs if outputs.shape[1] > 1 else (1 + outputs * [-1, 1]) / 2
        return softmax(factor * np.log(np.log1p(np.exp(q / softness))), axis=1)
    if outputs.shape[1] > 1:
        return softmax(factor * outputs, axis=1)
    positive = expit(factor * outputs[:, 0])
    return np.column_stack([1 - positive, positive])
