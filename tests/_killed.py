"""Fits in processes of their own, which end in the middle of a fit."""

import multiprocessing
import os
import pickle
import signal
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from skrfm import RFMRegressor, XRFMRegressor
from skrfm._recursion import _rounds
from skrfm._tables import _sampled
from skrfm.xrfm import _fitting

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has no other


def exit_code_of(function, *args):
    """Return the exit code of a process that calls a function of this module.

    Where the system has it, a server imports the package once and forks all processes:
    the imports take most of their time.
    """
    forks = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if forks else "spawn")
    if forks:
        context.set_forkserver_preload([__name__])
    process = context.Process(target=function, args=args)
    process.start()
    process.join()
    return process.exitcode


def is_killed(exit_code):
    """Return whether a process was killed: on Windows the code is not negative."""
    return abs(exit_code) == KILL


def kill_in_call(number, module, name, option):
    """Let a call of a function kill its process: the one after so many others.

    Returns the list to which calls append one of their options.
    """
    real, seen = getattr(module, name), []

    def counting(*args, **options):
        if len(seen) == number:
            os.kill(os.getpid(), KILL)
        seen.append(options[option])
        return real(*args, **options)

    setattr(module, name, counting)
    return seen


@threadpool_limits.wrap(limits=1)
def fit_machine(kill_in, folder, out):
    """Fit a machine from the checkpoints in a folder, and then without any.

    Writes (numbers of the rounds that were fitted, outputs, outputs of the other fit).
    """
    rounds = kill_in_call(kill_in, _rounds, "fit_round", "number")
    X = np.random.default_rng(0).normal(size=(400, 4))
    y = np.sin(2 * X[:, 0]) * X[:, 1]
    model = RFMRegressor(
        kernel="laplace",
        alpha=0.1,
        validation=None,
        max_iter=4,
        n_centers=60,
        random_state=0,
        checkpoint_dir=folder,
    )
    outputs = model.fit(X, y).predict(X)
    fitted = rounds[:]
    expected = model.set_params(checkpoint_dir=None).fit(X, y).predict(X)
    Path(out).write_bytes(pickle.dumps((fitted, outputs, expected)))


@threadpool_limits.wrap(limits=1)
def fit_tree(kill_in, folder, out, on_disk):
    """Do the same with a tree, whose leaves are in files if it is on disk.

    Writes (seeds of the leaves that were fitted, outputs, files that are left, seeds
    and outputs of the other fit).
    """
    fits = kill_in_call(kill_in, _fitting, "fit_leaf", "seed")
    if on_disk:
        _sampled.rows_in_memory = lambda *args: 0
        _sampled.SAMPLE_ROWS = 500
        _sampled._LEAST_ROWS = 10
    X = np.random.default_rng(0).normal(size=(1200, 4))
    y = np.sin(2 * X[:, 0]) * X[:, 1]
    model = XRFMRegressor(
        RFMRegressor(kernel="laplace", alpha=0.1, validation=None, max_iter=1),
        max_leaf_size=300,
        memory_budget=1.0,
        random_state=0,
        checkpoint_dir=folder,
    )
    outputs = model.fit(X, y).predict(X)
    left = os.listdir(folder)
    again = fits[:]
    fits.clear()
    expected = model.set_params(checkpoint_dir=None).fit(X, y).predict(X)
    Path(out).write_bytes(pickle.dumps((again, outputs, left, fits, expected)))
