"""scikit-learn's callbacks: one task per run (a fold, the refit), one per round."""

from contextlib import contextmanager
from itertools import count


class Progress:
    """The task tree of one call to fit.

    Parameters
    ----------
    estimator : estimator
        With `CallbackSupportMixin`.
    n_runs : int
        How many runs there will be at most.
    attributes : callable
        Maps a Round to the fitted attributes of an estimator that ended with it.
    data : dict
        X, y and metadata, as the hooks get them.
    """

    def __init__(self, estimator, n_runs, attributes, data):
        self._estimator, self._attributes, self._data = estimator, attributes, data
        self._number = count()
        self._context = estimator._init_callback_context(
            max_subtasks=n_runs, sequential_subtasks=False
        )
        self._context.call_on_fit_task_begin(estimator=estimator, **data)

    def end(self, attributes):
        """Say that the fit is over."""
        self._context.call_on_fit_task_end(
            estimator=self._estimator,
            reconstruction_attributes=attributes,
            **self._data,
        )

    @contextmanager
    def run(self, name, n_rounds, *, final=False):
        """Return a context in which `watch` reports the rounds of one run.

        A `final` run trains on all rows: its rounds are offered to the callbacks as
        fitted estimators.
        """
        context = self._context.subcontext(
            task_name=name, task_id=next(self._number), max_subtasks=n_rounds
        )
        context.call_on_fit_task_begin(estimator=self._estimator)
        yield _Run(self, context, n_rounds, final)
        context.call_on_fit_task_end(estimator=self._estimator)


class _Run:
    def __init__(self, progress, context, n_rounds, final):
        self._progress, self._context = progress, context
        self._n_rounds, self._final = n_rounds, final

    def watch(self, rounds):
        """Yield the rounds, each as a task; a callback that asks for it ends them."""
        estimator = self._progress._estimator
        for _ in range(self._n_rounds):
            task = self._context.subcontext(task_name="round")
            task.call_on_fit_task_begin(estimator=estimator)
            result = next(rounds, None)
            offered = {}
            if self._final and result is not None:
                offered = dict(self._progress._data)
                offered["reconstruction_attributes"] = lambda result=result: (
                    self._progress._attributes(result)
                )
            stop = task.call_on_fit_task_end(estimator=estimator, **offered)
            if result is None:
                return
            yield result
            if stop:
                return
