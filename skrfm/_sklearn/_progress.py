"""scikit-learn's callbacks: one task per candidate and fit, one per round in it."""

from contextlib import contextmanager
from itertools import count


class Progress:
    """The task tree of one call to fit.

    Parameters
    ----------
    estimator : estimator
        With `CallbackSupportMixin`.
    n_runs : int
        How many runs of the recursion there will be at most.
    attributes : callable
        Maps a Round to the fitted attributes of an estimator that ended with it.
    data : dict
        X, y and metadata, as the hooks get them.
    """

    def __init__(self, estimator, n_runs, attributes, data):
        self.estimator, self.attributes, self.data = estimator, attributes, data
        self._number = count()
        self._context = estimator._init_callback_context(
            max_subtasks=n_runs, sequential_subtasks=False
        )
        self._context.call_on_fit_task_begin(estimator=estimator, **data)

    def open(self, name, n_rounds):
        """Begin a run of the recursion; the caller closes it."""
        context = self._context.subcontext(
            task_name=name, task_id=next(self._number), max_subtasks=n_rounds
        )
        context.call_on_fit_task_begin(estimator=self.estimator)
        return _Run(self, context)

    def end(self, attributes):
        """Say that the fit is over."""
        self._context.call_on_fit_task_end(
            estimator=self.estimator, reconstruction_attributes=attributes, **self.data
        )


class _Round:
    """One round: its Round, if fitted on all rows, and whether a callback says stop."""

    result = None
    stop = False


class _Run:
    def __init__(self, progress, context):
        self._progress, self._context = progress, context

    @contextmanager
    def round(self):
        """Report what happens inside as one round.

        A `result` is offered to the callbacks as a fitted estimator.
        """
        progress, task = self._progress, _Round()
        context = self._context.subcontext(task_name="round")
        context.call_on_fit_task_begin(estimator=progress.estimator)
        yield task
        offered = {}
        if task.result is not None:
            offered = dict(progress.data)
            offered["reconstruction_attributes"] = lambda: progress.attributes(
                task.result
            )
        task.stop = context.call_on_fit_task_end(
            estimator=progress.estimator, **offered
        )

    def watch(self, rounds):
        """Yield the rounds, each reported; a callback that says stop ends them."""
        while True:
            with self.round() as task:
                task.result = next(rounds)
            yield task.result
            if task.stop or task.result.last:
                break
        self.close()

    def close(self):
        """End the run."""
        self._context.call_on_fit_task_end(estimator=self._progress.estimator)
