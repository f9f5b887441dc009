"""The memory and the threads that the backends may use."""

import multiprocessing
import os
import threading
import time

import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from skrfm import RFMRegressor
from skrfm._backend import _memory
from skrfm._backend._threads import for_each, own_threads

# -- memory -------------------------------------------------------------------------


def test_available_memory_of_this_machine():
    assert _memory.available_memory() > 1e6


def test_without_proc_the_bound_is_the_physical_memory(monkeypatch):
    def unreadable(path):
        raise OSError(path)

    monkeypatch.setattr(_memory.Path, "read_text", unreadable)
    physical = _memory.available_memory()
    assert physical is None or physical > 1e6


def test_memory_of_a_control_group(monkeypatch):
    texts = {"memory.max": "5000\n", "memory.current": "2000\n"}
    monkeypatch.setattr(_memory.Path, "read_text", lambda path: texts[path.name])
    assert _memory._cgroup_memory() == 3000
    texts["memory.max"] = "max\n"
    assert _memory._cgroup_memory() is None


@pytest.mark.parametrize(
    ("system", "group", "available"), [(5, 3, 3), (3, 5, 3), (5, None, 5), (None, 5, 5)]
)
def test_the_smaller_bound_counts(system, group, available, monkeypatch):
    monkeypatch.setattr(_memory, "_system_memory", lambda: system)
    monkeypatch.setattr(_memory, "_cgroup_memory", lambda: group)
    assert _memory.available_memory() == available


def test_the_error_for_a_matrix_that_does_not_fit_names_alternatives(monkeypatch):
    monkeypatch.setattr(_memory, "available_memory", lambda: 8e9)
    with pytest.raises(
        MemoryError,
        match=r"kernel matrix of 50000 rows needs 20 GB, and 8 GB are free\. Fit on "
        r"fewer rows \(about 31622 fit\), pass solver='pcg', .*float32 halves it",
    ):
        _memory.require_memory(50_000, 8)
    with pytest.raises(MemoryError, match=r"needs 10 GB.*about 44721.*Classifier\.$"):
        _memory.require_memory(50_000, 4)
    _memory.require_memory(31_622, 8)


def test_unknown_memory_is_no_error(monkeypatch):
    monkeypatch.setattr(_memory, "available_memory", lambda: None)
    _memory.require_memory(10**9, 8)


def test_a_fit_checks_the_memory_before_it_allocates(monkeypatch, table):
    X, y = table
    monkeypatch.setattr(_memory, "available_memory", lambda: 1000)
    monkeypatch.setattr("skrfm._backend._packed.UNCHECKED_BYTES", 0)
    machine = RFMRegressor(kernel="laplace", alpha=0.1, validation=None)
    with pytest.raises(MemoryError, match=r"48 rows needs 1.84e-05 GB"):
        machine.fit(X, y)


# -- threads ------------------------------------------------------------------------

MANY_ROWS = 10**6


def blas_threads():
    libraries = ThreadpoolController().select(user_api="blas").info()
    return {library["num_threads"] for library in libraries}


def threads_used(items=4):
    """Return the number of threads of `for_each`, and those of BLAS in them."""

    def seen(_):
        time.sleep(0.02)  # long enough that one thread cannot take all the items
        return threading.get_ident(), frozenset(blas_threads())

    found = for_each(seen, range(items))
    return len({ident for ident, _ in found}), set().union(*(c for _, c in found))


@pytest.mark.parametrize("limit", [1, 3])
def test_for_each_keeps_the_order(limit):
    with threadpool_limits(limit, user_api="blas"), own_threads(MANY_ROWS):
        assert for_each(lambda i: i**2, list(range(20))) == [i**2 for i in range(20)]
        assert for_each(str, []) == []


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_for_each_uses_the_threads_of_blas_and_limits_blas_to_one(limit):
    with threadpool_limits(limit, user_api="blas"):
        with own_threads(MANY_ROWS):
            assert threads_used() == (limit, {1})
        assert blas_threads() == {limit}


def test_few_rows_and_calls_outside_own_threads_use_one_thread():
    with threadpool_limits(2, user_api="blas"):
        with own_threads(100):
            assert threads_used() == (1, {1})
        assert threads_used() == (1, {2})


def test_threads_start_no_threads_of_their_own():
    with threadpool_limits(2, user_api="blas"), own_threads(MANY_ROWS):
        assert for_each(lambda _: threads_used(2)[0], [0, 1]) == [1, 1]


def test_errors_are_passed_on_and_blas_is_restored():
    def fail(item):
        raise KeyError(item)

    with threadpool_limits(2, user_api="blas"):
        with pytest.raises(KeyError), own_threads(MANY_ROWS):
            for_each(fail, [1, 2])
        assert blas_threads() == {2}


@pytest.mark.parametrize("failing", [IndexError, StopIteration, KeyboardInterrupt])
@pytest.mark.parametrize("limit", [1, 2])
def test_any_error_of_any_item_is_raised(failing, limit):
    def fail(item):
        time.sleep(0.01)
        if item == 1:
            raise failing

    with (
        threadpool_limits(limit, user_api="blas"),
        own_threads(MANY_ROWS),
        pytest.raises(failing),
    ):
        for_each(fail, range(4))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_threads_of_its_parent():
    with threadpool_limits(2, user_api="blas"), own_threads(MANY_ROWS):
        for_each(str, range(4))
        context = multiprocessing.get_context("fork")
        process = context.Process(target=for_each, args=(str, range(4)))
        process.start()
        process.join(timeout=30)
        process.kill()
    assert process.exitcode == 0


@pytest.mark.parametrize("rows", [100, MANY_ROWS])
def test_simultaneous_fits_restore_the_threads_of_blas(rows):
    """The second to start ends last, and must not restore the limit of the first."""
    with threadpool_limits(2, user_api="blas"):
        second = own_threads(rows)
        with own_threads(rows):
            second.__enter__()
        assert blas_threads() == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == {2}


def test_a_fit_restores_the_threads_of_blas(table):
    X, y = table
    with threadpool_limits(2, user_api="blas"):
        RFMRegressor(kernel="laplace", cv=2, max_iter=1, n_jobs=2).fit(X, y).predict(X)
        assert blas_threads() == {2}
        with pytest.raises(ValueError):
            RFMRegressor(kernel="laplace", cv=[]).fit(X, y)
        assert blas_threads() == {2}
