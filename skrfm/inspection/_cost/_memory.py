"""The memory of a fit: kernel matrices, and the arrays beside them."""

# Arrays of the size of the encoded rows that a fit holds at the same time: the rows as
# they are read, encoded, centred, mapped and sorted.
_ROW_ARRAYS = 5
# gradients, and what they are computed from
_GRADIENT_ARRAYS = 3
# outputs of trials on the validation rows that are held, in float64
_TRIALS = 30
# What objects and small arrays take, whatever the table.
_LEAST = 1.5e6
# Freed matrices up to so many bytes stay with the process: the C library keeps them.
_KEPT = 1 << 25


def memory_of_fit(works, costs):
    """Return the bytes that a fit holds at most, without arrays of all rows.

    The largest Work, and what is left of the one before it in size.

    Parameters
    ----------
    works : list of Work
    costs : SearchCosts
    """
    found = sorted((memory_of_work(work, costs) for work in works), reverse=True)
    return _LEAST + found[0] + min(sum(found[1:2]), _KEPT)


def memory_of_rows(n_rows, costs):
    """Return the bytes of the arrays that have all rows and columns.

    Parameters
    ----------
    n_rows : int
    costs : SearchCosts
    """
    columns = costs.columns + 2 * costs.n_outputs
    return _ROW_ARRAYS * costs.itemsize(True) * n_rows * columns


def memory_of_work(work, costs):
    """Return the bytes that the rounds of a Work hold at most.

    Parameters
    ----------
    work : Work
    costs : SearchCosts
    """
    itemsize, n_parallel = costs.itemsize(work.final), min(work.n_jobs, len(work.parts))
    n = max(n for n, _ in work.parts)
    if costs.uses_centers(work):
        held = costs.centers().memory()
    else:
        held = costs.solver(work.final).memory(n, leave_one_out=work.leave_one_out)
    shares = not work.final and costs.shares_distances(n, itemsize)
    shared = itemsize * n**2 if shares else 0
    gradients = _GRADIENT_ARRAYS * itemsize * costs.gradient_numbers(n)
    outputs = _TRIALS * 8 * costs.n_outputs * sum(m for _, m in work.parts)
    return n_parallel * (held + gradients) + len(work.parts) * shared + outputs
