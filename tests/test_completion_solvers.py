"""The solvers of a completion, against dense algebra and the objective itself.

Every oracle here works on dense matrices: one least squares problem of all m·n
unknowns for a step, SciPy's singular values, proximal gradients for the nuclear norm.
"""

import numpy as np
import pytest
from _completion import SOLVERS, NoisyMatrix, every_dtype, every_solver
from numpy.testing import assert_allclose

from skrfm import LinRFMCompleter
from skrfm.completion._low_rank import _exact, _search, _two_sided
from skrfm.completion._low_rank._alternating import RowStep, alternating
from skrfm.completion._low_rank._iterates import Smoothing

every_power = pytest.mark.parametrize("power", [0.25, 0.4, 0.5])


# -- oracles ------------------------------------------------------------------------


def completed_basis(U):
    """An orthonormal basis of the whole space that begins with U."""
    Q = np.linalg.qr(np.float64(U), mode="complete")[0]
    Q[:, : U.shape[1]] = U
    return Q


def weighted_least_squares(P, penalty, mask, Y, weight):
    """argmin_W ½ Σ_e w_e (y_e − W_e)² + λ/2 vec(W)ᵀ P⁻¹ vec(W), by all unknowns.

    Without λ the least P-norm of all W that match the entries.
    """
    seen = np.flatnonzero(mask)
    if penalty == 0:
        solved = np.linalg.solve(P[np.ix_(seen, seen)], Y[mask])
        return (P[:, seen] @ solved).reshape(mask.shape)
    normal = penalty * np.linalg.inv(P)
    normal[seen, seen] += weight[mask]
    right = np.zeros(mask.size)
    right[seen] = (weight * Y)[mask]
    return np.linalg.solve(normal, right).reshape(mask.shape)


def two_sided_metric(U, s, V, eps, exponent):
    """The metric of a step: (σ_i σ_j)^a on all pairs of singular vectors."""
    left, right = np.full(len(U), eps), np.full(len(V), eps)
    left[: len(s)] = right[: len(s)] = s
    basis = np.kron(completed_basis(U), completed_basis(V))
    return (basis * np.multiply.outer(left, right).ravel() ** exponent) @ basis.T


def soft_impute(mask, Y, alpha, steps=3000):
    """The nuclear norm solution with λ = alpha σ_1(W), by proximal gradients."""
    W, penalty = np.zeros(mask.shape), 0.0
    for _ in range(steps):
        previous = W
        U, s, Vt = np.linalg.svd(np.where(mask, Y, W), full_matrices=False)
        s = np.maximum(s - penalty, 0)
        W, penalty = (U * s) @ Vt, alpha * s[0]
        if np.linalg.norm(W - previous) <= 1e-13 * np.linalg.norm(W):
            break
    return W


# -- one step -----------------------------------------------------------------------


def tangent_step(problem, spectrum, **options):
    """The step of the two-sided solver from all triplets of a spectrum."""
    rank, entries = len(spectrum.s), problem.entries
    return _two_sided.TangentStep(
        entries, spectrum, entries.weight, rank=rank, **options
    )


@every_dtype
@every_power
@pytest.mark.parametrize("penalty", [0.0, 0.2])
@pytest.mark.parametrize("k", [1, 2, 7])
def test_a_two_sided_step_solves_the_full_problem(
    k, penalty, power, dtype, monkeypatch
):
    """The low-rank part and the sparse one together, once the gradients converge."""
    monkeypatch.setattr(_two_sided, "_REDUCTION", 0.0)
    monkeypatch.setattr(_two_sided, "_MAX_STEPS", 500)
    problem, eps, a = NoisyMatrix(dtype=dtype), 0.8, 2 * power
    spectrum = problem.triplets(k)
    step = tangent_step(problem, spectrum, exponent=a, eps=eps, penalty=penalty)
    tangent = step.solve(problem.entries.by_column(problem.entries.values))
    L, R = step.factors(tangent)
    residuals = problem.entries.values - step.products(tangent)
    got = L @ R.T + problem.sparse(step.remainder * residuals)
    U, s, V = (np.float64(x) for x in (spectrum.U, spectrum.s, spectrum.V))
    P = two_sided_metric(U, s, V, eps, a)
    expected = weighted_least_squares(
        P, penalty, problem.mask, problem.Y, problem.weight
    )
    assert L.dtype == R.dtype == residuals.dtype == dtype
    assert_allclose(got, expected, atol=1e-9 if dtype == np.float64 else 2e-3)


def test_a_two_sided_step_lowers_the_residual_of_its_equations():
    """At the constants of the package, to the share that they promise."""
    problem = NoisyMatrix(30, 20)
    spectrum = problem.triplets(3)
    step = tangent_step(problem, spectrum, exponent=1.0, eps=0.8, penalty=0.1)
    values, entries = step.weight * problem.entries.values, problem.entries
    right = step._project(
        entries.row_sums(values, step.V), entries.column_sums(values, step.U)
    )

    def size(vector):
        residual = _two_sided._combine(right, -1, step._apply(vector))
        return _two_sided._dot(residual, step._precondition(residual)) ** 0.5

    start = np.diag(spectrum.s), np.zeros((30, 3)), np.zeros((20, 3))
    tangent = step.solve(entries.by_column(entries.values))
    assert size(tangent) <= _two_sided._REDUCTION * size(start)


@pytest.mark.parametrize("penalty", [0.0, 0.2])
def test_the_tangent_operator_is_symmetric_and_positive(penalty):
    problem = NoisyMatrix(30, 20)
    rng, k = problem.rng, 3
    spectrum = problem.triplets(k)
    step = tangent_step(problem, spectrum, exponent=1.0, eps=0.8, penalty=penalty)

    def vector():
        B, C = rng.normal(size=(30, k)), rng.normal(size=(20, k))
        B -= step.U @ (step.U.T @ B)
        C -= step.V @ (step.V.T @ C)
        return rng.normal(size=(k, k)), B, C

    x, y = vector(), vector()
    dot, apply = _two_sided._dot, step._apply
    assert dot(x, apply(y)) == pytest.approx(dot(y, apply(x)), rel=1e-12)
    assert dot(x, apply(x)) > 0


@every_dtype
@every_power
@pytest.mark.parametrize("penalty", [0.0, 0.2])
def test_the_alternating_step_solves_for_the_rows(penalty, power, dtype):
    """As P[:, I] (P[I, I] + λ/w)⁻¹ y with P = V diag(p − e) Vᵀ + e I."""
    problem, k, eps, a = NoisyMatrix(dtype=dtype), 2, 0.8, 2 * power
    entries, spectrum, parts = problem.entries, problem.triplets(k), []
    spectrum.update = lambda *arguments: parts.append(arguments)
    base, powers = eps ** (2 * a), spectrum.s ** (2 * a)
    step = RowStep(rank=k, exponent=a, eps=eps, penalty=penalty)
    step.solve(entries, spectrum, entries.weight)
    ((_, sparse, (Z, V)),) = parts
    got = Z @ V.T + problem.sparse(sparse)
    V = np.float64(V)
    P = (V * (powers - base)) @ V.T + base * np.eye(len(V))
    for i, seen in enumerate(problem.mask):
        A = P[np.ix_(seen, seen)] + np.diag(penalty / problem.weight[i, seen])
        expected = P[:, seen] @ np.linalg.solve(A, problem.Y[i, seen])
        assert_allclose(got[i], expected, atol=1e-10 if dtype == np.float64 else 1e-4)


@every_power
@pytest.mark.parametrize("penalty", [0.0, 0.2])
def test_the_exact_step_solves_for_all_rows_at_once(penalty, power):
    problem = NoisyMatrix()
    P = problem.rng.normal(size=(7, 7))
    P = np.linalg.matrix_power(P @ P.T + np.eye(7), 2)
    whole = np.kron(np.eye(9), P)
    entries = problem.entries
    W = _exact._solve_rows(entries, P, penalty=penalty, weight=entries.weight)
    expected = weighted_least_squares(
        whole, penalty, problem.mask, problem.Y, problem.weight
    )
    assert_allclose(W, expected, atol=1e-9)


# -- the recursion ------------------------------------------------------------------


def naive_two_sided(problem, smoothing, max_rank, count):
    """Dense reweighted least squares: (W, ε) of each iterate."""
    S, (m, n) = problem.sparse(problem.weight[problem.mask] * 1.0), problem.mask.shape
    U, s, Vt = np.linalg.svd(S * problem.Y)
    eps, s, found = (
        smoothing.first_eps(s[: max_rank + 1]),
        s * m * n / S.astype(bool).sum(),
        [],
    )
    for number in range(count):
        rank = max(1, int((s[:max_rank] > eps).sum()))
        P = two_sided_metric(
            U[:, :rank], s[:rank], Vt[:rank].T, eps, smoothing.exponent
        )
        penalty = smoothing.penalty(eps, s[0])
        W = weighted_least_squares(P, penalty, problem.mask, problem.Y, problem.weight)
        U, s, Vt = np.linalg.svd(W)
        found.append(((U[:, :rank] * s[:rank]) @ Vt[:rank], eps))
        rank = max(1, int((s[:max_rank] > eps).sum()))
        eps = smoothing.next_eps(number + 1, eps=eps, spectrum=s[:max_rank], rank=rank)
    return found


@every_power
@pytest.mark.parametrize("options", [{}, {"ridge": 0.02}, {"coupling": 0.5}], ids=str)
def test_two_sided_iterates_are_those_of_the_dense_recursion(
    options, power, monkeypatch
):
    """With as many singular vectors as the matrix has, and converged gradients."""
    monkeypatch.setattr(_two_sided, "_REDUCTION", 0.0)
    monkeypatch.setattr(_two_sided, "_MAX_STEPS", 500)
    problem, smoothing = NoisyMatrix(), Smoothing(power=power, decay=0.8, **options)
    expected = naive_two_sided(problem, smoothing, 4, count=8)
    solver = _two_sided.two_sided(
        problem.entries,
        smoothing,
        max_rank=4,
        loss="squared",
        random_state=np.random.RandomState(0),
    )
    for (W, eps), iterate in zip(expected, solver, strict=False):
        assert iterate.eps == pytest.approx(eps, rel=1e-6)
        assert_allclose((iterate.U * iterate.s) @ iterate.V.T, W, atol=1e-5)


def naive_exact(problem, smoothing, max_rank, count):
    """The recursion of the paper, one row at a time: W and ε of each iterate."""
    s = np.linalg.svd(problem.sparse(problem.Y[problem.mask]))[1]
    eps, a = smoothing.first_eps(s[: max_rank + 1]), smoothing.exponent
    P, found = np.eye(problem.mask.shape[1]) * s[0] ** (2 * a), []
    for number in range(count):
        penalty = smoothing.penalty(eps, s[0])
        W = np.zeros(problem.mask.shape)
        for i, seen in enumerate(problem.mask):
            A = P[np.ix_(seen, seen)] + np.diag(penalty / problem.weight[i, seen])
            W[i] = P[:, seen] @ np.linalg.solve(A, problem.Y[i, seen])
        U, s, Vt = np.linalg.svd(W)
        rank = max(1, int((s[:max_rank] > eps).sum()))
        found.append(((U[:, :rank] * s[:rank]) @ Vt[:rank], eps))
        eps = smoothing.next_eps(number + 1, eps=eps, spectrum=s[:max_rank], rank=rank)
        P = (Vt.T * (s**2 + eps**2) ** a) @ Vt
    return found


@every_power
@pytest.mark.parametrize("coupling", [0.0, 0.5])
def test_exact_iterates_are_those_of_the_paper(coupling, power):
    problem = NoisyMatrix()
    smoothing = Smoothing(power=power, coupling=coupling, decay=0.8, floor=0.05)
    solver = _exact.exact(problem.entries, smoothing, max_rank=4, loss="squared")
    expected = naive_exact(problem, smoothing, 4, count=8)
    for (W, eps), iterate in zip(expected, solver, strict=False):
        assert iterate.eps == pytest.approx(eps, rel=1e-9)
        assert_allclose((iterate.U * iterate.s) @ iterate.V.T, W, atol=1e-8)


@pytest.mark.parametrize("solver", [_two_sided.two_sided, alternating, _exact.exact])
def test_iterates_report_their_own_residuals(solver):
    problem = NoisyMatrix()
    iterates = solver(
        problem.entries,
        Smoothing(coupling=0.5),
        max_rank=3,
        loss="huber",
        random_state=np.random.RandomState(0),
    )
    for number, iterate in zip(range(4), iterates, strict=False):
        W = (iterate.U * iterate.s) @ iterate.V.T
        fitted = iterate.products(problem.entries)
        assert iterate.number == number and iterate.rank == len(iterate.s) <= 3
        assert_allclose(fitted, W[problem.mask], atol=1e-12)
        assert_allclose(iterate.U.T @ iterate.U, np.eye(iterate.rank), atol=1e-12)
        assert_allclose(iterate.V.T @ iterate.V, np.eye(iterate.rank), atol=1e-12)
        assert (np.diff(iterate.s) <= 0).all()
        assert iterate.residuals.shape == iterate.weight.shape == fitted.shape


# -- where they end -----------------------------------------------------------------


def solution(problem, solver, power, alpha, max_rank, **parameters):
    """U, s and V of the values over their root mean square, and that number."""
    X = np.where(problem.mask, problem.Y, np.nan)
    completer = LinRFMCompleter(
        power=power, alpha=alpha, max_rank=max_rank, solver=solver, random_state=0
    )
    completer.set_params(**{"max_iter": 3000, **parameters}).fit(X)
    scale = np.sqrt(np.mean(problem.Y[problem.mask] ** 2))
    (U, s, V), rank = completer.factors_, completer.rank_
    return U[:, :rank], s[:rank] / scale, V[:, :rank], scale


CASES = [(0.25, 0.2), (0.375, 0.05), (0.5, 0.01)]
every_case = pytest.mark.parametrize(("power", "alpha"), CASES)


@every_case
@every_solver
def test_the_gradient_of_the_objective_vanishes_at_the_solution(solver, power, alpha):
    """On the tangent space, but for what the last ε adds to the penalty."""
    problem = NoisyMatrix(20, 16)
    U, s, V, scale = solution(problem, solver, power, alpha, max_rank=4)
    W = (U * s) @ V.T
    loss_slope = np.where(problem.mask, W - problem.Y / scale, 0)
    ridge = alpha * s[0] ** (4 * power)
    slope = ridge * s ** (1 - 4 * power)
    # on the tangent space the gradient is −U diag(slope) Vᵀ
    size = np.linalg.norm(slope)
    assert np.linalg.norm(loss_slope @ V + U * slope) <= 0.015 * size
    assert np.linalg.norm(U.T @ loss_slope + slope[:, None] * V.T) <= 0.015 * size
    # with the last ε in it: σ of W and its sparse part, and e + λ in place of λ
    total = s.copy()
    for _ in range(50):
        rest = _search._SHARE_OF_RIDGE * alpha * total[0] ** (4 * power)
        total = s + rest * total ** (1 - 4 * power)
    slope = (rest + alpha * total[0] ** (4 * power)) * total ** (1 - 4 * power)
    assert np.linalg.norm(loss_slope @ V + U * slope) <= 1e-6 * size
    assert np.linalg.norm(U.T @ loss_slope + slope[:, None] * V.T) <= 1e-6 * size


def test_the_gradient_of_the_objective_is_that_of_finite_differences():
    """The formula that the test before this one stands on."""
    problem, power, ridge = NoisyMatrix(), 0.375, 0.3
    order = 2 - 4 * power

    def objective(W):
        s = np.linalg.svd(W, compute_uv=False)[:2]
        residuals = (W - problem.Y)[problem.mask]
        return 0.5 * residuals @ residuals + ridge / order * (s**order).sum()

    start = problem.triplets()
    W = (start.U * start.s) @ start.V.T
    gradient = np.where(problem.mask, W - problem.Y, 0)
    gradient += ridge * (start.U * start.s ** (1 - 4 * power)) @ start.V.T
    rng = problem.rng
    for _ in range(5):
        # a direction of the tangent space
        D = start.U @ rng.normal(size=(2, 7)) + rng.normal(size=(9, 2)) @ start.V.T
        slope = (objective(W + 1e-6 * D) - objective(W - 1e-6 * D)) / 2e-6
        assert slope == pytest.approx((gradient * D).sum(), rel=1e-6)


def distance(one, other):
    W, Z = ((U * s) @ V.T for U, s, V, _ in (one, other))
    return np.linalg.norm(W - Z) / np.linalg.norm(W)


@every_case
@pytest.mark.parametrize("noise", [False, True])
def test_the_solvers_end_at_the_same_matrix(noise, power, alpha):
    problem = NoisyMatrix(20, 16)
    if not noise:
        rng = problem.rng
        problem.Y = rng.normal(size=(20, 2)) @ rng.normal(size=(2, 16))
    one, other = (solution(problem, solver, power, alpha, 4) for solver in SOLVERS)
    assert distance(one, other) <= 1e-6


def test_the_exact_solver_ends_near_the_others():
    """It smooths in another way, and its iterates slow down: so far in 300 of them."""
    problem = NoisyMatrix(20, 16, share=0.9)
    expected = solution(problem, "two-sided", 0.5, 0.01, max_rank=4)
    got = solution(problem, "exact", 0.5, 0.01, max_rank=4, max_iter=300, tol=1e-3)
    assert len(got[1]) == len(expected[1]) == 2
    assert distance(got, expected) <= 0.05


@pytest.mark.parametrize("solver", [*SOLVERS, "exact"])
def test_with_a_ridge_no_solver_stops_at_a_match_that_ignores_it(solver):
    """Of noise a matrix of full rank matches all entries, but a ridge forbids it."""
    problem = NoisyMatrix(20, 16, share=0.9)
    U, s, V, scale = solution(problem, solver, 0.25, 0.2, max_rank=16, tol=1e-3)
    residuals = ((U * s) @ V.T - problem.Y / scale)[problem.mask]
    assert len(s) < 5 and np.sqrt(np.mean(residuals**2)) > 0.05


@pytest.mark.parametrize("alpha", [0.1, 0.3])
@every_solver
def test_with_the_power_a_quarter_the_solution_has_the_least_nuclear_norm(
    solver, alpha
):
    problem = NoisyMatrix(20, 16, share=0.8)
    U, s, V, scale = solution(problem, solver, 0.25, alpha, max_rank=16)
    expected = soft_impute(problem.mask, problem.Y / scale, alpha)
    error = np.linalg.norm((U * s) @ V.T - expected) / np.linalg.norm(expected)
    # the floor of ε adds 1 % to λ = alpha σ_1
    assert error <= 0.03 * alpha


def test_the_nuclear_norm_solution_is_met_as_the_floor_of_smoothing_falls(monkeypatch):
    monkeypatch.setattr(_search, "_SHARE_OF_RIDGE", 1e-6)
    problem = NoisyMatrix(20, 16)
    U, s, V, scale = solution(problem, "alternating", 0.25, 0.2, max_rank=16)
    expected = soft_impute(problem.mask, problem.Y / scale, 0.2)
    error = np.linalg.norm((U * s) @ V.T - expected) / np.linalg.norm(expected)
    assert error <= 1e-5
