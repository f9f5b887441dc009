"""Jobs on joblib's workers, of which some may be lost."""

from concurrent.futures import CancelledError

from joblib import Parallel

# how often work that was lost is done again
_RETRIES = 5


def run_jobs(jobs, n_jobs):
    """Return the results of delayed calls, in order.

    A Dask worker that dies takes data of other jobs with it, which are then cancelled:
    what has no result yet is done again by the workers that are left.
    """
    results, retries = [], _RETRIES
    while len(results) < len(jobs):
        parallel = Parallel(n_jobs=n_jobs, return_as="generator")
        try:
            for result in parallel(jobs[len(results) :]):
                results.append(result)
        except CancelledError:
            retries -= 1
            if retries < 0:
                raise
    return results
