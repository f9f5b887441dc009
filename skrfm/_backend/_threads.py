"""Threads of our own, with BLAS kept to one thread in each.

BLAS libraries share a call out among threads that wait by spinning. That is fast on
an idle machine, but where anything else runs, a waiting thread takes the processor
from a working one, and small factorisations become a hundred times slower. So the
work is cut into tiles here, and BLAS computes each of them in the thread that calls.
"""

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
def own_threads(n_rows):
    """Give `for_each` the threads that BLAS may use, and BLAS one.

    A problem of few rows gets one thread altogether.
    """
    count = _LIMIT.acquire()
    own = _Threads(count if n_rows >= _FEW_ROWS else 1)
    token = _OWN.set(own)
    try:
        yield
    finally:
        _OWN.reset(token)
        own.close()
        _LIMIT.release()


class _Threads:
    """A pool of threads; once closed, or with one thread, work is done in line."""

    def __init__(self, count):
        self._pool = ThreadPoolExecutor(count) if count > 1 else None

    def map(self, function, items):
        """Call `function` on each item; return a list."""
        if self._pool is None or len(items) <= 1:
            return [function(item) for item in items]
        return list(self._pool.map(function, items))

    def close(self):
        """Let the threads go."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()


_OWN = ContextVar("skrfm_threads", default=None)
_IN_LINE = _Threads(1)


def for_each(function, items):
    """Call `function` on each item, in threads within `own_threads`; return a list."""
    return (_OWN.get() or _IN_LINE).map(function, items)
