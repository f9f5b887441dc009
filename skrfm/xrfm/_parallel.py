"""Jobs on the workers of joblib, some of which may be lost, and their deadline."""

from concurrent.futures import CancelledError
from dataclasses import dataclass
from time import time

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


def saved_jobs(make_job, n_results, n_jobs, checkpoint, *, name):
    """Yield the results of `run_jobs`, each saved in a file of a checkpoint.

    The jobs whose results were saved by an earlier fit are not run again.

    Parameters
    ----------
    make_job, n_results, n_jobs
        See `run_jobs`.
    checkpoint : Checkpoint
    name : str
        The beginning of the names of the files.
    """
    n_saved = 0
    while n_saved < n_results:
        saved = checkpoint.file(f"{name}-{n_saved}").get("result")
        if saved is None:
            break
        n_saved += 1
        yield saved
    results = run_jobs(lambda k: make_job(n_saved + k), n_results - n_saved, n_jobs)
    for number, result in enumerate(results, n_saved):
        checkpoint.file(f"{name}-{number}").save("result", result)
        yield result


@dataclass(frozen=True)
class Deadline:
    """When a fit should be over; None for no limit.

    By the time of day, which the processes and hosts that fit leaves share.
    """

    end: float | None = None

    @classmethod
    def after(cls, seconds):
        """Return the Deadline after so many seconds; None is no limit."""
        return cls() if seconds is None else cls(time() + seconds)

    def limit(self, estimator, share):
        """Give an estimator a share of the seconds that are left."""
        if self.end is not None:
            left = max(self.end - time(), 0.0)
            # a budget is positive
            estimator.set_params(time_budget=max(left * share, 1e-9))
