"""The linear system of one round, and the average of the gradients of its solution."""

import numpy as np

from .._backend import ProductGram
from ..agop import AgopOptions, average_gradient_outer_product
from ..solvers import DIRECT, choose_solver, leave_one_out_residuals
from ._prepared import most_gradient_rows

# Slopes are not held beside the kernel matrix where the rows are so many times those
# that gradients are averaged over: with three times they take as long to compute.
_ROWS_OF_GRADIENTS = 3


class Workspace:
    """The memory of the last kernel matrix, which the next one takes over."""

    gram: ProductGram | None = None


def kernel_matrix(
    prepared, candidate, T, bandwidth, backend, workspace, *, leave_one_out, with_agop
):
    """Return the Gram of mapped rows, and the solver.

    Slopes of most of the rows, which an AGOP may need, are held beside the values.
    """
    kernel, category_sizes = candidate.kernel, candidate.lookup_sizes
    solver, streamed = choose_solver(
        candidate.solver,
        kernel,
        T,
        backend,
        want_diagonal=leave_one_out,
        reusable=workspace.gram,
    )
    if streamed:
        gram = backend.streamed_gram(
            kernel, T, bandwidth, category_sizes=category_sizes
        )
        return gram, solver
    few_slopes = not with_agop or _few_gradients(prepared, candidate)
    if few_slopes and solver not in DIRECT.values():
        workspace.gram = backend.product_gram(
            kernel,
            T,
            bandwidth,
            reusable=workspace.gram,
            category_sizes=category_sizes,
        )
        return workspace.gram, solver
    workspace.gram = backend.gram(
        kernel,
        T,
        bandwidth,
        reusable=workspace.gram,
        category_sizes=category_sizes,
        powers=prepared.distances.powers(
            candidate, T, backend, mapped=T is not prepared.X
        ),
    )
    return workspace.gram, solver


def _few_gradients(prepared, candidate):
    """Return whether an AGOP needs the slopes of a small part of the rows."""
    (n, d), c = prepared.X.shape, prepared.Y.shape[1]
    most = most_gradient_rows(candidate.max_agop_samples, n, d, c)
    return most * _ROWS_OF_GRADIENTS <= n


def round_agop(gram, coef, weight, candidate, backend):
    """Return the AGOP of mapped rows, over a seeded subsample if there are many."""
    rows, (n, d) = None, gram.T.shape
    most = most_gradient_rows(candidate.max_agop_samples, n, d, coef.shape[1])
    if n > most:
        rng = np.random.default_rng(candidate.seed)
        rows = np.sort(rng.choice(n, most, replace=False))
    options = agop_options(candidate, rows)
    return average_gradient_outer_product(
        gram, coef, weight, backend=backend, options=options
    )


def agop_options(candidate, rows):
    """Return the options of the AGOP of a candidate over some rows."""
    return AgopOptions(
        diagonal=candidate.diagonal,
        centered=candidate.center_gradients,
        rows=rows,
        n_unmixed=candidate.n_unmixed,
    )


def solve(gram, prepared, candidate, backend, *, solver, leave_one_out):
    """Return the solution of one round, and leave-one-out residuals or None."""
    Y, weight, xp = prepared.Y, prepared.weight, backend.xp
    ridge = candidate.ridge / weight
    # the mean of the targets is left out with a row, which takes a solve for ones
    with_mean = leave_one_out and candidate.fit_intercept
    targets = xp.concat([Y, xp.ones_like(Y[:, :1])], axis=1) if with_mean else Y
    solution = solver(
        gram,
        targets,
        ridge,
        backend,
        want_diagonal=leave_one_out,
        seed=candidate.seed,
    )
    mean_solution = None
    if with_mean:
        mean_solution = solution.coef[:, -1:]
        solution.coef = solution.coef[:, :-1]
    if not leave_one_out:
        return solution, None
    residuals = leave_one_out_residuals(
        solution, mean_solution, Y, weight=weight, ridge=ridge, xp=xp
    )
    return solution, residuals
