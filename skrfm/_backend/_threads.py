"""Threads of our own, with BLAS kept to one thread in each.

BLAS libraries share a call out among threads that wait by spinning. That is fast on
an idle machine, but where anything else runs, a waiting thread takes the processor
from a working one, and small factorisations become a hundred times slower. So the
work is cut into tiles here, and BLAS computes each of them in the thread that calls.
"""

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from threading import Lock

from threadpoolctl import ThreadpoolController

# with fewer rows than this, starting a thread costs more than it saves
_FEW_ROWS = 800


@cache
def _controller():
    """Return the BLAS libraries of this process, looked up once."""
    return ThreadpoolController()


def _blas_thread_count():
    """Return the number of threads BLAS may use now.

    It follows `threadpoolctl`, the `OMP_NUM_THREADS` family of environment
    variables and the limits that joblib sets in its worker processes.
    """
    libraries = _controller().select(user_api="blas").info()
    return max((library["num_threads"] for library in libraries), default=1)


class _BlasLimit:
    """One thread for BLAS while anyone holds it; what was before comes back after.

    The number of threads is a property of the whole process, so fits that run at the
    same time share one limit: the first sets it, the last lifts it.
    """

    def __init__(self):
        self._lock, self._holders = Lock(), 0

    def acquire(self):
        """Limit BLAS; return the number of threads that it had."""
        with self._lock:
            if self._holders == 0:
                self._count = _blas_thread_count()
                self._limiter = _controller().limit(limits=1, user_api="blas")
            self._holders += 1
            return self._count

    def release(self):
        """Lift the limit, if nobody else holds it."""
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                self._limiter.restore_original_limits()


_LIMIT = _BlasLimit()


@contextmanager
def worker_threads(n_rows):
    """Give `for_each` the threads that BLAS may use, and BLAS one.

    A problem of few rows gets one thread altogether.
    """
    count = _LIMIT.acquire()
    token = _COUNT.set(count if n_rows >= _FEW_ROWS else 1)
    try:
        yield
    finally:
        _COUNT.reset(token)
        _LIMIT.release()


_COUNT = ContextVar("skrfm_thread_count", default=1)
_pools = {}


def _helpers(count):
    """Return a pool of `count` threads; they are kept, as starting them takes time."""
    if count not in _pools:
        _pools[count] = ThreadPoolExecutor(count, thread_name_prefix="skrfm")
    return _pools[count]


# threads do not live on in a forked process, so it must not wait for them
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)


def for_each(function, items):
    """Call `function` on each item, in threads within `worker_threads`; return a list.

    The thread that calls takes its part of the work. After an error no more items
    are begun.
    """
    items, count = list(items), _COUNT.get()
    if min(count, len(items)) < 2:
        return [function(item) for item in items]
    results, queue = [None] * len(items), deque(enumerate(items))

    def work():
        try:
            for index, item in _drain(queue):
                results[index] = function(item)
        except BaseException:
            queue.clear()
            raise

    pool = _helpers(count - 1)
    futures = [pool.submit(work) for _ in range(min(count, len(items)) - 1)]
    token = _COUNT.set(1)
    try:
        work()
    finally:
        _COUNT.reset(token)
        errors = [future.exception() for future in futures if not future.cancel()]
    for error in filter(None, errors):
        raise error
    return results


def _drain(queue):
    """Yield what is in the queue, which several threads may empty together."""
    while True:
        try:
            item = queue.popleft()
        except IndexError:
            return
        yield item
