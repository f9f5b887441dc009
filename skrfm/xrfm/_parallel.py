"""Jobs on the workers of joblib, some of which may be lost."""

from concurrent.futures import CancelledError

from joblib import Parallel

# How often the jobs that were lost are run again before the error is raised.
_MAX_RETRIES = 5


def run_jobs(jobs, n_jobs):
    """Return the results of delayed calls, in order.

    When a Dask worker dies, the data of other jobs is lost with it, and these jobs are
    cancelled: jobs without a result are then run again by the remaining workers.
    """
    results, n_retries = [], 0
    while len(results) < len(jobs):
        parallel = Parallel(n_jobs=n_jobs, return_as="generator")
        try:
            for result in parallel(jobs[len(results) :]):
                results.append(result)
        except CancelledError:
            n_retries += 1
            if n_retries > _MAX_RETRIES:
                raise
    return results
