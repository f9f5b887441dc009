"""
Tuning: a search of its own, and a grid search
==============================================

The defaults choose kernel, metric, ridge and the number of rounds inside ``fit``. Where
the last percent counts, :class:`~skrfm.RFMRegressorCV` searches further: first at
random among kernels, bandwidths, exponents, ridges and metrics, then near the best
candidates. Its model averages the few candidates that are best together. Whoever wants
a grid of their own uses scikit-learn's, as for any other estimator.
"""

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import make_friedman1
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrfm import RFMRegressor, RFMRegressorCV

X, y = make_friedman1(n_samples=2000, n_features=10, noise=1.0, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=400, random_state=0
)

# %%
# The defaults
# ------------

default = RFMRegressor(random_state=0).fit(X_train, y_train)
print(f"defaults: test R² {default.score(X_test, y_test):.4f}")
print(
    f"chosen: {default.kernel_}, ridge {default.alpha_:g}, round {default.best_iter_}"
)

# %%
# A search
# --------

search = RFMRegressorCV(n_candidates=24, cv=3, random_state=0).fit(X_train, y_train)
print(f"search: test R² {search.score(X_test, y_test):.4f}")

results = pd.DataFrame(search.cv_results_).sort_values("rank_test_score")
columns = [name for name in results.columns if name.startswith("param_")]
print(results[["mean_test_score", *columns]].head(5).to_string(index=False))

# %%
# Each candidate is a point: the ridge and the kind of kernel decide most.

fig, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
kinds = results["param_kernel"].map(lambda kernel: type(kernel).__name__)
kinds = kinds.where(kinds != "str", results["param_kernel"].astype(str))
for kind, group in results.groupby(kinds):
    ax.semilogx(
        group["param_alpha"].astype(float), group["mean_test_score"], "o", label=kind
    )
best = results["mean_test_score"].max()
ax.set(xlabel="ridge", ylabel="cross-validated R²", ylim=(best - 0.12, best + 0.01))
ax.legend(title="kernel", loc="lower left")
plt.show()

# %%
# A grid in a pipeline
# --------------------
# With ``validation=None`` a fit chooses nothing by itself and has ``max_iter`` rounds,
# so that the grid search decides everything.

pipeline = make_pipeline(
    StandardScaler(),
    RFMRegressor(
        kernel="laplace",
        metric_type="diag",
        scaling=None,
        validation=None,
        random_state=0,
    ),
)
grid = GridSearchCV(
    pipeline,
    {
        "rfmregressor__alpha": [1e-5, 1e-4, 1e-3],
        "rfmregressor__max_iter": [0, 2, 4],
    },
    cv=3,
)
grid.fit(X_train, y_train)
print(f"grid search: test R² {grid.score(X_test, y_test):.4f} with", grid.best_params_)
