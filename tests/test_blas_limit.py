"""BLAS is limited to one thread within a fit, and has its threads again after it."""

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from joblib import Parallel, delayed, parallel_config
from threadpoolctl import threadpool_info, threadpool_limits

from skrfm import RFMRegressor
from skrfm._backend import own_threads


def blas_threads():
    """Return the numbers of threads of the BLAS libraries."""
    libraries = threadpool_info()
    return [part["num_threads"] for part in libraries if part["user_api"] == "blas"]


def inside(n_rows=300):
    with own_threads(n_rows):
        return blas_threads()


def in_thread(function, *arguments):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *arguments).result()


@pytest.fixture(params=[2, 3])
def before(request):
    """Set the number of BLAS threads, as a user does."""
    with threadpool_limits(request.param, user_api="blas"):
        yield blas_threads()


@pytest.mark.parametrize("run", [lambda f: f(), in_thread], ids=["main", "thread"])
def test_the_limit_is_set_and_restored(run, before):
    assert max(before) > 1
    for _ in range(2):
        assert set(run(inside)) == {1}
        assert blas_threads() == before


def test_a_fit_in_the_main_thread_does_not_own_the_limit(before):
    X = np.random.default_rng(0).normal(size=(60, 2))
    RFMRegressor(alpha=0.1, validation=None).fit(X, X[:, 0])
    assert set(in_thread(inside)) == {1}
    assert blas_threads() == before


def test_limits_nest(before):
    with own_threads(10):
        assert set(inside()) == {1}
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


def test_the_limit_is_restored_after_an_error(before):
    def failing():
        with own_threads(300):
            raise KeyError("of the block")

    for run in (lambda f: f(), in_thread):
        with pytest.raises(KeyError):
            run(failing)
        assert blas_threads() == before


@pytest.mark.parametrize("first_out", [0, 1])
def test_fits_that_overlap_share_one_limit(first_out, before):
    """Whichever of two threads ends first, the last one restores the limit."""
    begun = threading.Barrier(3)
    may_end = [threading.Event(), threading.Event()]

    def fit(number):
        with own_threads(300):
            begun.wait(10)
            may_end[number].wait(10)

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(fit, number) for number in range(2)]
        begun.wait(10)
        assert set(blas_threads()) == {1}
        may_end[first_out].set()
        futures[first_out].result(10)
        assert set(blas_threads()) == {1}  # the other one still computes
        may_end[1 - first_out].set()
        futures[1 - first_out].result(10)
    assert blas_threads() == before


def test_estimators_in_a_pool_of_threads(before):
    def fit(n):
        X = np.random.default_rng(n).normal(size=(n, 3))
        machine = RFMRegressor(alpha=0.1, max_iter=1, validation=None, random_state=0)
        return machine.fit(X, X[:, 0])

    expected = [fit(n).dual_coef_ for n in (100, 850)]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            for model, coef in zip(pool.map(fit, (100, 850)), expected, strict=True):
                np.testing.assert_array_equal(model.dual_coef_, coef)
            assert blas_threads() == before


def test_workers_of_joblib_keep_their_own_limit():
    with parallel_config("loky", n_jobs=2, inner_max_num_threads=2):
        found = Parallel()(delayed(before_inside_after)() for _ in range(2))
    for before, within, after in found:
        assert set(within) == {1}
        assert before == after


def before_inside_after():
    return blas_threads(), inside(), blas_threads()


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork here"
)
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize("within", [False, True])
def test_a_forked_process_has_its_own_limit(within, before):
    """Forked between fits, or in the middle of one of another thread."""
    inside(10**6)  # there are threads that the child does not have
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def child():
        queue.put(before_inside_after())

    process = context.Process(target=child)
    if within:
        with own_threads(300):
            process.start()
            process.join(30)
    else:
        process.start()
        process.join(30)
    assert process.exitcode == 0
    at_first, during, after = queue.get()
    assert set(during) == {1}
    assert at_first == after == before
    assert blas_threads() == before
