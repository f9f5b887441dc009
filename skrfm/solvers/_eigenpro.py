"""EigenPro 2: preconditioned stochastic gradient descent that need not hold K.

S. Ma, M. Belkin, "Kernel machines that adapt to GPUs for effective large batch
training", MLSys 2019. The leading eigenvectors of the kernel of a subsample flatten the
spectrum, so that large steps on large batches do not diverge.
"""

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from .._backend import Array, Backend
from .._sklearn import Interval
from ..exceptions import NotConvergedError
from ._rows import CACHE_BYTES, CachedKernelRows
from ._solution import Solution, require_no_diagonal

# Rows of the subsample, at most half of all: more rows estimate eigenvectors better, at
# the cost of a larger eigendecomposition.
_SUBSAMPLE = 2000
# Eigenvectors of the preconditioner, and the rows of the subsample that each takes: it
# diverges with fewer.
_EIGENVECTORS, _ROWS_PER_EIGENVECTOR = 200, 5
# Exponent of the damping of the leading eigenvalues; 1 would flatten them completely.
_DAMPING = 0.95
# Rows of a batch, as a share of the number beyond which more rows speed up nothing.
_BATCH_SHARE = 1 / 2
# Rows of a batch, which bound the memory of its kernel values.
_MAX_BATCH = 4096
# Steps of power iteration, which leave the estimate of an eigenvalue a little low.
_POWER_STEPS, _SAFETY = 20, 1.1
# Epochs at most, and the residual relative to the targets that ends them: test errors
# are within 1 % of Cholesky (benchmarks/solvers.py).
_EPOCHS = 12
_TOLERANCE = 0.07
# Preconditioners that are tried, each with half of the eigenvectors and of the step.
_ATTEMPTS = 4


@dataclass(kw_only=True)
class _Problem:
    """The system (K + diag(ridge)) α = Y, its rows in random order.

    Attributes
    ----------
    kernel_rows : CachedKernelRows
        K.
    targets : array of shape (n, c)
    weight : array of shape (n, 1)
        Weights of the rows relative to the largest: smallest ridge / ridge.
    ridge : float
        The smallest ridge.
    mean_square : float
        Mean over the rows of the squared targets, summed over the outputs.
    """

    kernel_rows: CachedKernelRows
    targets: Array
    weight: Array
    ridge: float
    mean_square: float


@dataclass(kw_only=True)
class _Preconditioner:
    """The leading eigenvectors of a kernel matrix, with batch size and step.

    Attributes
    ----------
    vectors : array of shape (s, q)
        Eigenvectors of the kernel matrix of the first s rows.
    shrinkage : array of shape (q, 1)
        How much of a step each eigenvector removes.
    batch_size : int
    step : float
    """

    vectors: Array
    shrinkage: Array
    batch_size: int
    step: float

    @classmethod
    def from_gram(cls, gram, ridge, n_eigenvectors, backend):
        """Return the preconditioner of a streamed Gram with rows in random order."""
        n, dtype, xp = gram.T.shape[0], gram.T.dtype, backend.xp
        s = min(_SUBSAMPLE, n // 2)
        q = max(1, min(n_eigenvectors, s // _ROWS_PER_EIGENVECTOR))
        # rows of the subsample, and as many others to estimate the rest of the spectrum
        no_coef = backend.empty((2 * s, 0), gram.T)
        K = gram.rows_product(slice(0, 2 * s), no_coef, 2 * s)[1]
        values, vectors = backend.leading_eigenvectors(K[:s, :s] / s, q + 1)
        values, vectors = backend.to_numpy(values), vectors[:, :q]
        tail, values = values[q], values[:q]
        # below the ridge the spectrum is flat already
        damped = np.minimum(max(tail, ridge / n) / values, 1) ** _DAMPING
        shrinkage = backend.asarray((1 - damped) / (s * values), dtype)
        features = K[:, :s] @ vectors * xp.sqrt(shrinkage)
        # without the ridge in beta and top, it diverges for a ridge of the size of beta
        beta = float(xp.max(1 - xp.sum(features * features, axis=1))) + ridge
        others = K[s:, s:] - features[s:, :] @ features[s:, :].T
        top = max(values[0] * damped[0], _largest_eigenvalue(others, backend) / s)
        top += ridge / n
        batch_size = int(min(_BATCH_SHARE * beta / top + 1, _MAX_BATCH, n))
        return cls(
            vectors=vectors,
            shrinkage=shrinkage[:, None],
            batch_size=batch_size,
            step=1 / (beta + (batch_size - 1) * float(top)),
        )

    def run_epoch(self, problem, coef, xp):
        """Take the steps of one epoch, which update the coefficients in place.

        Returns
        -------
        float
            Mean over the rows of the squared residuals, each before the step of its
            batch.
        """
        V, s, n = self.vectors, self.vectors.shape[0], coef.shape[0]
        total = xp.zeros_like(coef[0, 0], dtype=xp.float64)
        for start in range(0, n, self.batch_size):
            rows = slice(start, min(start + self.batch_size, n))
            gradient, K_first = problem.kernel_rows.product(rows, coef)
            gradient -= problem.targets[rows, :]
            gradient *= problem.weight[rows, :]
            gradient += problem.ridge * coef[rows, :]
            total += xp.sum(gradient * gradient, dtype=xp.float64)
            gradient *= self.step
            coef[rows, :] -= gradient
            coef[:s, :] += V @ (self.shrinkage * (V.T @ (K_first.T @ gradient)))
        return float(total) / n


def _largest_eigenvalue(A, backend):
    """Return an upper estimate of the largest eigenvalue of a symmetric matrix."""
    xp = backend.xp
    v = np.random.default_rng(0).normal(size=(A.shape[0], 1))
    v = backend.asarray(v, A.dtype)
    for _ in range(_POWER_STEPS):
        v = A @ (v / xp.sqrt(xp.sum(v * v)))
    return _SAFETY * float(xp.sqrt(xp.sum(v * v)))


class EigenPro(BaseEstimator):
    """Preconditioned stochastic gradient descent, as an object with parameters.

    EigenPro 2 [1]_, for kernels of a distance: at its defaults it is
    ``solver="eigenpro"`` of the kernel machines. With `early_stopping` some rows are
    held out, and the epochs end where the error at these rows rises: on noisy targets,
    and above all on wrong labels, that takes the place of a ridge [2]_.

    Parameters
    ----------
    early_stopping : bool, default=False
        Whether held-out rows end the epochs. Otherwise a residual of 0.07 of the
        targets does. There are 12 epochs at most.
    validation_fraction : float, default=0.1
        The share of rows, drawn at random, that are held out with `early_stopping`.
        Their coefficients are 0. All rounds of an RFM hold out the same rows.
    n_iter_no_change : int, default=2
        With `early_stopping`, so many epochs in a row without a smaller error at the
        held-out rows end the descent. The coefficients are those of the epoch with the
        smallest error, the mean over the rows, by their weights, of squared residuals.
        The fitted estimator shows the epochs as `validation_scores_`, 1 less these
        errors relative to that of the intercept alone.

    See Also
    --------
    skrfm.RFMRegressor : Takes the object as its `solver`.

    Notes
    -----
    Fewer than 1000 rows are factorised, as with ``solver="eigenpro"``; with
    `early_stopping`, which an exact solution would not replace, fewer than 20.

    References
    ----------
    .. [1] S. Ma and M. Belkin, "Kernel machines that adapt to GPUs for effective large
       batch training", MLSys 2019.
    .. [2] C. Liu, A. Abedsoltan and M. Belkin, "On emergence of clean-priority learning
       in early stopped neural networks", arXiv:2306.02533, 2023.

    Examples
    --------
    Three labels in ten are wrong, and there is no ridge:

    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skrfm import RFMClassifier
    >>> from skrfm.solvers import EigenPro
    >>> X, y = load_digits(return_X_y=True)
    >>> rng = np.random.default_rng(0)
    >>> labels = np.where(rng.random(len(y)) < 0.3, rng.integers(10, size=len(y)), y)
    >>> options = {"kernel": "laplace", "alpha": 0.0, "max_iter": 0, "random_state": 0}
    >>> options |= {"validation": None, "scaling": None, "bandwidth": 40.0}
    >>> for solver in ("cholesky", EigenPro(early_stopping=True)):
    ...     model = RFMClassifier(solver=solver, **options)
    ...     model = model.fit(X[:1200], labels[:1200])
    ...     print(round(model.score(X[1200:], y[1200:]), 2))
    0.92
    0.93
    """

    _parameter_constraints: dict[str, list] = {
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self, *, early_stopping=False, validation_fraction=0.1, n_iter_no_change=2
    ):
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change

    def __call__(
        self,
        gram: Any,
        Y: Array,
        ridge: Array,
        backend: Backend,
        *,
        want_diagonal: bool = False,
        seed: int = 0,
    ) -> Solution:
        """Solve (K + diag(ridge)) α = Y approximately.

        Parameters
        ----------
        gram : StreamedGram
            K.
        Y : array of shape (n, c)
            The targets.
        ridge : array of shape (n,)
        backend : Backend
        want_diagonal : bool, default=False
            Not available.
        seed : int, default=0
            Shuffles the rows; the last ones are held out.

        Returns
        -------
        Solution
            With `early_stopping` its `validation_errors` are those of the epochs.

        Raises
        ------
        NotConvergedError
            If it diverges with every preconditioner that is tried.
        """
        self._validate_params()
        require_no_diagonal(want_diagonal, "eigenpro")
        xp, n = backend.xp, Y.shape[0]
        order = np.random.default_rng(seed).permutation(n)
        smallest = float(xp.min(ridge))
        no_ridge = smallest == 0
        weight = xp.ones_like(ridge) if no_ridge else smallest / ridge
        n_held = 0
        if self.early_stopping:
            n_held = min(max(1, round(self.validation_fraction * n)), n - 2)
        used, held = np.split(order, [n - n_held])
        held_out = None
        if n_held:
            held_out = _HeldOut(gram, Y, weight, used, held, backend)
        coef, errors = self._solve(
            gram.take(used),
            backend.take(Y, used),
            backend.take(weight, used)[:, None],
            smallest,
            held_out,
            backend,
        )
        if n_held:
            coef = xp.concat([coef, xp.zeros_like(backend.take(Y, held))])
        coef = backend.take(coef, np.argsort(order))
        return Solution(coef=coef, validation_errors=tuple(errors))

    def _solve(self, gram, targets, weight, ridge, held_out, backend):
        """Return the coefficients of rows in random order, and held-out errors."""
        xp = backend.xp
        squares = xp.sum(targets * targets, dtype=xp.float64)
        for attempt in range(_ATTEMPTS):
            fraction = 2**attempt
            preconditioner = _Preconditioner.from_gram(
                gram, ridge, _EIGENVECTORS // fraction, backend
            )
            preconditioner.step /= fraction
            n_first = preconditioner.vectors.shape[0]
            problem = _Problem(
                kernel_rows=CachedKernelRows(gram, n_first, backend),
                targets=targets,
                weight=weight,
                ridge=ridge,
                mean_square=float(squares) / targets.shape[0],
            )
            if held_out is None:
                coef, errors = _descend(preconditioner, problem, xp), []
            else:
                coef, errors = self._descend_to_best(
                    preconditioner, problem, held_out, xp
                )
            if coef is not None:
                return coef, errors
        raise NotConvergedError("solver='eigenpro' diverges; pass solver='pcg'.")

    def _descend_to_best(self, preconditioner, problem, held_out, xp):
        """Return the coefficients with the least error, and the errors of all epochs.

        Where they diverge, the coefficients are None.
        """
        best, errors = None, []
        for coef, _ in _epochs(preconditioner, problem, xp):
            if coef is None:
                return None, errors
            errors.append(held_out.error(coef))
            if errors[-1] == min(errors):
                best = xp.asarray(coef, copy=True)
            if len(errors) - int(np.argmin(errors)) > self.n_iter_no_change:
                break
        return best, errors


class _HeldOut:
    """The rows that end the epochs.

    Parameters
    ----------
    gram : StreamedGram
    Y : array of shape (n, c)
    weight : array of shape (n,)
    used, held : ndarrays of int
        The rows of the coefficients, and the held-out rows.
    backend : Backend
    """

    def __init__(self, gram, Y, weight, used, held, backend):
        self._xp, self._n = backend.xp, len(used)
        self._gram = gram.take(np.concatenate([used, held]))
        self._rows = slice(self._n, self._n + len(held))
        self._Y = backend.take(Y, held)
        self._weight = backend.take(weight, held)[:, None]
        self._zero_error = self._square(self._Y) or 1.0
        self._values = None
        like = self._gram.T
        side = int((len(used) * len(held)) ** 0.5)
        itemsize = int(self._xp.finfo(like.dtype).bits) // 8
        few = side**2 * itemsize <= CACHE_BYTES
        if few and backend.fits_in_memory(like[:side, :]):
            nothing = backend.empty((self._n, 0), like)
            self._values = self._gram.rows_product(self._rows, nothing, self._n)[1]

    def _square(self, residuals):
        """Return the weighted sum of squared residuals."""
        xp = self._xp
        return float(xp.sum(self._weight * residuals * residuals, dtype=xp.float64))

    def error(self, coef):
        """Return the error of coefficients, relative to that of zeros."""
        if self._values is None:
            product, _ = self._gram.rows_product(self._rows, coef)
        else:
            product = self._values @ coef
        return self._square(product - self._Y) / self._zero_error


def eigenpro(
    gram: Any,
    Y: Array,
    ridge: Array,
    backend: Backend,
    *,
    want_diagonal: bool = False,
    seed: int = 0,
) -> Solution:
    """Solve (K + diag(ridge)) α = Y approximately, as `EigenPro` at its defaults.

    Parameters as in `Solver`; `gram` is streamed, and `seed` shuffles the rows.
    """
    return EigenPro()(gram, Y, ridge, backend, want_diagonal=want_diagonal, seed=seed)


def _epochs(preconditioner, problem, xp):
    """Yield the coefficients, which change, and the residual of each epoch.

    Where they diverge, the coefficients are None, and the last.
    """
    coef, last = xp.zeros_like(problem.targets), np.inf
    for _ in range(_EPOCHS):
        residual = preconditioner.run_epoch(problem, coef, xp)
        # not "greater", so that NaN counts as divergence
        if not residual <= max(last, problem.mean_square):
            yield None, residual
            return
        yield coef, residual
        last = residual


def _descend(preconditioner, problem, xp):
    """Return the coefficients after the last epoch, or None if they diverge."""
    last = None
    for coef, residual in _epochs(preconditioner, problem, xp):
        last = coef
        if residual <= _TOLERANCE**2 * problem.mean_square:
            break
    return last
