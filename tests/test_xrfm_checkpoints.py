"""Fits of trees that are stopped, and go on from their checkpoints."""

import pickle

import numpy as np
import pytest
from _killed import exit_code_of, fit_tree, is_killed
from numpy.testing import assert_allclose, assert_array_equal

from skrfm import RFMClassifier, RFMRegressor, XRFMClassifier, XRFMRegressor
from skrfm._tables import _sampled
from skrfm.xrfm import _base, _comparison, _fitting, _large_leaves, _parallel

ONE = {"kernel": "laplace", "alpha": 0.1, "max_iter": 1, "validation": None}


@pytest.fixture
def table(rng):
    X = rng.normal(size=(600, 4))
    return X, np.where(X[:, 0] > 0, np.sin(2 * X[:, 1]), X[:, 2])


class Stopped(Exception):
    pass


class Steps:
    """Counts the steps of fits, by name, and stops in the one after so many."""

    def __init__(self, monkeypatch, stop_after=None):
        self.names, self._stop_after = [], stop_after
        for name, module, function in (
            ("fit", _fitting, "fit_leaf"),
            ("directions", _fitting, "find_directions"),
            ("directions", _fitting, "find_refined_directions"),
            ("losses", _comparison, "held_out_losses"),
            ("large", _large_leaves, "fit_leaf"),
        ):
            self._count(monkeypatch, name, module, function)

    def _count(self, monkeypatch, name, module, function):
        real = getattr(module, function)

        def counting(*args, **options):
            if len(self.names) == self._stop_after:
                raise Stopped
            self.names.append(name)
            return real(*args, **options)

        monkeypatch.setattr(module, function, counting)


def all_steps(monkeypatch, model, *data):
    """Return the steps of a fit, and its predictions."""
    with monkeypatch.context() as patch:
        steps = Steps(patch)
        predicted = model.fit(*data).predict(data[0])
    return steps.names, predicted


def stop_and_go_on(monkeypatch, model, n_done, folder, *data):
    """Return the steps of a fit that goes on after so many, and its predictions."""
    model.set_params(checkpoint_dir=folder)
    with monkeypatch.context() as patch:
        Steps(patch, stop_after=n_done)
        with pytest.raises(Stopped):
            model.fit(*data)
    assert list(folder.glob("*.joblib")) or n_done == 0
    found = all_steps(monkeypatch, model, *data)
    assert list(folder.iterdir()) == []
    return found


@pytest.mark.parametrize("n_done", [0, 1, 2, 3, 5, 12])
def test_steps_that_ended_are_not_done_again(n_done, table, tmp_path, monkeypatch):
    leaf = RFMRegressor(alpha=0.1, max_iter=4)
    model = XRFMRegressor(leaf, max_leaf_size=150, random_state=0)
    names, expected = all_steps(monkeypatch, model, *table)
    assert names[:4] == ["fit", *["directions"] * 3]
    assert names[-4:] == ["fit"] * 4 and names[4:-4] == ["losses"] * len(names[4:-4])
    assert len(names) >= 14
    again, found = stop_and_go_on(monkeypatch, model, n_done, tmp_path, *table)
    assert_array_equal(found, expected)
    # the directions of the two nodes of the second level are one step
    assert again == names[2 if n_done == 3 else n_done :]


@pytest.mark.parametrize("n_done", [3, 9])
def test_trees_of_classifiers(n_done, table, tmp_path, monkeypatch):
    X, y = table
    model = XRFMClassifier(RFMClassifier(**ONE), max_leaf_size=300, n_trees=3)
    model.set_params(search="leaves", random_state=0)
    names, expected = all_steps(monkeypatch, model, X, y > 0)
    assert names == ["directions", "fit", "fit"] * 3
    if n_done == 9:  # all leaves, of which the last one is fitted again
        n_done = 8
    again, found = stop_and_go_on(monkeypatch, model, n_done, tmp_path, X, y > 0)
    assert_array_equal(found, expected)
    assert again == names[n_done:]


def test_the_choice_of_large_leaves_is_saved(table, tmp_path, monkeypatch):
    X, y = (np.concatenate([a, a + 0.01]) for a in table)
    monkeypatch.setattr(_base, "_MANY_ROWS", 500)
    monkeypatch.setattr(_base, "_AUTO_LEAF_ROWS", 300)
    monkeypatch.setattr(_base, "_LEAST_CENTERS", 50)
    monkeypatch.setattr(_fitting, "SEARCH_ROWS", 100)
    leaf = RFMRegressor(alpha=0.1, max_iter=1, validation=None)
    model = XRFMRegressor(leaf, max_split_samples=100, random_state=0)
    names, expected = all_steps(monkeypatch, model, X, y)
    last = len(names) - names[::-1].index("large")
    again, found = stop_and_go_on(monkeypatch, model, last, tmp_path, X, y)
    assert_allclose(found, expected, rtol=1e-12)
    assert again == names[last:]


def test_a_fit_that_goes_on_has_leaves_of_the_same_size(table, tmp_path, monkeypatch):
    """By a clock on which the search has taken ten seconds, or none the second time."""
    monkeypatch.setattr(_fitting, "_COST_OF_ROW", 1 / 600)
    monkeypatch.setattr(_fitting, "SEARCH_ROWS", 100)
    monkeypatch.setattr(_base, "_AUTO_LEAF_ROWS", 300)
    model = XRFMRegressor(RFMRegressor(**ONE), random_state=0, time_budget=1e5)
    model.set_params(checkpoint_dir=tmp_path)
    real = _fitting.time
    with monkeypatch.context() as patch:
        patch.setattr(_fitting, "time", lambda: real() + 99_990.0)
        patch.setattr(_base, "time", real)
        Steps(patch, stop_after=2)
        with pytest.raises(Stopped):
            model.fit(*table)
    assert model.fit(*table).n_leaves_ == 8


@pytest.mark.parametrize(
    "change",
    [
        lambda m, X, y: (m.set_params(estimator__alpha=0.2), X, y),
        lambda m, X, y: (m.set_params(max_leaf_size=301), X, y),
        lambda m, X, y: (m, X + 1e-9, y),
        lambda m, X, y: (m, X, y[::-1]),
        lambda m, X, y: (m, X, y, np.arange(600) % 2 + 1),
        lambda m, X, y: (m.set_params(random_state=1), X, y),
    ],
)
def test_other_fits_have_other_checkpoints(change, table, tmp_path, monkeypatch):
    X, y = table
    leaf = RFMRegressor(**ONE, scaling=None)
    model = XRFMRegressor(leaf, max_leaf_size=300, random_state=0)
    model.set_params(checkpoint_dir=tmp_path)
    with monkeypatch.context() as patch:
        Steps(patch, stop_after=3)
        with pytest.raises(Stopped):
            model.fit(X, y)
    files = sorted(tmp_path.iterdir())
    changed, *data = change(model, X, y)
    names, _ = all_steps(monkeypatch, changed, *data)
    assert names == ["fit", "directions", "fit", "fit"]
    assert sorted(tmp_path.iterdir()) == files


def test_a_seed_is_needed(table, tmp_path):
    model = XRFMRegressor(checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="integer random_state"):
        model.fit(*table)
    assert list(tmp_path.iterdir()) == []


def test_how_a_fit_goes_on_does_not_matter(table, tmp_path, monkeypatch):
    model = XRFMRegressor(RFMRegressor(**ONE), max_leaf_size=150, random_state=0)
    _, expected = all_steps(monkeypatch, model, *table)
    model.set_params(checkpoint_dir=tmp_path)
    with monkeypatch.context() as patch:
        Steps(patch, stop_after=5)
        with pytest.raises(Stopped):
            model.fit(*table)
    model.set_params(n_jobs=1, time_budget=1000.0)
    names, found = all_steps(monkeypatch, model, *table)
    assert_array_equal(found, expected)
    assert names == ["fit"] * 3


def test_files_of_leaves_lie_in_the_folder(table, tmp_path, monkeypatch):
    monkeypatch.setattr(_sampled, "rows_in_memory", lambda *args: 0)
    monkeypatch.setattr(_sampled, "SAMPLE_ROWS", 300)
    monkeypatch.setattr(_sampled, "_LEAST_ROWS", 10)
    model = XRFMRegressor(RFMRegressor(**ONE), max_leaf_size=150, random_state=0)
    model.set_params(memory_budget=1.0)
    _, expected = all_steps(monkeypatch, model, *table)
    left = []
    real = _parallel.run_jobs

    def looking(*args):
        left.extend(tmp_path.glob("*/*.X"))
        return real(*args)

    monkeypatch.setattr(_parallel, "run_jobs", looking)
    names, found = stop_and_go_on(monkeypatch, model, 6, tmp_path, *table)
    assert_array_equal(found, expected)
    assert left and set(names) == {"fit"}


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_killed_process_loses_one_leaf_at_most(on_disk, tmp_path):
    folder, out = tmp_path / "checkpoints", tmp_path / "out.pickle"
    # two processes one after the other, of which the first loses its only leaf
    assert is_killed(exit_code_of(fit_tree, 0, folder, out, on_disk))
    assert is_killed(exit_code_of(fit_tree, 3, folder, out, on_disk))
    has_files = any(path.is_dir() for path in folder.iterdir())
    assert has_files == on_disk  # what the killed process has left
    assert exit_code_of(fit_tree, -1, folder, out, on_disk) == 0
    again, outputs, left, fits, expected = pickle.loads(out.read_bytes())
    assert len(fits) >= 5  # the search, and all leaves
    assert again == fits[3:]
    assert_array_equal(outputs, expected)
    assert left == []
