"""Low-rank factors by variational Bayes: a posterior of factors, not one estimate.

The entries are y_ij = u_i · v_j plus normal errors, with normal priors of u_i and v_j
whose covariances are learned, as is the variance of the errors. The covariances of the
posterior enter the equations of the other side, so that a row of few entries, which
least squares would fit exactly, hardly has an effect on them. Started at random, the
iterates reach matrices that have hardly more entries than degrees of freedom, where
minimisation ends at other minima; singular directions without support vanish.

Y. J. Lim and Y. W. Teh, "Variational Bayesian approach to movie rating prediction",
KDD Cup and Workshop 2007. For gross errors the entries are a mixture, of right ones
and of wrong ones with a larger variance: a contaminated normal distribution.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from ..._backend import FloatArray
from .._entries import Entries, ObservedEntries
from ._iterates import Iterate, Smoothing
from ._loss import first_weight, probability_right

# Steps of the posterior for one iterate: a step is cheap beside the decomposition.
STEPS = 10
# Iterates whose priors are fixed. Priors learned from the start shrink directions
# before they have support: of ten matrices with 1.5 times as many entries as degrees of
# freedom 4 were found, and 9 with fixed ones.
_FIXED_PRIORS = 3
# Iterates whose entries have equal weights: without a matrix all of them look wrong.
_FIXED_WEIGHTS = 1
# The first share of wrong entries, and their variance in units of the others.
_FIRST_SHARE, _FIRST_VARIANCE = 0.1, 10.0
# Bounds of that share; and the least variance of wrong entries over that of the others,
# without which either kind could take the place of the other.
_LEAST_SHARE, _MOST_SHARE, _LEAST_RATIO = 1e-3, 0.5, 4.0
# The least variance of a direction, and of errors, whose expected squares may be below
# zero by rounding: values are of about unit size. Priors of vanished directions are
# inverted too.
_LEAST_VARIANCE = 1e-30


def variational(
    entries: Entries,
    smoothing: Smoothing,
    *,
    max_rank: int,
    loss: str,
    random_state: np.random.RandomState,
) -> Iterator[Iterate]:
    """Yield iterates without end; a Solver, which computes on the CPU.

    ε of an iterate is a singular value of so many errors, and its directions are not
    cut off at ε. `smoothing` gives the exponent alone. With loss="absolute" a part of
    the entries may be wrong; values are then in units of the deviation of the bulk.
    """
    host = entries.on_host()
    host = host.with_values(host.values.astype(np.float64))
    # relative weights: the variance of the errors is learned
    given = host.weight.astype(np.float64)
    host.weight = given = given / given.mean()
    if loss == "absolute":
        host.weight = given * first_weight(host.values)
    posterior = _Posterior.start(
        host, given, max_rank, random_state, robust=loss == "absolute"
    )
    for number in count():
        for _ in range(STEPS):
            posterior.step(
                learn_priors=number >= _FIXED_PRIORS,
                learn_weights=number >= _FIXED_WEIGHTS,
            )
        U, s, V = (entries.asarray(a) for a in posterior.triplets())
        yield Iterate(
            number=number,
            entries=entries,
            U=U,
            s=s,
            V=V,
            eps=float(np.sqrt(posterior.noise * max(entries.shape))),
            penalty=0.0,
            exponent=smoothing.exponent,
            residuals=entries.values - entries.products(U * s, V),
            weight=entries.weight,
        )


@dataclass
class _Side:
    """The factors of the rows or the columns.

    Attributes
    ----------
    entries : ObservedEntries
        The entries with this side as rows. Their weights are those that were given
        times the probabilities that they are right.
    given : ndarray of shape (n_entries,)
        The weights that were given: the inverse of the variances of the errors, up to
        a factor.
    factors : tuple of ndarray, of shapes (m, k) and (m, k, k)
        The means and the covariances of the posterior.
    prior : ndarray of shape (k, k)
        The precision of the prior.
    """

    entries: ObservedEntries
    given: FloatArray
    factors: tuple[FloatArray, FloatArray]
    prior: FloatArray

    def update(self, other: "_Side", noise: float, *, learn_prior: bool) -> FloatArray:
        """Update the posterior from that of the other side.

        Return the expected squares of the errors of the entries, times the weights that
        were given.
        """
        weight = self.entries.weight
        self.factors, squares = self.entries.posterior_rows(
            other.factors, weight=weight, prior=self.prior, noise=noise
        )
        if learn_prior:
            means, covariances = self.factors
            lower = covariances.mean(axis=0)
            covariance = means.T @ means / len(means)
            covariance += lower + np.tril(lower, -1).T
            self.prior = _inverse(covariance)
        return self.given * squares

    def probabilities(self) -> FloatArray:
        """Return the probabilities that the entries are right."""
        return self.entries.weight / self.given


def _inverse(covariance: FloatArray) -> FloatArray:
    """Return the inverse of a covariance, which may be near singular."""
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, max(_LEAST_VARIANCE, 1e-15 * values[-1]))
    return (vectors / values) @ vectors.T


class _Posterior:
    """The posterior of the factors of both sides, and the variances of the errors."""

    def __init__(self, rows: _Side, columns: _Side, *, robust: bool):
        self._rows, self._columns, self._robust = rows, columns, robust
        self.noise = 1.0
        self._wrong_share, self._wrong_variance = _FIRST_SHARE, _FIRST_VARIANCE

    @classmethod
    def start(
        cls,
        entries: ObservedEntries,
        given: FloatArray,
        rank: int,
        random_state: np.random.RandomState,
        *,
        robust: bool,
    ) -> "_Posterior":
        """Return random factors whose products have about unit size."""
        prior, sides = np.eye(rank) * rank**0.5, []
        weights = given, entries.by_column(given)
        layouts = entries, entries.transposed()
        for side, weight in zip(layouts, weights, strict=True):
            means = random_state.standard_normal((side.shape[0], rank)) / rank**0.25
            factors = means, np.zeros((side.shape[0], rank, rank))
            sides.append(_Side(side, weight, factors, prior))
        return cls(*sides, robust=robust)

    def step(self, *, learn_priors: bool, learn_weights: bool) -> None:
        """Update the rows, then the columns and the variances."""
        rows, columns = self._rows, self._columns
        for side, other in ((rows, columns), (columns, rows)):
            squares = side.update(other, self.noise, learn_prior=learn_priors)
            if learn_weights and self._robust:
                side.entries.weight = side.given * self._probabilities(squares)
                other.entries.weight = side.entries.by_column(side.entries.weight)
            noise = float(np.average(squares, weights=side.probabilities()))
            self.noise = max(noise, _LEAST_VARIANCE)

    def _probabilities(self, squares: FloatArray) -> FloatArray:
        """Return the probability that each entry is right, and learn of the wrong ones.

        Parameters
        ----------
        squares : ndarray of shape (n_entries,)
            The expected squares of the errors, times the weights that were given.
        """
        right = probability_right(
            squares,
            noise=self.noise,
            wrong_share=self._wrong_share,
            wrong_variance=self._wrong_variance,
        )
        wrong = 1 - right
        self._wrong_share = float(np.clip(wrong.mean(), _LEAST_SHARE, _MOST_SHARE))
        least = _LEAST_RATIO * float(np.average(squares, weights=right))
        total = max(float(wrong.sum()), float(np.finfo(np.float64).tiny))
        self._wrong_variance = max(float(wrong @ squares) / total, least)
        return right

    def triplets(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the singular triplets of the product of the means."""
        left, a = np.linalg.qr(self._rows.factors[0])
        right, b = np.linalg.qr(self._columns.factors[0])
        u, s, vt = np.linalg.svd(a @ b.T)
        return left @ u, s, right @ vt.T
