"""
Many rows: a tree of machines, and its progress
===============================================

The kernel matrix of a single machine grows with the square of the rows.
:class:`~skrfm.XRFMRegressor` divides the rows of a table among the leaves of a tree and
fits a machine in each of them. This example shows how to forecast the cost of a fit and
how to follow it, and when the tree is more than a way to save time: if a table consists
of parts with functions of their own. The same code fits a million rows.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from skrfm import RFMRegressor, XRFMRegressor
from skrfm.inspection import estimate_cost

# %%
# A table of two parts
# --------------------
# On the two sides of a plane the target is another function of other columns.

rng = np.random.default_rng(0)


def make_rows(n):
    X = rng.normal(size=(n, 8)).astype(np.float32)
    above = np.sin(2 * (X[:, 2] + X[:, 3]))
    below = np.cos(1.5 * (X[:, 4] - X[:, 5]))
    y = np.where(X[:, 0] + 0.5 * X[:, 1] > 0, above, below) + 0.5 * X[:, 1]
    return X, (y + 0.2 * rng.normal(size=n)).astype(np.float32)


X, y = make_rows(12_000)
X_test, y_test = make_rows(5_000)

# %%
# What will it cost?
# ------------------
# A forecast within a factor of about two, without a fit.

model = RFMRegressor(kernel="laplace", alpha=0.1, max_iter=2, validation=None)
tree = XRFMRegressor(model, max_leaf_size=1500, split="sides", random_state=0)
cost = estimate_cost(tree, X, y)
print(f"forecast: {cost.seconds:.0f} seconds, {cost.memory / 1e9:.2f} GB")

# %%
# Following a fit
# ---------------
# scikit-learn's callbacks are told when a leaf begins and ends. In a terminal,
# ``tree.set_callbacks(skrfm.inspection.ProgressBar())`` draws a bar; it needs the
# package ``rich``. The callback here keeps the seconds at which leaves end.


class LeafTimes:
    def setup(self, estimator, context):
        self.began, self.seconds = perf_counter(), []

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "leaf":
            self.seconds.append(perf_counter() - self.began)

    def teardown(self, estimator, context):
        pass


times = LeafTimes()
tree.set_callbacks(times).fit(X, y)
print(f"{tree.n_leaves_} leaves, the last one after {times.seconds[-1]:.0f} seconds")

fig, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
done = np.arange(len(times.seconds) + 1) / len(times.seconds)
ax.step([0, *times.seconds], done, where="post")
ax.set(xlabel="seconds", ylabel="share of the leaves", title="Progress of the fit")
plt.show()

# %%
# The accuracy
# ------------
# ``split="refined"`` moves the boundary between leaves to where the machines of its two
# sides disagree least with the rows: here, to the plane between the parts.
# At its defaults the tree finds out by itself whether that helps.

boosting = HistGradientBoostingRegressor(max_iter=200, random_state=0)
models = {
    "tree of 8 leaves": tree,
    "two refined leaves": XRFMRegressor(
        model, max_leaf_size=6000, split="refined", random_state=0
    ),
    "gradient boosting, 200 rounds": boosting,
}
for name, each in models.items():
    began = perf_counter()
    if each is not tree:
        each.fit(X, y)
    seconds = times.seconds[-1] if each is tree else perf_counter() - began
    score = each.score(X_test, y_test)
    print(f"{name:30s} test R² {score:.3f}, {seconds:3.0f} seconds")
