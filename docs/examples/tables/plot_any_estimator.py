"""
Features of other models
========================

The average gradient outer product (AGOP) is defined for any model that predicts
numbers, and so is the recursion of a Recursive Feature Machine: fit, take the AGOP,
reweight the rows, fit again. This example looks at the AGOP of four models of
scikit-learn, puts three of them on features of their own, and compares the weights
of a neural network with the gradients of its layers.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.svm import SVR

from skrfm import RecursiveFeatures
from skrfm.inspection import agop, agop_alignment, feature_ansatz

# %%
# A target of two directions
# --------------------------
# Neither of the directions is a column: the first is the sum of columns 0 to 2, the
# second the difference of columns 3 and 4. Seven more columns have no influence.

rng = np.random.default_rng(0)
U = np.zeros((12, 2))
U[:3, 0], U[3:5, 1] = 3**-0.5, (2**-0.5, -(2**-0.5))


def target(X):
    first, second = (X @ U).T
    return np.sin(2 * first) + np.maximum(second, 0)


X, X_test = rng.normal(size=(800, 12)), rng.normal(size=(1000, 12))
y, y_test = target(X) + 0.1 * rng.normal(size=800), target(X_test)

# %%
# The AGOP of four models
# -----------------------
# The gradients of the support vector machine and of the network have a closed form.
# Those of the neighbours and of the forest are differences of predictions over some
# tenths of a standard deviation. The first panel is the AGOP of the target itself.

models = {
    "neighbours": KNeighborsRegressor(10, weights="distance"),
    "support vectors": SVR(C=10),
    "random forest": RandomForestRegressor(30, random_state=0),
    "network": MLPRegressor(
        hidden_layer_sizes=64, solver="lbfgs", alpha=1.0, max_iter=2000, random_state=0
    ),
}
first, second = (X @ U).T
slopes = 2 * np.cos(2 * first)[:, None] * U[:, 0] + (second > 0)[:, None] * U[:, 1]
true = slopes.T @ slopes / len(X)
matrices = {"the target": true}
for name, model in models.items():
    matrices[name] = agop(model.fit(X, y), X, max_samples=300, random_state=0)
    cosine = agop_alignment(matrices[name], true)
    print(f"{name}: alignment with the AGOP of the target {cosine:.3f}")

fig, axes = plt.subplots(1, 5, figsize=(11, 2.6), layout="constrained")
for ax, (name, matrix) in zip(axes, matrices.items(), strict=True):
    largest = np.abs(matrix).max()
    ax.imshow(matrix, cmap="RdBu", vmin=-largest, vmax=largest)
    ax.set(title=name, xticks=[], yticks=[])
plt.show()

# %%
# The models on features of their own
# -----------------------------------
# ``RecursiveFeatures`` reweights the rows by the root of the AGOP and fits the
# model again. The number of rounds is chosen on rows that the fit has not seen; not
# to reweight at all is among the choices. The forest does not see a scale, and gets
# the leading eigenvectors as further columns.

scores = {}
for name in ("neighbours", "support vectors", "random forest"):
    alone = models[name].score(X_test, y_test)
    wrapped = RecursiveFeatures(models[name], random_state=0).fit(X, y)
    scores[name] = alone, wrapped.score(X_test, y_test)
    print(f"{name}: R² {alone:.3f} alone, {scores[name][1]:.3f} on its features")

fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
for number, label in enumerate(("alone", "on features of its own")):
    places = np.arange(3) + 0.4 * number
    ax.bar(places, [pair[number] for pair in scores.values()], 0.4, label=label)
ax.set_xticks(np.arange(3) + 0.2, list(scores))
ax.set(ylabel="R² of new rows", ylim=(0, 1.2))
ax.legend(loc="upper left", ncols=2)
plt.show()

# %%
# The neural feature ansatz
# -------------------------
# Why the AGOP? The papers claim that training a network makes the Gram matrix
# :math:`W W^\top` of the weights of a layer proportional to a power of the AGOP of
# the network above, with respect to the input of the layer. Here is a network of
# two hidden layers while it is trained.

network = MLPRegressor(
    hidden_layer_sizes=(128, 128),
    learning_rate_init=3e-3,
    alpha=0.1,
    max_iter=1,
    warm_start=True,
    random_state=0,
)
epochs, cosines = [1, 3, 10, 30, 100, 250], []
done = 0
for epoch in epochs:
    for _ in range(epoch - done):
        network.partial_fit(X, y)
    done = epoch
    cosines.append(feature_ansatz(network, X))
cosines = np.array(cosines)
for epoch, pair in zip(epochs, cosines, strict=True):
    print(f"epoch {epoch}: cosines {pair[0]:.2f} and {pair[1]:.2f}")

W = network.coefs_[0]
values, vectors = np.linalg.eigh(agop(network, X, max_samples=None))
root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
fig, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
for ax, (title, matrix) in zip(
    axes,
    {"$W W^T$ of the first layer": W @ W.T, "root of the AGOP": root}.items(),
    strict=False,
):
    largest = np.abs(matrix).max()
    ax.imshow(matrix, cmap="RdBu", vmin=-largest, vmax=largest)
    ax.set(title=title, xticks=[], yticks=[])
for layer, label in enumerate(("first layer", "second layer")):
    axes[2].plot(epochs, cosines[:, layer], "o-", label=label)
axes[2].set(xscale="log", xlabel="epochs", ylabel="cosine", ylim=(0, 1))
axes[2].legend(loc="lower right")
plt.show()

# %%
# The claim is seen, with a limit. From the third epoch on the cosines rise as the
# network learns, to about 0.9, and the blocks of the two directions stand out in
# both matrices. They stay below 1 because scikit-learn's initial weights are not
# small, and part of them remains.
