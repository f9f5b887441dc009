"""
Intervals for predictions
=========================

``predict(X, return_std=True)`` returns the standard deviations of new targets under the
Gaussian process that belongs to kernel ridge regression. They are scaled by errors of
rows that were not fitted, so that their intervals cover as many targets as they should,
and they are wider where there are few rows.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm
from sklearn.datasets import make_friedman1
from sklearn.model_selection import train_test_split

from skrfm import RFMRegressor
from skrfm.inspection import CoverageDisplay

# %%
# One column
# ----------

rng = np.random.default_rng(0)
x = np.concatenate([rng.uniform(0, 3, size=60), rng.uniform(6, 9, size=60)])
y = np.sin(2 * x) + 0.3 * x + rng.normal(scale=0.2, size=120)
model = RFMRegressor(kernel="laplace", random_state=0).fit(x[:, None], y)

grid = np.linspace(-1, 10, 300)
mean, std = model.predict(grid[:, None], return_std=True)
fig, ax = plt.subplots(figsize=(8, 4), layout="constrained")
ax.plot(x, y, ".", color="0.4", label="rows")
ax.plot(grid, mean, label="prediction")
ax.fill_between(
    grid, mean - 1.64 * std, mean + 1.64 * std, alpha=0.25, label="90 % interval"
)
ax.set(xlabel="$x$", ylabel="$y$")
ax.legend(loc="upper left")
plt.show()

# %%
# Do the intervals cover what they should?
# ----------------------------------------
# Ten columns, of which five matter. For each level, the share of new targets that are
# inside their interval should be the level.

X, y = make_friedman1(n_samples=3000, n_features=10, noise=1.0, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=600, random_state=0
)
model = RFMRegressor(random_state=0).fit(X_train, y_train)
mean, std = model.predict(X_test, return_std=True)
for level in (0.5, 0.8, 0.9, 0.95):
    width = norm.ppf(0.5 + level / 2)
    covered = np.mean(np.abs(y_test - mean) <= width * std)
    print(f"intervals of {level:.0%}: {covered:.1%} of the new targets are inside")

CoverageDisplay.from_predictions(y_test, mean, std)
plt.show()
