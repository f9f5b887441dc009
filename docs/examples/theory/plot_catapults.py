"""
Catapults, and feature learning without them
============================================

Gradient descent with a step above 2 / λ, λ the largest eigenvalue of the tangent kernel
divided by the number of rows, diverges for a linear model. The loss of a wide network
rises, too, but then falls again, and λ has become smaller: a catapult. "Catapults in
SGD" (Zhu, Liu, Radhakrishnan and Belkin, 2023) claims that catapults align the AGOP of
the network with that of the target, which is why they generalise better. "Quadratic
models for understanding catapult dynamics" (Zhu, Liu, Radhakrishnan and Belkin, 2022)
claims that the second order of the network in its parameters has them, the first not;
and "On the linearity of large non-linear models" (Liu, Zhu and Belkin, 2020) that the
second order vanishes as the network becomes wide.
"""

# %%
# A network of one hidden layer
# -----------------------------
# f(x) = aᵀ relu(W x / √d) / √m with m = 512, less the function that it starts from. The
# target x₁ x₂ depends on two of 40 columns, and there are 300 rows without noise.

from time import process_time

import matplotlib.pyplot as plt
import numpy as np
from scipy.linalg import cho_factor, cho_solve
from sklearn.datasets import load_digits

from skrfm import RFMRegressor
from skrfm.kernels import Laplace

d, n, m = 40, 300, 512


class Network:
    """A relu network of one hidden layer that starts as the zero function."""

    def __init__(self, d, m, rng):
        self.W, self.a = rng.normal(size=(m, d)), rng.normal(size=m)
        self.W0, self.a0 = self.W.copy(), self.a.copy()

    def outputs(self, X):
        """Return f at rows, and the hidden units."""
        scale = 1 / np.sqrt(len(self.a))
        hidden = X @ self.W.T / np.sqrt(X.shape[1])
        start = np.maximum(X @ self.W0.T / np.sqrt(X.shape[1]), 0) @ self.a0
        return (np.maximum(hidden, 0) @ self.a - start) * scale, hidden

    def step(self, X, residuals, hidden, rate):
        """Take a step of gradient descent on half the mean square of residuals."""
        weighted = residuals[:, None] / (len(X) * np.sqrt(len(self.a)))
        in_a = (weighted * np.maximum(hidden, 0)).sum(axis=0)
        in_hidden = weighted * (hidden > 0) * self.a
        self.W -= rate * in_hidden.T @ X / np.sqrt(X.shape[1])
        self.a -= rate * in_a

    def largest_eigenvalue(self, X):
        """Return that of the tangent kernel divided by the number of rows."""
        _, hidden = self.outputs(X)
        active = (hidden > 0) * self.a
        kernel = np.maximum(hidden, 0) @ np.maximum(hidden, 0).T
        kernel += (active @ active.T) * (X @ X.T) / X.shape[1]
        return np.linalg.eigvalsh(kernel / (len(self.a) * len(X)))[-1]

    def agop(self, X):
        """Return the average gradient outer product."""
        _, hidden = self.outputs(X)
        J = ((hidden > 0) * self.a) @ self.W
        J -= ((X @ self.W0.T > 0) * self.a0) @ self.W0
        return J.T @ J / (len(X) * X.shape[1] * len(self.a))


def alignment(G):
    """Return the cosine of an AGOP and that of x₁ x₂, which is diag(1, 1, 0, …)."""
    return (G[0, 0] + G[1, 1]) / (np.sqrt(2) * np.linalg.norm(G))


def train(seed, factor, n_catapults):
    """Return losses, test errors and alignments of gradient descent.

    The step is factor / λ, anew each time when the loss is below 0.001.
    """
    rng = np.random.default_rng(seed)
    X, X_test = rng.normal(size=(n, d)), rng.normal(size=(2000, d))
    y, y_test = X[:, 0] * X[:, 1], X_test[:, 0] * X_test[:, 1]
    network, losses, stops = Network(d, m, rng), [], []
    for _ in range(n_catapults):
        rate = factor / network.largest_eigenvalue(X)
        for steps in range(4000):
            f, hidden = network.outputs(X)
            losses.append(np.mean((f - y) ** 2))
            if losses[-1] < 1e-3 and steps > 30:
                break
            network.step(X, f - y, hidden, rate)
        error = np.mean((network.outputs(X_test)[0] - y_test) ** 2) / np.var(y_test)
        eigenvalue = network.largest_eigenvalue(X)
        stops.append((error, alignment(network.agop(X_test)), eigenvalue))
    return losses, np.array(stops)


# %%
# What catapults do
# -----------------
# A small step has no catapult. A step of 2.6 / λ has one, and another each time it is
# raised to that again. In the mean of three seeds error and alignment improve with
# each, as the paper claims; an RFM, which takes the AGOP itself as its metric, is far
# ahead of all.

small = [train(seed, 1.0, 1) for seed in range(3)]
large = [train(seed, 2.6, 5) for seed in range(3)]
table = np.mean([stops for _, stops in small], axis=0)
table = np.vstack([table, np.mean([stops for _, stops in large], axis=0)])
for number, (error, cosine, eigenvalue) in enumerate(table):
    print(
        f"{number} catapults: test error {error:.3f}, alignment {cosine:.3f}, ", end=""
    )
    print(f"λ {eigenvalue:.4f}")

rng = np.random.default_rng(0)
X, X_test = rng.normal(size=(n, d)), rng.normal(size=(2000, d))
model = RFMRegressor(kernel="gaussian", max_iter=8, scaling=None, random_state=0)
model.fit(X, X[:, 0] * X[:, 1])
rfm_error = 1 - model.score(X_test, X_test[:, 0] * X_test[:, 1])
metric = model.metric_ if model.metric_.ndim == 2 else np.diag(model.metric_)
print(f"RFM: test error {rfm_error:.3f}, alignment {alignment(metric):.3f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
left.semilogy(large[0][0], label="2.6 / λ, five times")
left.semilogy(small[0][0], label="1 / λ")
left.set(xlabel="steps", ylabel="training loss")
left.legend()
right.plot(table[:, 1], table[:, 0], "o-", label="network, 0 to 5 catapults")
right.plot(alignment(metric), rfm_error, "s", label="RFM")
right.set(xlabel="alignment of the AGOP", ylabel="test error / variance")
right.legend()

# %%
# Linear, quadratic, network
# --------------------------
# The expansion of the network in its parameters to the first and to the second order,
# on 40 rows of ten columns. With a step of 2.5 or 3 / λ the linear model diverges; the
# quadratic model has the catapult of the network and ends at a smaller λ; beyond 4 / λ
# all diverge.

rng = np.random.default_rng(1)
X = rng.normal(size=(40, 10))
y, start = X[:, 0] * X[:, 1], Network(10, 256, rng)
hidden0 = X @ start.W0.T / np.sqrt(10)
D, scale = (hidden0 > 0).astype(float), 1 / np.sqrt(256)


def expanded(order, factor):
    """Return the losses of an expansion; gradients are those of its outputs."""
    W, a = np.zeros_like(start.W0), np.zeros(256)  # the changes
    rate, losses = factor / start.largest_eigenvalue(X), []
    for _ in range(400):
        moved = D * (X @ W.T) / np.sqrt(10)
        second = order - 1
        f = (np.maximum(hidden0, 0) @ a + moved @ (start.a0 + second * a)) * scale
        losses.append(np.mean((f - y) ** 2))
        if not 1e-4 < losses[-1] < 1e6:
            break
        weighted = ((f - y) / len(X) * scale)[:, None]
        in_a = (weighted * (np.maximum(hidden0, 0) + second * moved)).sum(axis=0)
        in_W = (weighted * D * (start.a0 + second * a)).T @ X / np.sqrt(10)
        W, a = W - rate * in_W, a - rate * in_a
    return losses


def of_network(factor):
    """Return the losses of the network itself."""
    network = Network(10, 256, np.random.default_rng(0))
    network.W, network.a = start.W0.copy(), start.a0.copy()
    network.W0, network.a0 = start.W0, start.a0
    rate, losses = factor / start.largest_eigenvalue(X), []
    for _ in range(400):
        f, hidden = network.outputs(X)
        losses.append(np.mean((f - y) ** 2))
        if not 1e-4 < losses[-1] < 1e6:
            break
        network.step(X, f - y, hidden, rate)
    return losses


def summary(losses):
    """Return how a path of losses ended."""
    if losses[-1] > 1e3:
        return "diverges"
    return f"{len(losses)} steps, largest loss {max(losses):.1f}"


for factor in (1.0, 2.5, 3.0, 4.5):
    print(f"{factor} / λ  linear: {summary(expanded(1, factor))}", end="; ")
    print(f"quadratic: {summary(expanded(2, factor))}", end="; ")
    print(f"network: {summary(of_network(factor))}")

# %%
# Wide networks are nearly linear
# -------------------------------
# The Hessian of aᵀ tanh(W x / √d) / √m at the start has one block for each unit, so its
# norm is the largest of theirs; it falls as 1 / √m but for a logarithm, while the norm
# of the gradient stays. In a linear model ⟨gradient, way to the end⟩ is twice the loss;
# with the width, the ratio of relu networks approaches 2 ("aiming": Liu, Drusvyatskiy,
# Belkin, Davis and Ma, 2023), so descent leads straight to the end.


def hessian_norm(m, rng):
    """Return the spectral norm of the Hessian at one row of unit size."""
    x = rng.normal(size=10)
    x /= np.linalg.norm(x) / np.sqrt(10)
    hidden, a = rng.normal(size=(m, 10)) @ x / np.sqrt(10), rng.normal(size=m)
    # [[0, f' xᵀ], [f' x, a f'' x xᵀ]] along a and x / √d, which has norm 1
    slope = 1 - np.tanh(hidden) ** 2
    corner = -2 * a * np.tanh(hidden) * slope
    values = np.abs(corner) / 2 + np.sqrt(corner**2 / 4 + slope**2)
    return values.max() / np.sqrt(m)


def aiming(m, rng):
    """Return the median ratio along a path of gradient descent."""
    X = rng.normal(size=(60, 10))
    y, network = X[:, 0] * X[:, 1], Network(10, m, rng)
    rate, path = 1 / network.largest_eigenvalue(X), []
    for step in range(2000):
        f, hidden = network.outputs(X)
        if step < 300 and step % 15 == 0:
            path.append((network.W.copy(), network.a.copy(), f, hidden))
        network.step(X, f - y, hidden, rate)
    W_end, a_end, ratios = network.W, network.a, []
    for W, a, f, hidden in path:
        weighted = ((f - y) / (len(X) * np.sqrt(m)))[:, None]
        in_a = (weighted * np.maximum(hidden, 0)).sum(axis=0)
        in_W = (weighted * (hidden > 0) * a).T @ X / np.sqrt(10)
        product = ((W - W_end) * in_W).sum() + (a - a_end) @ in_a
        ratios.append(product / np.mean((f - y) ** 2) * 2)
    return np.median(ratios)


widths = np.array([32, 64, 128, 256, 512])
norms = [np.median([hessian_norm(m, rng) for _ in range(50)]) for m in widths]
aims = [aiming(m, rng) for m in widths]
slope = np.polyfit(np.log(widths), np.log(norms), 1)[0]
print("norms of the Hessian", np.round(norms, 3), f"slope {slope:.2f}")
print("ratio of aiming     ", np.round(aims, 2))

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
left.loglog(widths, norms, "o-")
left.set(xlabel="width", ylabel="norm of the Hessian")
right.semilogx(widths, aims, "o-")
right.axhline(2, color="0.8")
right.set(xlabel="width", ylabel="⟨gradient, way to the end⟩ / loss")
plt.show()

# %%
# A step that is learned: the inverse of a matrix
# -----------------------------------------------
# What of these papers is not in the package: an adaptive step. For the inverse of a
# matrix the step can be the estimate of the inverse itself, X ← X + X (I − A X), which
# squares the error I − A X. On the kernel matrix of 800 digits it does so, but each
# step takes two products of matrices, four times the operations of a whole inverse by
# Cholesky, so there is no such solver here. Aiming, above, is a property to know, and
# nothing that a user would compute.

digits = load_digits().data[:800] / 16
A = Laplace().kernel_matrix(digits, bandwidth=2.5) + 1e-2 * np.eye(800)
values = np.linalg.eigvalsh(A)
start = process_time()
inverse, errors = 2 / (values[0] + values[-1]) * np.eye(800), []
while not errors or errors[-1] > 1e-8:
    rest = np.eye(800) - A @ inverse
    errors.append(np.linalg.norm(rest))
    inverse += inverse @ rest
middle = process_time()
exact = cho_solve(cho_factor(A), np.eye(800))
times = (middle - start) / (process_time() - middle)
print(f"condition number {values[-1] / values[0]:.0f}, {len(errors)} steps; errors of")
print("the last five", np.array2string(np.array(errors[-5:]), precision=1))
print(
    f"{4 * len(errors)} times the operations of Cholesky, {times:.0f} times its seconds"
)
print(f"largest difference of the inverses {abs(inverse - exact).max():.0e}")
