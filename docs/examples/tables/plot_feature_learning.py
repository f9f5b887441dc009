"""
Feature learning, round by round
================================

Friedman's first function depends on five columns, and five more are noise:

.. math:: y = 10 \\sin(\\pi x_0 x_1) + 20 (x_2 - 0.5)^2 + 10 x_3 + 5 x_4 + \\varepsilon

In round 0 all ten columns contribute equally to the distances. Each further round
reweights them by the gradients of the previous predictor. This example shows the effect
on the metric and on the score for new rows.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_friedman1
from sklearn.model_selection import train_test_split

from skrfm import RFMRegressor

X, y = make_friedman1(n_samples=2500, n_features=10, noise=1.0, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=500, random_state=0
)

# %%
# A fixed number of rounds
# ------------------------
# With ``validation=None`` nothing is chosen from the data: there are ``max_iter``
# rounds of reweighting, then the last fit. ``max_iter=0`` is kernel ridge regression.

rounds = range(6)
models = [
    RFMRegressor(
        kernel="laplace", alpha=1e-3, validation=None, max_iter=t, random_state=0
    ).fit(X_train, y_train)
    for t in rounds
]
scores = [model.score(X_test, y_test) for model in models]
for t, score in zip(rounds, scores, strict=True):
    print(f"max_iter={t}: test R² {score:.3f}")

# %%
# The diagonal of the metric, and the score
# -----------------------------------------
# The metric is scaled so that its largest diagonal entry is 1. After a few rounds the
# entries of the noise columns are close to zero.

# The metric of round 0 is the identity, given by its diagonal.
metrics = [model.metric_ for model in models]
diagonals = np.array([m if m.ndim == 1 else np.diag(m) for m in metrics])

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for column in range(10):
    relevant = column < 5
    left.plot(
        rounds,
        diagonals[:, column],
        "o-" if relevant else "--",
        color=f"C{column}" if relevant else "0.6",
        label=f"$x_{column}$" if relevant else ("noise" if column == 5 else None),
    )
left.set(xlabel="rounds", ylabel="diagonal of the metric")
left.legend()
right.plot(rounds, scores, "o-")
right.set(xlabel="rounds", ylabel="test R²")
plt.show()

# %%
# Automatic choice
# ----------------
# By default the estimator also chooses the round, the ridge and the kernel.
# ``best_iter_`` is the chosen round; ``history_`` lists all that were compared.

chosen = RFMRegressor(random_state=0).fit(X_train, y_train)
print(f"round {chosen.best_iter_}, kernel {chosen.kernel_}, alpha {chosen.alpha_:g}")
print(f"test R² {chosen.score(X_test, y_test):.3f}")

fig, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
ax.bar([f"$x_{column}$" for column in range(10)], chosen.feature_importances_)
ax.set(ylabel="feature importance", title="Importances of the chosen model")
plt.show()
