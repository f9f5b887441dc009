"""Which labels are likely to be wrong, by leave-one-out outputs."""

from typing import Any

import numpy as np

from ..._backend import FloatArray, Table, Vector
from ._pool import Pool, kernel_rows, one_hot

# Ridges to choose from: noisy labels take large ones, of up to some 10 where half of
# the labels are wrong.
_ALPHAS = np.geomspace(1e-3, 100, 16)


def label_noise_scores(
    estimator: Any,
    X: Table,
    y: Vector,
    *,
    alphas: Vector | None = None,
    bandwidth: float | str = "3*median",
) -> FloatArray:
    """Score how likely each label is to be wrong.

    The score of a row is the largest output of another class less the output of its
    label, by the kernel machine that is fitted to all other rows: positive where these
    would give it another label. Leave-one-out outputs are in closed form, and the ridge
    is the one of the least leave-one-out error. Kernel machines learn what is common
    to many rows before what is particular to one [1]_, such as a wrong label, so the
    ridge keeps wrong labels from being fitted.

    Parameters
    ----------
    estimator : fitted RFMClassifier, or kernel
        A fitted classifier has a kernel, a bandwidth, a metric and an encoding of rows.
        If it was fitted to the same labels, without a ridge chosen on unseen rows, its
        metric may have learned wrong ones. Or a kernel of `skrfm.kernels`, or its name,
        for numeric rows that are taken as they are.
    X : array-like of shape (n_samples, n_features)
        Labelled rows. The cost grows with the third power of their number: about 3
        seconds for 2000.
    y : array-like of shape (n_samples,)
        Class labels.
    alphas : array-like of float, default=None
        Ridges to choose from. None is 16 from 0.001 to 100.
    bandwidth : float or str, default="3*median"
        The bandwidth of a kernel, as in `RFMClassifier`.

    Returns
    -------
    ndarray of shape (n_samples,)
        From about −1, where the label is certain, to 1. The labels of positive scores
        are those to look at.

    References
    ----------
    .. [1] C. Liu, A. Abedsoltan and M. Belkin, "On emergence of clean-priority learning
       in early stopped neural networks", 2023, arXiv:2306.02533.

    Examples
    --------
    One label in five is replaced by another:

    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.metrics import roc_auc_score
    >>> from skrfm.inspection import label_noise_scores
    >>> X, y = load_digits(return_X_y=True)
    >>> rng = np.random.default_rng(0)
    >>> wrong = rng.random(len(y)) < 0.2
    >>> y[wrong] = (y[wrong] + rng.integers(1, 10, size=wrong.sum())) % 10
    >>> scores = label_noise_scores("laplace", X[:600], y[:600])
    >>> round(float(roc_auc_score(wrong[:600], scores)), 3)
    1.0
    >>> round(float(np.mean(wrong[:600] == (scores > 0))), 3)
    0.98
    """
    codes, Y = one_hot(y)
    if Y.shape[1] < 2:
        raise ValueError("y must have two classes or more; it has one.")
    kernel, T, length = kernel_rows(estimator, X, bandwidth, name="label_noise_scores")
    if len(T) != len(Y):
        raise ValueError(f"X and y have {len(T)} and {len(Y)} rows.")
    pool = Pool.of(kernel, T, length, Y)
    ridges = np.asarray(_ALPHAS if alphas is None else alphas, dtype=float)
    if ridges.ndim != 1 or ridges.size == 0 or not (ridges >= 0).all():
        raise ValueError(f"alphas must be a list of ridges from 0 up; got {alphas!r}.")
    residuals, _ = pool.leave_one_out(ridges / len(T))
    outputs = Y - residuals[(residuals**2).sum(axis=(1, 2)).argmin()]
    rows = np.arange(len(codes))
    own = outputs[rows, codes]
    outputs[rows, codes] = -np.inf
    return outputs.max(axis=1) - own
