"""What surrounds a fit: errors restore its state, callbacks see it, files resume it."""

import os
from contextlib import contextmanager
from itertools import count
from numbers import Integral
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import joblib

# raised whenever what checkpoints hold changes, so that older ones are not found
_FORMAT = 1


@contextmanager
def restored_on_error(estimator):
    """Restore the attributes of an estimator if an error ends the block."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        # scikit-learn's callbacks tear down their own attributes after the error
        kept = {k: v for k, v in vars(estimator).items() if "callback" in k}
        vars(estimator).clear()
        vars(estimator).update(before | kept)
        raise


class Progress:
    """The task tree of one call to `fit`, for scikit-learn's callbacks.

    There is one task per candidate and final fit, with one task per round in it.

    Parameters
    ----------
    estimator : estimator
        With `CallbackSupportMixin`.
    n_runs : int or None
        The largest number of runs of the recursion, None if it is not known.
    attributes : callable
        Maps a fitted Round to the fitted attributes of an estimator that ended with it.
    data : dict
        X, y and metadata, as the hooks get them.
    """

    def __init__(self, estimator, n_runs, attributes, data):
        self.estimator, self.attributes, self.data = estimator, attributes, data
        self._numbers = count()
        self._context = estimator._init_callback_context(
            max_subtasks=n_runs, sequential_subtasks=False
        )
        self._context.call_on_fit_task_begin(estimator=estimator, **data)

    def open(self, name, n_rounds):
        """Begin a run of the recursion and return it; the caller closes it."""
        context = self._context.subcontext(
            task_name=name, task_id=next(self._numbers), max_subtasks=n_rounds
        )
        context.call_on_fit_task_begin(estimator=self.estimator)
        return _Run(self, context)

    def end(self, attributes):
        """End the task of the fit, with the attributes of the fitted estimator."""
        self._context.call_on_fit_task_end(
            estimator=self.estimator, reconstruction_attributes=attributes, **self.data
        )


class _RoundTask:
    """The task of one round.

    `result` is its Round, if it was fitted to all rows. `stop` is whether a callback
    asked to stop.
    """

    result: Any = None
    stop = False


class _Run:
    """One run of the recursion as a task."""

    def __init__(self, progress, context):
        self._progress, self._context = progress, context

    @contextmanager
    def round(self):
        """Report the block as one round; its `result` reaches the callbacks fitted."""
        progress, task = self._progress, _RoundTask()
        context = self._context.subcontext(task_name="round")
        context.call_on_fit_task_begin(estimator=progress.estimator)
        yield task
        arguments = {}
        if task.result is not None:
            arguments = dict(progress.data)
            arguments["reconstruction_attributes"] = lambda: progress.attributes(
                task.result
            )
        task.stop = context.call_on_fit_task_end(
            estimator=progress.estimator, **arguments
        )

    def watch(self, rounds, budget=None):
        """Yield rounds, each reported, until the last or until a callback stops.

        With a Budget also until there is no time for the next round.
        """
        while True:
            begin = perf_counter()
            with self.round() as task:
                task.result = next(rounds)
            seconds = perf_counter() - begin
            yield task.result
            if task.stop or task.result.last:
                break
            if budget is not None:
                seconds = budget.seconds_after(task.result, seconds)
                if not budget.allows(seconds):
                    break
        self.close()

    def close(self):
        """End the run."""
        self._context.call_on_fit_task_end(estimator=self._progress.estimator)


class FitTasks:
    """Tasks of a fit that fits other estimators, for scikit-learn's callbacks.

    Attributes
    ----------
    stop : bool
        Whether a callback asked to stop, at the end of the task.
    """

    def __init__(self, estimator, context):
        self._estimator, self._context = estimator, context
        self._data, self.stop = {}, False

    @classmethod
    def of_fit(cls, estimator, **data):
        """Begin the task of a fit to data, as the hooks get them."""
        task = cls(estimator, estimator._init_callback_context(max_subtasks=None))
        task._data = data
        task._context.call_on_fit_task_begin(estimator=estimator, **data)
        return task

    def end(self, attributes):
        """End the task of the fit, with the attributes of the fitted estimator."""
        self._context.call_on_fit_task_end(
            estimator=self._estimator,
            reconstruction_attributes=attributes,
            **self._data,
        )

    @contextmanager
    def open(self, name, n_subtasks=0):
        """Report the block as a subtask, which has subtasks itself."""
        context = self._context.subcontext(name, max_subtasks=n_subtasks)
        context.call_on_fit_task_begin(estimator=self._estimator)
        task = FitTasks(self._estimator, context)
        yield task
        task.stop = context.call_on_fit_task_end(estimator=self._estimator)

    def fit_of(self, model, name):
        """Return the method `fit` of another estimator as a subtask."""

        def fit(*args):
            context = self._context.subcontext(name)
            with context.propagate_callback_context(model):
                context.call_on_fit_task_begin(estimator=self._estimator)
                model.fit(*args)
                context.call_on_fit_task_end(estimator=self._estimator)
            return model

        return fit


class Checkpoint:
    """Named values of one fit, all in one file; none where there is no folder.

    The file is replaced as a whole, so that a process which is killed while it writes
    leaves the file from before. Large values have files of their own, beside it.

    Parameters
    ----------
    path : path or None
    """

    def __init__(self, path: Path | None = None):
        self._path, self._values = path, {}
        if path is not None and path.exists():
            self._values = joblib.load(path)

    @classmethod
    def of_fit(cls, estimator, *data):
        """Return the checkpoint of a fit to some data, in the estimator's folder.

        Its name tells the parameters and the data, so that other fits have others.
        """
        folder = getattr(estimator, "checkpoint_dir", None)
        if folder is None:
            return cls()
        if not isinstance(estimator.random_state, Integral):
            raise ValueError(
                "checkpoint_dir needs an integer random_state, because a fit goes on "
                "only with the same random numbers; got "
                f"{estimator.random_state!r}."
            )
        params = estimator.get_params(deep=False)
        for name in ("checkpoint_dir", "time_budget", "device", "n_jobs"):
            params.pop(name)  # which change how a fit goes on, not what it fits
        key = joblib.hash((type(estimator).__name__, params, data, _FORMAT))
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise type(error)(
                f"checkpoint_dir={str(folder)!r} is no folder that can be written: "
                f"{error}."
            ) from error
        return cls(Path(folder) / f"skrfm-{key}.joblib")

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value that was saved, or the default."""
        return self._values.get(name, default)

    def save(self, name: str, value: Any):
        """Save a value under a name."""
        if self._path is None:
            return
        self._values[name] = value
        new = self._path.with_suffix(".new")
        joblib.dump(self._values, new)
        os.replace(new, self._path)

    def part(self, prefix: str) -> "Checkpoint":
        """Return the same file with a prefix before all names."""
        return _Part(self, prefix)

    def file(self, name: str) -> "Checkpoint":
        """Return another file of the same fit, with values of its own."""
        if self._path is None:
            return self
        return Checkpoint(self._path.with_name(f"{self._path.stem}-{name}.joblib"))

    @contextmanager
    def folder(self):
        """Make a folder for the block, beside the file if there is one.

        It is removed after the block, after an error as well. That of a process that
        was killed is removed by the next fit with the same checkpoint.
        """
        prefix, parent = "skrfm-", None
        if self._path is not None:
            prefix, parent = f"{self._path.stem}-folder-", self._path.parent
            for old in parent.glob(f"{prefix}*"):
                rmtree(old, ignore_errors=True)
        with TemporaryDirectory(prefix=prefix, dir=parent) as folder:
            yield Path(folder)

    def remove(self):
        """Remove the files, after the fit."""
        if self._path is not None:
            for file in self._path.parent.glob(f"{self._path.stem}*.joblib"):
                file.unlink(missing_ok=True)


class _Part(Checkpoint):
    """The values of a checkpoint whose names have a prefix."""

    def __init__(self, whole, prefix):
        self._whole, self._prefix = whole, prefix

    def get(self, name, default=None):
        """Return a value that was saved, or the default."""
        return self._whole.get(self._prefix + name, default)

    def save(self, name, value):
        """Save a value under a name."""
        self._whole.save(self._prefix + name, value)

    def file(self, name):
        """Return another file of the same fit, with values of its own."""
        return self._whole.file(self._prefix + name)

    def folder(self):
        """Make a folder for a block, beside the file if there is one."""
        return self._whole.folder()
