"""Jobs on the workers of joblib, some of which may be lost."""

from concurrent.futures import CancelledError

from joblib import Parallel

# How often the jobs that were lost are run again before the error is raised.
_MAX_RETRIES = 5


def run_jobs(make_job, n_results, n_jobs):
    """Yield the results of delayed calls, in order.

    When a Dask worker dies, the data of other jobs is lost with it, and these jobs are
    cancelled: jobs without a result are then run again by the remaining workers.

    Parameters
    ----------
    make_job : callable
        Returns the delayed call for a number from 0 on, just before it is sent out.
    n_results : int
    n_jobs : int or None
    """
    n_done = n_retries = 0
    while n_done < n_results:
        parallel = Parallel(n_jobs=n_jobs, return_as="generator")
        try:
            for result in parallel(map(make_job, range(n_done, n_results))):
                n_done += 1
                yield result
        except CancelledError:
            n_retries += 1
            if n_retries > _MAX_RETRIES:
                raise
