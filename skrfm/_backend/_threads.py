"""Threads of the package, with BLAS limited to one thread in each of them.

BLAS libraries divide a call among threads that spin while they wait. That is fast on
an idle machine; where anything else runs, a waiting thread takes the processor from a
working one, and small factorisations become a hundred times slower. So this package
divides the work into tiles, runs them in threads of its own, and limits BLAS to one
thread in each of them.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from threading import Lock
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

# With fewer rows than this, starting a thread costs more than it saves.
_FEW_ROWS = 800


@cache
def _controller():
    """Return the controller of the BLAS libraries, which are searched for once."""
    return ThreadpoolController()


def _blas_thread_count():
    """Return the number of threads that BLAS may use now.

    It follows `threadpoolctl`, the `OMP_NUM_THREADS` family of environment
    variables and the limits that joblib sets in its worker processes.
    """
    libraries = _controller().select(user_api="blas").info()
    return max((library["num_threads"] for library in libraries), default=1)


class _BlasLimit:
    """A limit of one BLAS thread, in force between `acquire` and `release`.

    The number of BLAS threads is a property of the whole process, so fits that run at
    the same time share one limit: the first sets it, and the last restores the number
    of threads from before.
    """

    def __init__(self):
        self._lock, self._n_active = Lock(), 0

    def acquire(self):
        """Limit BLAS to one thread; return the number of threads that it had."""
        with self._lock:
            if self._n_active == 0:
                self._count = _blas_thread_count()
                self._limiter = _controller().limit(limits=1, user_api="blas")
            self._n_active += 1
            return self._count

    def release(self):
        """End one use of the limit; the last one restores the number of threads."""
        with self._lock:
            self._n_active -= 1
            if self._n_active == 0:
                self._limiter.restore_original_limits()


_BLAS_LIMIT = _BlasLimit()
_N_THREADS = ContextVar("skrfm_n_threads", default=1)
_pools = {}

Item = TypeVar("Item")
Result = TypeVar("Result")

# Threads do not survive in a forked process, which would wait for them forever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)


@contextmanager
def own_threads(n_rows: int) -> Iterator[None]:
    """Limit BLAS to one thread, and let `for_each` use the threads that BLAS had.

    Parameters
    ----------
    n_rows : int
        Number of rows of the problem. `for_each` uses one thread if they are few.
    """
    count = _BLAS_LIMIT.acquire()
    token = _N_THREADS.set(count if n_rows >= _FEW_ROWS else 1)
    try:
        yield
    finally:
        _N_THREADS.reset(token)
        _BLAS_LIMIT.release()


def _pool(count):
    """Return a pool of `count` threads; pools are kept, as starting one takes time."""
    if count not in _pools:
        _pools[count] = ThreadPoolExecutor(count, thread_name_prefix="skrfm")
    return _pools[count]


def for_each(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Call a function on each item, in threads within `own_threads`.

    The calling thread is one of them. After an error no more items are begun.

    Parameters
    ----------
    function : callable
    items : iterable

    Returns
    -------
    list
        The results, in the order of the items.
    """
    items = list(items)
    results: list[Any] = [None] * len(items)
    n_threads = min(_N_THREADS.get(), len(items))
    if n_threads < 2:
        # no map(): a StopIteration from the function would end it without an error
        for index, item in enumerate(items):
            results[index] = function(item)
        return results
    _run_in_threads(function, deque(enumerate(items)), results, n_threads)
    return results


def _run_in_threads(function, queue, results, n_threads):
    """Fill `results` from a queue of (index, item) in this thread and others."""

    def work():
        try:
            while queue:
                try:
                    index, item = queue.popleft()
                except IndexError:  # another thread took the last item
                    return
                results[index] = function(item)
        except BaseException:
            queue.clear()
            raise

    pool = _pool(_N_THREADS.get() - 1)
    futures = [pool.submit(work) for _ in range(n_threads - 1)]
    token = _N_THREADS.set(1)
    try:
        work()
    finally:
        _N_THREADS.reset(token)
        errors = [future.exception() for future in futures if not future.cancel()]
    for error in errors:
        if error is not None:
            raise error
