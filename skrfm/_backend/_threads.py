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
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import cache
from threading import Lock
from typing import Any, TypeVar

from threadpoolctl import OpenBLASController, ThreadpoolController

# With fewer rows than this, starting a thread costs more than it saves.
_FEW_ROWS = 800


@cache
def _controller():
    """Return the controller of the BLAS libraries, which are searched for once."""
    return ThreadpoolController().select(user_api="blas")


@cache
def _controllers():
    """Return the controllers of BLAS with one limit, and with a limit per thread.

    Libraries that compute in threads of OpenMP have a limit for each thread that calls
    them; others have one pool of threads, and one limit, in the whole process.
    """
    per_thread = _controller().select(threading_layer="openmp")
    files = {library.filepath for library in per_thread.lib_controllers}
    everywhere = [
        library.filepath
        for library in _controller().lib_controllers
        if library.filepath not in files
    ]
    return _controller().select(filepath=everywhere), per_thread


def _thread_count(controller):
    """Return the number of threads that the libraries of a controller may use now.

    It follows `threadpoolctl`, the `OMP_NUM_THREADS` family of environment
    variables and the limits that joblib sets in its worker processes.
    """
    counts = (library["num_threads"] for library in controller.info())
    return max(counts, default=1)


class _BlasLimit:
    """A limit of one BLAS thread while at least one thread uses it.

    The limit is the process's, and fits in several threads may overlap, so its users
    are counted: the first sets it, the last restores the number from before. From
    threadpoolctl 3.8 on a limit belongs to the thread that has set it, and what others
    set is ignored. Hence a thread of its own sets and restores this one.
    """

    def __init__(self):
        self._start_empty()

    def _start_empty(self):
        """Start without users, as in a new process."""
        self._lock, self._n_users, self._count = Lock(), 0, 1
        self._limiter: Any = None
        self._owner: ThreadPoolExecutor | None = None

    def reset_after_fork(self):
        """Restore the number of threads in a forked process, which has no users."""
        limiter = self._limiter if self._n_users else None
        self._start_empty()
        if limiter is not None:
            limiter.restore_original_limits()

    @contextmanager
    def use(self):
        """Limit BLAS within the block, which gets the number of threads from before."""
        lock = self._acquire()
        try:
            yield self._count
        finally:
            self._release(lock)

    def _acquire(self):
        """Set the limit if it has no other user; return the lock of this process."""
        with self._lock:
            if self._n_users == 0:
                self._owner = self._owner or ThreadPoolExecutor(1, "skrfm-blas-limit")
                self._count = _thread_count(_controllers()[0])
                self._owner.submit(self._set).result()
            self._n_users += 1
            return self._lock

    def _release(self, lock):
        """Restore the number of threads after the last user."""
        if lock is not self._lock:  # of the process that this one was forked from
            return
        with lock:
            self._n_users -= 1
            if self._n_users == 0 and self._owner is not None:
                self._owner.submit(self._restore).result()

    def _set(self):
        controller, _ = _controllers()
        self._limiter = controller.limit(limits=1, user_api="blas").__enter__()
        if _thread_count(controller) > 1 and hasattr(
            OpenBLASController, "clear_controlling_thread"
        ):
            # another thread owns the limit, mostly the one that called the fit
            OpenBLASController.clear_controlling_thread(force=True)
            self._limiter.__exit__(None, None, None)
            self._limiter = controller.limit(limits=1, user_api="blas").__enter__()

    def _restore(self):
        self._limiter.__exit__(None, None, None)


_BLAS_LIMIT = _BlasLimit()
_N_THREADS = ContextVar("skrfm_n_threads", default=1)
_pools: dict[int, ThreadPoolExecutor] = {}

Item = TypeVar("Item")
Result = TypeVar("Result")


def _after_fork():
    # threads do not survive in a forked process, which would wait for them forever
    _pools.clear()
    _BLAS_LIMIT.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def own_threads(n_rows: int) -> Iterator[None]:
    """Limit BLAS to one thread, and let `for_each` use the threads that BLAS had.

    Parameters
    ----------
    n_rows : int
        Number of rows of the problem. `for_each` uses one thread if they are few.
    """
    _, per_thread = _controllers()
    own_count = _thread_count(per_thread)
    with ExitStack() as stack:
        count = max(own_count, stack.enter_context(_BLAS_LIMIT.use()))
        if per_thread.lib_controllers:
            stack.enter_context(per_thread.limit(limits=1, user_api="blas"))
        token = _N_THREADS.set(count if n_rows >= _FEW_ROWS else 1)
        try:
            yield
        finally:
            _N_THREADS.reset(token)


def _pool(count):
    """Return a pool of `count` threads; pools are kept, as starting one takes time."""
    if count not in _pools:
        _pools[count] = ThreadPoolExecutor(count, "skrfm", initializer=_limit_thread)
    return _pools[count]


def _limit_thread():
    """Limit BLAS libraries with a limit per thread in this thread, for good."""
    _, per_thread = _controllers()
    if per_thread.lib_controllers:
        per_thread.limit(limits=1, user_api="blas")


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
