"""Sharing tiles out among threads, with BLAS kept to one thread meanwhile."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache

from threadpoolctl import ThreadpoolController

_FEW_ROWS = 2000


@cache
def _controller():
    """Return the BLAS libraries of this process, looked up once."""
    return ThreadpoolController()


def thread_count():
    """Return the number of threads BLAS may use now.

    It follows `threadpoolctl`, the `OMP_NUM_THREADS` family of environment
    variables and the limits that joblib sets in its worker processes.
    """
    libraries = _controller().select(user_api="blas").info()
    return max((library["num_threads"] for library in libraries), default=1)


def sized_for(n):
    """Return a context in which BLAS has the threads that pay off at n rows.

    Waking and parking threads costs more than they save on small matrices, and on a
    busy machine much more.
    """
    limit = 1 if n < _FEW_ROWS else None
    return _controller().limit(limits=limit, user_api="blas")


def for_each(function, items):
    """Call `function` on each item, in threads where there are several."""
    threads = min(thread_count(), len(items))
    if threads <= 1:
        return [function(item) for item in items]
    with (
        _controller().limit(limits=1, user_api="blas"),
        ThreadPoolExecutor(threads) as pool,
    ):
        return list(pool.map(function, items))
