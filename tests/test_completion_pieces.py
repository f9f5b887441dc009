"""What solvers of a completion share: smoothing, spectra, losses, stopping rules."""

from types import SimpleNamespace

import numpy as np
import pytest
from _completion import NoisyMatrix, every_dtype, orthonormal
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skrfm.completion._entries import ObservedEntries, degrees_of_freedom
from skrfm.completion._low_rank import _loss, _rows, _stopping
from skrfm.completion._low_rank._iterates import (
    Iterate,
    RowModel,
    Schedule,
    Smoothing,
    Spectrum,
    entry_weights,
    first_spectrum,
    shrinkage,
)

few = settings(max_examples=30, deadline=None, derandomize=True, database=None)

# -- smoothing ----------------------------------------------------------------------


def test_the_penalty_is_relative_to_the_spectrum_or_to_epsilon():
    assert Smoothing(power=0.25, ridge=0.1).penalty(3.0, 5.0) == pytest.approx(0.5)
    assert Smoothing(power=0.5, ridge=0.1).penalty(3.0, 5.0) == pytest.approx(2.5)
    assert Smoothing(power=0.5, coupling=2.0).penalty(3.0, 5.0) == pytest.approx(18)
    assert Smoothing().penalty(3.0, 5.0) == 0


def test_epsilon_falls_by_its_factor_down_to_the_floor():
    smoothing, spectrum = Smoothing(decay=0.9, floor=0.01), np.array([10.0, 5.0, 2.0])
    assert smoothing.next_eps(1, eps=3.0, spectrum=spectrum, rank=2) == pytest.approx(
        2.7
    )
    assert smoothing.next_eps(1, eps=0.1, spectrum=spectrum, rank=3) == pytest.approx(
        0.1
    )
    assert smoothing.next_eps(1, eps=1e-9, spectrum=spectrum, rank=3) == pytest.approx(
        0.1
    )


def test_epsilon_falls_to_the_far_side_of_a_gap():
    smoothing = Smoothing(decay=0.9)
    spectrum = np.array([10.0, 5.0, 0.4, 0.1])
    assert smoothing.next_eps(1, eps=3.0, spectrum=spectrum, rank=2) == pytest.approx(
        0.4
    )
    # but not by more than the ratio that makes a gap
    spectrum[2:] = 1e-6
    assert smoothing.next_eps(1, eps=3.0, spectrum=spectrum, rank=2) == pytest.approx(
        0.3
    )


def test_a_schedule_repeats_given_values_and_stays_at_the_last():
    schedule = Schedule(values=(3.0, 2.0, 1.5))
    assert schedule.first_eps(np.ones(4)) == 3.0
    got = [
        schedule.next_eps(number, eps=9.0, spectrum=np.ones(4), rank=1)
        for number in range(1, 5)
    ]
    assert got == [2.0, 1.5, 1.5, 1.5]


def test_shrinkage_of_what_weighs_as_the_rest_is_finite():
    level = {"base": 1.0, "penalty": 0.5}
    assert_allclose(shrinkage(np.array([3.0, 9.0]), **level), [0.75, 0.1875])
    assert np.isfinite(shrinkage(np.array([1.0, 0.5]), **level)).all()


def test_entry_weights_without_a_penalty_are_all_one():
    for part in entry_weights(np.array([0.1, 5.0]), base=2.0, penalty=0.0):
        assert_array_equal(part, [1, 1])


def test_entry_weights_are_those_of_a_least_squares_problem():
    """Of one entry: min ½ w (y − t − r)² + λ/2 r²/e over r, for each t."""
    w, e, penalty = np.array([0.3, 1.0, 4.0]), 0.7, 0.4
    effective, remainder = entry_weights(w, base=e, penalty=penalty)
    residual = 1.7
    r = w * residual / (w + penalty / e)
    assert_allclose(remainder * residual, r)
    least = 0.5 * w * (residual - r) ** 2 + penalty / 2 * r**2 / e
    factor = penalty / (e + penalty)  # of the objective, as the other terms have it
    assert_allclose(0.5 * factor * effective * residual**2, least)


# -- iterates and spectra -----------------------------------------------------------


def iterate_of(U, s, V, **fields):
    empty = np.zeros(0)
    unused = {"entries": None, "residuals": empty, "weight": empty}
    defaults = {"number": 0, "eps": 0.1, "penalty": 0.0, "exponent": 1.0}
    return Iterate(U=U, s=s, V=V, **unused | defaults | fields)


NEAR = [(np.float32, size) for size in (1.0, 1e-3, 1e-5)]
NEAR += [(np.float64, size) for size in (1.0, 1e-4, 1e-8, 1e-11)]


@pytest.mark.parametrize(("dtype", "size"), NEAR)
def test_the_distance_of_iterates_is_accurate_however_near_they_are(dtype, size):
    """A difference of squares would lose half of the digits."""
    eps = float(np.finfo(dtype).eps)
    rng = np.random.default_rng(0)
    U, V = orthonormal(rng, 30, 3), orthonormal(rng, 20, 3)
    s = np.array([5.0, 2.0, 1.0])
    W = (U * s) @ V.T
    E = rng.normal(size=W.shape)
    u, t, vt = np.linalg.svd(W + size * E / np.linalg.norm(E), full_matrices=False)
    other = [x.astype(dtype) for x in (u[:, :4], t[:4], vt[:4].T)]
    one = [x.astype(dtype) for x in (U, s, V)]
    A, B = ((np.float64(U) * s) @ np.float64(V).T for U, s, V in (one, other))
    expected = np.linalg.norm(A - B) / np.linalg.norm(A)
    got = iterate_of(*one).distance(iterate_of(*other))
    assert got == pytest.approx(expected, rel=1e-3, abs=4 * eps)
    assert iterate_of(*one).distance(iterate_of(*one)) <= 4 * eps


@few
@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 1000))
def test_a_full_spectrum_has_the_singular_triplets(m, n, seed):
    problem = NoisyMatrix(m, n, seed=seed)
    if len(problem.entries) == 0:
        return
    rng, k = problem.rng, min(m, n)
    spectrum = Spectrum(
        problem.entries, max_rank=k, random_state=np.random.RandomState(seed)
    )
    L, R = rng.normal(size=(m, 2)), rng.normal(size=(n, 2))
    values = rng.normal(size=len(problem.entries))
    W = L @ R.T + problem.sparse(values)
    if m < n:  # the start does not span all the rows yet
        spectrum.update(problem.entries, values, (L, R))
    spectrum.update(problem.entries, values, (L, R))
    scale = np.linalg.norm(W, 2)
    s = np.linalg.svd(W, compute_uv=False)
    assert_allclose(spectrum.s[: len(s)], s, atol=1e-10 * scale)
    assert_allclose((spectrum.U * spectrum.s) @ spectrum.V.T, W, atol=1e-10 * scale)
    spectrum.transpose()
    assert spectrum.U.shape[0] == n and spectrum.V.shape[0] == m


def test_a_spectrum_follows_its_matrix_to_the_leading_triplets():
    problem = NoisyMatrix(40, 30, share=0.3)
    spectrum = Spectrum(
        problem.entries, max_rank=2, random_state=np.random.RandomState(0)
    )
    rng, values = problem.rng, np.zeros(len(problem.entries))
    L, R = rng.normal(size=(40, 9)), rng.normal(size=(30, 9))
    for _ in range(200):
        spectrum.update(problem.entries, values, (L, R))
    s = np.linalg.svd(L @ R.T, compute_uv=False)
    assert len(spectrum.s) == 2 + Spectrum._EXTRA
    assert_allclose(spectrum.s[:2], s[:2], rtol=1e-9)
    assert spectrum.count_above((s[1] + s[2]) / 2, 5) == 2
    assert spectrum.count_above(0.0, 3) == 3 and spectrum.count_above(np.inf, 3) == 1


def test_the_first_spectrum_is_that_of_the_weighted_entries():
    problem = NoisyMatrix(12, 6)
    spectrum = first_spectrum(
        problem.entries, max_rank=6, random_state=np.random.RandomState(0)
    )
    S = problem.sparse((problem.weight * problem.Y)[problem.mask])
    assert_allclose(spectrum.s, np.linalg.svd(S, compute_uv=False), rtol=1e-9)


# -- losses -------------------------------------------------------------------------


@every_dtype
def test_huber_weights_are_bound_over_residual_beyond_the_bound(dtype):
    residuals = np.array([0.0, 1.0, -2.0, 4.0, -8.0], dtype=dtype)
    got = _loss.huber_weight(2.0, residuals)
    assert got.dtype == dtype
    assert_array_equal(got, [1, 1, 1, 0.5, 0.25])


@every_dtype
def test_the_bound_follows_the_bulk_of_the_residuals(dtype):
    residuals = np.random.default_rng(0).normal(size=20_001).astype(dtype)
    assert _loss.robust_deviation(3 * residuals) == pytest.approx(3, rel=0.02)
    residuals[:500] = 1e6
    assert _loss.huber_bound(residuals) == pytest.approx(2, rel=0.1)
    weight = np.full(len(residuals), 0.5, dtype=dtype)
    got = _loss.reweighted(weight, residuals, "huber")
    assert got.dtype == dtype and (got[:500] < 2e-6).all()
    assert _loss.reweighted(weight, residuals, "squared") is weight


@every_dtype
def test_residuals_that_are_all_zero_keep_their_weight(dtype):
    got = _loss.reweighted(np.ones(3, dtype=dtype), np.zeros(3, dtype=dtype), "huber")
    assert_array_equal(got, [1, 1, 1])


def test_the_mean_square_of_residuals_is_weighted():
    residuals, weight = np.array([1.0, -3.0, 2.0]), np.array([1.0, 0.5, 0.5])
    assert _loss.mean_square(weight, residuals, "squared") == pytest.approx(3.75)


def test_with_a_huber_loss_the_mean_square_is_that_of_the_bulk():
    residuals = 3 * np.random.default_rng(0).normal(size=20_001)
    weight = np.ones_like(residuals)
    assert _loss.mean_square(weight, residuals, "huber") == pytest.approx(9, rel=0.03)
    residuals[:1000] *= 1e6
    assert _loss.mean_square(weight, residuals, "huber") < 15


# -- rows ---------------------------------------------------------------------------


def test_new_rows_are_ridge_regressions_on_the_directions():
    problem = NoisyMatrix()
    V, penalty = orthonormal(problem.rng, 7, 2), np.array([0.2, 0.7])
    Z = _rows.new_rows(problem.entries, RowModel(V, penalty))
    for i, seen in enumerate(problem.mask):
        root = np.sqrt(problem.weight[i, seen])
        A = np.vstack([root[:, None] * V[seen], np.diag(np.sqrt(penalty))])
        b = np.concatenate([root * problem.Y[i, seen], np.zeros(2)])
        assert_allclose(Z[i], np.linalg.lstsq(A, b)[0], atol=1e-12)


def test_with_a_bound_new_rows_are_robust_regressions():
    """The gradient of Huber's loss and the penalty vanishes, to what 30 steps do."""
    problem = NoisyMatrix(12, 30, share=0.9)
    problem.entries.values[::9] += 50
    V, penalty, bound = orthonormal(problem.rng, 30, 2), np.array([0.2, 0.7]), 0.8
    Z = _rows.new_rows(problem.entries, RowModel(V, penalty, bound))
    residuals = problem.entries.values - problem.entries.products(Z, V)
    slope = problem.entries.weight * np.clip(residuals, -bound, bound)
    S = problem.sparse(slope)
    assert_allclose(S @ V, Z * penalty, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_of_fewer_entries_than_directions_are_solved(dtype):
    entries = ObservedEntries([0], [2], np.array([3.0], dtype=dtype), shape=(2, 4))
    V = orthonormal(np.random.default_rng(0), 4, 3).astype(dtype)
    iterate = iterate_of(V[:, :3], np.array([9.0, 8, 7], dtype=dtype), V, eps=1e-9)
    model = _rows.row_model(iterate, "squared")
    Z = _rows.new_rows(entries, model)
    assert Z.dtype == dtype and np.isfinite(Z).all()
    assert (Z[0] @ V.T)[2] == pytest.approx(3, rel=1e-3)
    assert_array_equal(Z[1], 0)


# -- when to stop -------------------------------------------------------------------


@pytest.mark.parametrize(("m", "n", "rank"), [(5, 4, 1), (5, 4, 3), (4, 4, 4)])
def test_degrees_of_freedom_are_the_dimension_of_the_tangent_space(m, n, rank):
    rng = np.random.default_rng(0)
    U, V = rng.normal(size=(m, rank)), rng.normal(size=(n, rank))
    tangents = [np.outer(e, v) for e in np.eye(m) for v in V.T]
    tangents += [np.outer(u, e) for e in np.eye(n) for u in U.T]
    dimension = np.linalg.matrix_rank(np.reshape(tangents, (-1, m * n)))
    assert degrees_of_freedom(rank, (m, n)) == dimension


def problem_of(**fields):
    """The fields of a Problem that stopping rules use."""
    return SimpleNamespace(**{"loss": "squared", "tol": 1e-6, "max_rank": 4} | fields)


@pytest.mark.parametrize("rate", [0.5, 0.99])
def test_iterates_have_converged_near_their_limit_not_where_steps_are_small(rate):
    """Iterates 1 + rateᵗ have converged when rateᵗ is below tol, at any rate."""
    entries = ObservedEntries([0], [0], np.ones(1), shape=(1, 1))
    rule = _stopping.ConvergenceRule(entries, problem_of(tol=1e-4), floor=0.1)
    one = np.ones((1, 1))
    for number in range(3000):
        s = np.array([1 + rate**number])
        off = {"residuals": np.ones(1), "weight": np.ones(1)}
        _, stop = rule(iterate_of(one, s, one, number=number, eps=0.1, **off))
        if stop:
            break
    assert rule.converged and not rule.exact
    assert 1e-5 <= rate**number <= 2e-4


def hold_out(factors, loss="squared"):
    """The rule for hidden entries diag(3, 2, 1), after iterates diag(factors)."""
    entries = ObservedEntries(range(3), range(3), np.array([3.0, 2, 1]), shape=(3, 3))
    rule = _stopping.HoldOutRule(entries, problem_of(loss=loss))
    scores, stops = [], []
    for number, s in enumerate(factors):
        unit = np.eye(3)[:, : len(s)]
        found = iterate_of(unit, np.array(s, dtype=float), unit, number=number)
        score, stop = rule(found)
        scores.append(score)
        stops.append(stop)
    return rule, scores, stops


def test_the_best_iterate_predicts_the_hidden_entries_best():
    rule, scores, stops = hold_out([[2], [3, 2], [3, 1], [3]])
    assert_allclose(np.square(scores) * 3, [6, 1, 2, 5])
    assert rule.best.number == 1 and not any(stops)
    assert rule.r2(rule.best.products(rule.entries)) == pytest.approx(0.5)
    _, scores, _ = hold_out([[2], [3, 2], [3, 1], [3]], loss="huber")
    assert_allclose(np.array(scores) * 3, [4, 1, 2, 3])


@pytest.mark.parametrize(("last", "rank"), [(1e-4, 2), (0.5, 3)])
def test_a_rank_that_hardly_predicts_better_is_not_taken(last, rank):
    rule, _, _ = hold_out([[2], [3, 2, last], [3, 1]])
    assert rule.best.rank == 3 and rule.rank() == rank


@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_the_search_stops_after_iterates_that_are_no_better(loss):
    patience = _stopping._PATIENCE[loss]
    rule, _, stops = hold_out([[2], [3, 2]] + patience * [[3, 1]], loss)
    assert stops == (patience + 1) * [False] + [True]
    assert rule.converged and rule.best.number == 1


def test_hidden_entries_that_are_all_equal_have_no_score():
    entries = ObservedEntries([0, 1], [0, 1], np.ones(2), shape=(2, 2))
    rule = _stopping.HoldOutRule(entries, problem_of())
    rule(iterate_of(np.eye(2), np.ones(2), np.eye(2)))
    assert np.isnan(rule.r2(np.ones(2)))
