"""
Importances and the learned metric
==================================

A Recursive Feature Machine learns in which directions of the input its predictor
changes. This example reads what it has learned about the diabetes data of scikit-learn:
importances of the columns, the metric as a heat map, its spectrum, and a picture of the
rows along the two leading directions.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.inspection import permutation_importance

from skrfm import RFMRegressor
from skrfm.inspection import (
    FeatureImportancesDisplay,
    FeatureMetricDisplay,
    MetricSpectrumDisplay,
)

X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
X["sex"] = X["sex"].map({1.0: "female", 2.0: "male"}).astype("category")
X_train, X_test, y_train, y_test = X[:300], X[300:], y[:300], y[300:]

model = RFMRegressor(
    kernel="laplace", metric_type="full", n_machines=1, random_state=0
).fit(X_train, y_train)
print(f"test R² {model.score(X_test, y_test):.2f} after round {model.best_iter_}")

# %%
# Importances
# -----------
# An importance is the share of a column in the trace of the metric: how much the
# predictor changes along it, on average. Permutation importances ask another question,
# how much worse predictions become without the column. Columns that stand for each
# other, as the blood serum values s1 to s5 do, have small ones.

permuted = permutation_importance(model, X_test, y_test, n_repeats=10, random_state=0)
both = pd.DataFrame(
    {"RFM": model.feature_importances_, "permutation": permuted.importances_mean},
    index=X.columns,
)
print(both.sort_values("RFM", ascending=False).round(3))

fig, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.8), layout="constrained")
FeatureImportancesDisplay.from_estimator(model, ax=left)
MetricSpectrumDisplay.from_estimator(model, ax=right)
plt.show()

# %%
# The metric
# ----------
# A positive entry away from the diagonal belongs to two columns whose increase has the
# same effect, a negative one to columns of opposite effects.

FeatureMetricDisplay.from_estimator(model)
plt.show()

# %%
# The rows along the leading directions
# -------------------------------------
# ``transform`` maps rows so that their Euclidean distances are those of the kernel.
# Most of what determines the progression of the disease is along the first direction.

mapped = model.transform(X_test)
centred = mapped - mapped.mean(axis=0)
_, spread, directions = np.linalg.svd(centred, full_matrices=False)
first, second = (centred @ directions[:2].T).T
print(
    f"share of the variance along the first direction: "
    f"{spread[0] ** 2 / np.sum(spread**2):.2f}"
)

fig, ax = plt.subplots(figsize=(6.5, 5), layout="constrained")
points = ax.scatter(first, second, c=y_test, cmap="viridis")
fig.colorbar(points, label="progression of the disease")
ax.set(xlabel="first direction", ylabel="second direction")
plt.show()
