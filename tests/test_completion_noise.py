"""Variance factors of rows and columns, and the prior that they are shrunk to."""

import numpy as np
import pytest
from _completion import entries_of
from numpy.testing import assert_allclose
from scipy.stats import chi2, norm

from skrfm.completion._noise import NoiseFactors, likeliest_prior


def errors_of(of_rows, of_columns, rng, share=0.8):
    """Observed positions of a matrix, and normal errors of the given variances."""
    shape = len(of_rows), len(of_columns)
    entries = entries_of(np.where(rng.random(shape) < share, 1.0, np.nan))
    variance = of_rows[entries.rows] * of_columns[entries.cols]
    return entries, np.sqrt(variance) * rng.normal(size=len(entries))


def test_factors_are_those_that_were_planted(rng):
    a, b = rng.uniform(0.5, 2, size=150), rng.uniform(0.5, 2, size=100)
    entries, errors = errors_of(a, b, rng)
    found = NoiseFactors.of(entries, errors**2)
    ratio = np.outer(found.rows, found.columns) / np.outer(a, b)
    assert 0.95 < np.median(ratio) < 1.05
    assert np.quantile(np.abs(ratio - 1), 0.9) < 0.5
    nothing = NoiseFactors.of(entries, 0 * errors)
    assert (np.outer(nothing.rows, nothing.columns) == 0).all()


def test_quiet_columns_stay_quiet_and_equal_ones_equal(rng):
    quiet = np.where(np.arange(40) % 2, 0.04, 1.0)
    entries, errors = errors_of(np.ones(50), quiet, rng)
    found = NoiseFactors.of(entries, errors**2)
    # ten entries of average variance would make it .14
    assert found.columns[1::2].mean() == pytest.approx(0.04, rel=0.2)
    entries, errors = errors_of(np.ones(50), np.ones(40), rng)
    plain = np.bincount(entries.cols, errors**2) / entries.column_counts()
    found = NoiseFactors.of(entries, errors**2)
    assert found.columns.std() < 0.3 * plain.std()


@pytest.mark.parametrize(("tails", "ratio"), [("normal", 1.03), ("heavy", 1.15)])
def test_few_entries_are_shrunk_by_as_much_as_helps(tails, ratio, rng):
    """The error of variances is about that with the best of many fixed priors."""
    truth = 8 / chi2.rvs(8, size=300, random_state=rng)
    entries, errors = errors_of(np.ones(12), truth, rng)
    if tails == "heavy":
        errors *= np.sqrt(rng.choice([0.25, 4.0], p=[0.8, 0.2], size=len(errors)))
    found = NoiseFactors.of(entries, errors**2)
    sums = np.bincount(entries.cols, errors**2, 300)
    counts = entries.column_counts()

    def distance(variances):
        return np.std(np.log(variances / truth))

    fixed = [
        distance((sums + k * np.mean(errors**2)) / (counts + k))
        for k in (0.3, 1, 3, 10, 30, 100)
    ]
    assert distance(found.columns) < ratio * min(fixed)
    assert distance(found.columns) < 0.8 * max(fixed)


def test_the_prior_has_the_largest_marginal_likelihood(rng):
    """Against normal densities, averaged over quantiles of the prior."""
    counts = rng.integers(1, 9, size=40)
    variances = 1.5 * 5 / chi2.rvs(5, size=40, random_state=rng)
    errors = [
        np.sqrt(v) * rng.normal(size=n) for v, n in zip(variances, counts, strict=True)
    ]
    sums = np.array([np.sum(one**2) for one in errors])

    def log_likelihood(weight, size):
        x = chi2.ppf((np.arange(4000) + 0.5) / 4000, weight)
        scale = np.sqrt(weight * size / x)
        densities = [norm.pdf(one[:, None], scale=scale).prod(axis=0) for one in errors]
        return np.log(np.mean(densities, axis=1)).sum()

    weight, size = likeliest_prior(sums, counts)
    best = log_likelihood(weight, size)
    for factor in (0.8, 1.25):
        assert log_likelihood(weight * factor, size) < best
        assert log_likelihood(weight, size * factor) < best


def test_the_variance_of_an_entry_by_the_others(rng):
    """Against the same priors, and sums without the entry."""
    entries, errors = errors_of(np.ones(30), rng.uniform(0.2, 2, size=20), rng)
    found = NoiseFactors.of(entries, errors**2)
    changed = errors**2
    changed[7] *= 1.5  # too little to change a prior
    other = NoiseFactors.of(entries, changed)
    assert other.left_out[7] == pytest.approx(found.left_out[7], rel=0.02)
    at = entries.rows[7], entries.cols[7]
    assert other.columns[at[1]] > found.columns[at[1]]


def test_rows_and_columns_without_entries_are_average(rng):
    X = rng.normal(size=(30, 20))
    X[3], X[:, 5] = np.nan, np.nan
    entries = entries_of(X)
    found = NoiseFactors.of(entries, entries.values**2)
    assert found.rows[3] == pytest.approx(np.delete(found.rows, 3).mean())
    assert found.columns[5] == pytest.approx(np.delete(found.columns, 5).mean())


def test_factors_have_the_unit_of_the_errors(rng):
    entries, errors = errors_of(np.ones(30), np.ones(20), rng)
    found = NoiseFactors.of(entries, errors**2)
    scaled = NoiseFactors.of(entries, (4 * errors) ** 2)
    assert_allclose(scaled.columns, 16 * found.columns)
    assert_allclose(scaled.left_out, 16 * found.left_out)
