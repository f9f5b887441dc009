"""
The error of a kernel machine before it is fitted
=================================================

How much would more rows help, and which ridge should be taken then? The eigenvalues of
one kernel matrix answer both: :func:`~skrfm.inspection.kernel_risk`. The formulas are
from "More is better" (Simon, Karkada, Ghosh and Belkin, ICLR 2024). The paper claims
that at the best ridge the error falls with every row and with every random feature, and
that it is a small ridge that has the peak of double descent. The last section is about
what a training error below the noise costs.
"""

# %%
# Predicted and measured
# ----------------------
# 600 images of digits are the pool; predictions are made from these alone. Errors are
# those of indicators of the ten classes, summed. They are measured with other images:
# five training sets of each size, and the images that remain.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge

from skrfm import RFMRegressor
from skrfm.inspection import KernelRiskDisplay, kernel_risk

X, labels = load_digits(return_X_y=True)
rng = np.random.default_rng(0)
order = rng.permutation(len(X))
X, Y = X[order] / 16, np.eye(10)[labels[order]]
pool, others = slice(0, 600), np.arange(600, len(X))
sizes, alphas = [30, 60, 120, 240, 480], [1e-3, 0.03, 1.0]
length = 2.5  # about the median distance

risk = kernel_risk(
    "laplace", X[pool], Y[pool], train_sizes=sizes, alphas=alphas, bandwidth=length
)
machine = RFMRegressor(
    kernel="laplace", bandwidth=length, max_iter=0, validation=None, scaling=None
)
measured = np.zeros((len(sizes), len(alphas)))
for i, n in enumerate(sizes):
    for _ in range(5):
        rows = rng.permutation(others)
        train, test = rows[:n], rows[n:]
        for j, alpha in enumerate(alphas):
            machine.set_params(alpha=alpha).fit(X[train], Y[train])
            errors = ((machine.predict(X[test]) - Y[test]) ** 2).sum(axis=1)
            measured[i, j] += errors.mean() / 5

deviation = np.abs(risk.risk / measured - 1)
print(
    f"relative error: median {np.median(deviation):.3f}, largest {deviation.max():.3f}"
)
best = measured.argmin(axis=1)
print("best ridges, predicted:", risk.best_alpha)
print("best ridges, measured: ", np.array(alphas)[best])

display = KernelRiskDisplay(risk).plot()
for j in range(len(alphas)):
    color = list(display.line_.values())[j].get_color()
    display.ax_.plot(sizes, measured[:, j], "o", color=color)
_ = display.ax_.set_title("lines: predicted from 600 rows, dots: measured")

# %%
# Random features: double descent
# -------------------------------
# Ridge regression on m random Fourier features of a Gaussian kernel, 100 training rows.
# With a tiny ridge the error has its peak where there are as many features as rows, and
# falls beyond; at the best ridge it never rises. Both claims hold, measured as well as
# predicted. The formula of the paper takes infinitely many rows; that there are 600 is
# corrected as for the kernel.

counts = np.array([25, 50, 75, 90, 100, 110, 150, 250, 500, 1000])
ridges = np.array([1e-3, 1e-2, 0.1, 1.0])
gaussian = kernel_risk(
    "gaussian", X[pool], Y[pool], train_sizes=[100], bandwidth=length
)
predicted = gaussian.predict(100, ridges, n_features=counts[:, None])
found = np.zeros(predicted.shape)
for i, m in enumerate(counts):
    for _ in range(8):
        angles = X @ rng.normal(size=(X.shape[1], m)) / length
        Z = np.sqrt(2 / m) * np.cos(angles + rng.uniform(0, 2 * np.pi, m))
        rows = rng.permutation(others)
        train, test = rows[:100], rows[100:]
        for j, alpha in enumerate(ridges):
            model = Ridge(alpha=alpha, solver="svd").fit(Z[train], Y[train])
            errors = ((model.predict(Z[test]) - Y[test]) ** 2).sum(axis=1)
            found[i, j] += errors.mean() / 8

peak = counts[found[:, 0].argmax()]
print(f"ridge 0.001: the largest error, {found[:, 0].max():.2f}, is at {peak} features")
print(f"predicted there {predicted[counts == peak, 0][0]:.2f}")
for name, table in (("measured", found), ("predicted", predicted)):
    print(f"best ridge, {name}:", table.min(axis=1).round(2))

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for j, alpha in enumerate(ridges):
    ax.plot(counts, predicted[:, j], color=f"C{j}", label=f"ridge {alpha:g}")
    ax.plot(counts, found[:, j], "o", color=f"C{j}")
ax.axvline(100, color="0.8", zorder=0)
ax.set(xscale="log", yscale="log", xlabel="random features", ylabel="mean square error")
ax.legend()
_ = ax.set_title("lines: predicted, dots: measured; 100 training rows")

# %%
# A training error below the noise has its price
# ----------------------------------------------
# n = 200 rows of p independent features, and targets of which noise of variance 1 is
# all that a model can fit. "A universal trade-off" (Ghosh and Belkin, 2023) claims that
# a linear model whose training error is a share τ < 1 of the noise has a test error
# above the noise by an amount that only more features reduce. For whitened features it
# is at least (n / p) (1 − √τ)², by our own derivation in :doc:`/guide/risk`. Each curve
# is the path of the ridge; its end at τ = 0 interpolates.

n, paths = 200, {}
shares = np.geomspace(1e-4, 1e3, 60)
for ratio in (1.5, 4, 10):
    squares = np.linalg.svd(rng.normal(size=(n, int(ratio * n))), compute_uv=False) ** 2
    # the share of the noise that is fitted, in each singular direction
    fitted = squares / (squares + n * shares[:, None])
    excess, tau = (fitted**2 / squares).sum(axis=1), ((1 - fitted) ** 2).mean(axis=1)
    paths[ratio] = tau, excess
    times = excess / ((1 - np.sqrt(tau)) ** 2 / ratio)
    print(
        f"p / n = {ratio}: interpolation costs {excess[0]:.3f}, {times[0]:.2f} times "
        f"the bound; on the whole path at least {times.min():.2f} times"
    )

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for color, (ratio, (tau, excess)) in enumerate(paths.items()):
    ax.semilogy(tau, excess, color=f"C{color}", label=f"p / n = {ratio}")
    ax.semilogy(tau, (1 - np.sqrt(tau)) ** 2 / ratio, "--", color=f"C{color}")
ax.set(xlabel="training error / noise", ylabel="excess test error / noise", xlim=(0, 1))
ax.set_ylim(1e-3, None)
ax.legend()
_ = ax.set_title("solid: ridge regression, dashed: the bound")
