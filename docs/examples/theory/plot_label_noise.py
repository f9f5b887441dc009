"""
Wrong labels: early stopping, a ridge, and finding them
=======================================================

Three labels in ten are replaced by others. "On emergence of clean-priority learning in
early stopped neural networks" (Liu, Abedsoltan and Belkin, 2023) claims that gradient
descent fits clean rows first, and even predicts the true classes of the noisy ones,
until it has fitted all. Of a kernel machine every step of gradient descent is known in
closed form. This page shows all of them, beside the ridge that leave-one-out chooses.
"""

# %%
# Gradient descent at every step
# ------------------------------
# With the eigenvectors U and eigenvalues λ of the kernel matrix, the outputs at the
# training rows after t steps are U (1 − (1 − λ / λ₁)ᵗ) Uᵀ (Y − mean).

import matplotlib.pyplot as plt
import numpy as np
from scipy.linalg import eigh
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from skrfm import RFMClassifier
from skrfm.inspection import label_noise_scores
from skrfm.kernels import Laplace
from skrfm.solvers import EigenPro

X, y = load_digits(return_X_y=True)
X = X / 16
n, n_val, length = 1000, 200, 2.5
steps = np.unique(np.geomspace(1, 1e5, 60).astype(int))
ridges = np.geomspace(1e-3, 100, 25)


def split(seed):
    """Return training and test rows, labels of which some are wrong, and which."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    noisy = rng.random(len(y)) < 0.3
    labels = np.where(noisy, (y + rng.integers(1, 10, size=len(y))) % 10, y)
    return order[: n + n_val], order[n + n_val :], labels, noisy


def one_draw(seed):
    """Return curves over the steps, and what rules to stop and to choose arrive at."""
    train, test, labels, noisy = split(seed)
    train, val = train[:n], train[n:]
    Y = np.eye(10)[labels]
    mean = Y[train].mean(axis=0)
    values, U = eigh(Laplace().kernel_matrix(X[train], bandwidth=length))
    crosses = [
        Laplace().kernel_matrix(X[r], X[train], bandwidth=length) @ U
        for r in (val, test)
    ]
    target = U.T @ (Y[train] - mean)

    def outputs(filtered):
        """Return outputs at the training, validation and test rows."""
        coefficients = (filtered / values)[:, None] * target
        at_train = U @ (filtered[:, None] * target) + mean
        return at_train, *(cross @ coefficients + mean for cross in crosses)

    curves = []
    for t in steps:
        filtered = 1 - (1 - values / values[-1]) ** t
        at_train, at_val, at_test = outputs(filtered)
        classes, wrong = at_train.argmax(axis=1), noisy[train]
        curves.append(
            [
                np.mean(at_test.argmax(axis=1) != y[test]),
                np.mean((classes == y[train])[~wrong]),
                np.mean((classes == y[train])[wrong]),
                np.mean((classes == labels[train])[wrong]),
                ((at_val - Y[val]) ** 2).sum(axis=1).mean(),
                np.mean(at_val.argmax(axis=1) != labels[val]),
            ]
        )
    curves = np.array(curves)
    best = min(ridges, key=lambda ridge: leave_one_out(values, U, target, ridge))
    ridge_error = np.mean(outputs(values / (values + best))[2].argmax(1) != y[test])
    rules = {
        "interpolation": np.mean(outputs(np.ones(n))[2].argmax(axis=1) != y[test]),
        "stopped by validation accuracy": curves[curves[:, 5].argmin(), 0],
        "stopped by validation squared error": curves[curves[:, 4].argmin(), 0],
        "ridge by leave-one-out squared error": ridge_error,
        "best step of all": curves[:, 0].min(),
    }
    scores = label_noise_scores("laplace", X[train], labels[train], bandwidth=length)
    return curves, rules, roc_auc_score(noisy[train], scores)


def leave_one_out(values, U, target, ridge):
    """Return the leave-one-out squared error at a ridge."""
    shrink = ridge / (values + ridge)
    residuals = U @ (shrink[:, None] * target)
    return np.sum((residuals / (U**2 @ shrink)[:, None]) ** 2)


draws = [one_draw(seed) for seed in range(3)]
curves = np.mean([draw[0] for draw in draws], axis=0)

# %%
# What was seen
# -------------
# The claim holds: at some step nearly all clean rows are fitted, and nearly all noisy
# rows are predicted as their true classes. The test error is smallest somewhat later,
# when half of the wrong labels are fitted: each of them changes the predictions nearby
# only. A ridge is as good as the best time to stop, without validation rows. Both
# should be chosen by squared errors, not by accuracy.

for name in draws[0][1]:
    print(f"{name:37} test error {np.mean([d[1][name] for d in draws]):.3f}")
for row in (np.searchsorted(steps, 100), curves[:, 0].argmin()):
    clean, true, given = curves[row, 1:4]
    print(
        f"step {steps[row]}: test error {curves[row, 0]:.3f}, clean rows fitted ",
        end="",
    )
    print(
        f"{clean:.3f}; noisy rows as true class {true:.3f}, as given class {given:.3f}"
    )

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
left.semilogx(steps, curves[:, 0])
left.axhline(
    np.mean([d[1]["ridge by leave-one-out squared error"] for d in draws]),
    color="C1",
    linestyle="--",
    label="ridge by leave-one-out",
)
left.set(xlabel="steps", ylabel="test error, clean labels", ylim=(0, 0.15))
left.legend()
names = "clean rows fitted", "noisy rows, true class", "noisy rows, given class"
for column, name in enumerate(names, start=1):
    right.semilogx(steps, curves[:, column], label=name)
right.set(xlabel="steps", ylabel="share of training rows")
right.legend()

# %%
# Stopping in practice
# --------------------
# Eigenvectors are for tables as small as this one. ``solver="eigenpro"`` takes
# stochastic steps on batches, and :class:`~skrfm.solvers.EigenPro` with
# ``early_stopping`` ends its epochs where the error at held-out rows rises, their
# labels being as noisy as the others. No ridge is chosen here: all three have the
# same small one. The epochs end after one to three. They are no match for the best
# step above: the preconditioner makes many directions as fast as the first, so that
# each epoch fits some of the noise.

solvers = {
    "exact": "cholesky",
    "EigenPro, 12 epochs at most": "eigenpro",
    "EigenPro, ended by held-out rows": EigenPro(
        early_stopping=True, validation_fraction=n_val / (n + n_val)
    ),
}
errors = {name: [] for name in solvers}
for seed in range(3):
    train, test, labels, _ = split(seed)
    for name, solver in solvers.items():
        model = RFMClassifier(
            kernel="laplace",
            bandwidth=length,
            alpha=1e-3,
            solver=solver,
            max_iter=0,
            scaling=None,
            validation=None,
            random_state=seed,
        )
        model.fit(X[train], labels[train])
        errors[name].append(1 - model.score(X[test], y[test]))
for name, found in errors.items():
    print(f"{name:37} test error {np.mean(found):.3f}")
print("scores of the epochs at held-out rows:", model.validation_scores_.round(4))

# %%
# Which labels are wrong
# ----------------------
# The same leave-one-out outputs tell which labels to look at:
# :func:`~skrfm.inspection.label_noise_scores`. Its area under the ROC curve is the
# chance that a wrong label has a higher score than a right one.

print(f"area under the curve {np.mean([draw[2] for draw in draws]):.4f}")
