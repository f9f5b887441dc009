"""Fits that are stopped, and go on from their checkpoints."""

import pickle

import numpy as np
import pytest
from _killed import exit_code_of, fit_machine, is_killed
from numpy.testing import assert_array_equal

from skrfm import RFMClassifier, RFMRegressor
from skrfm._recursion import _rounds
from skrfm._search import Search

ONE = {"kernel": "laplace", "alpha": 0.1, "validation": None, "random_state": 0}
OPEN = {"max_iter": 3, "random_state": 0}


@pytest.fixture
def table(rng):
    X = rng.normal(size=(300, 4))
    return X, np.sin(2 * X[:, 0] + X[:, 1]) + X[:, 2] * X[:, 3]


class Stopped(Exception):
    pass


def count_rounds(monkeypatch, stop_after=None):
    """Count rounds of fits to all rows; stop in the one after so many."""
    real, rounds = _rounds.fit_round, []

    def counting(prepared, candidate, metric, *, number, **options):
        if len(rounds) == stop_after:
            raise Stopped
        rounds.append(number)
        return real(prepared, candidate, metric, number=number, **options)

    monkeypatch.setattr(_rounds, "fit_round", counting)
    return rounds


def count_searches(monkeypatch):
    real, searches = Search.run, []

    def counting(self, data):
        searches.append(data)
        return real(self, data)

    monkeypatch.setattr(Search, "run", counting)
    return searches


@pytest.mark.parametrize("n_centers", [None, 50])
@pytest.mark.parametrize("n_done", [0, 1, 2, 3])
def test_rounds_that_ended_are_not_fitted_again(
    n_done, n_centers, table, tmp_path, monkeypatch
):
    X, y = table
    model = RFMRegressor(**ONE, max_iter=3, n_centers=n_centers)
    expected = model.fit(X, y).predict(X)
    model.set_params(checkpoint_dir=tmp_path / "new" / "folder")
    with monkeypatch.context() as patch:
        count_rounds(patch, stop_after=n_done)
        with pytest.raises(Stopped):
            model.fit(X, y)
    rounds = count_rounds(monkeypatch)
    assert_array_equal(model.fit(X, y).predict(X), expected)
    assert rounds == list(range(n_done, 4))
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_a_search_that_ended_is_not_run_again(table, tmp_path, monkeypatch):
    X, y = table
    model = RFMClassifier(**OPEN, checkpoint_dir=str(tmp_path))
    expected = RFMClassifier(**OPEN).fit(X, y > 0).predict_proba(X)
    with monkeypatch.context() as patch:
        count_rounds(patch, stop_after=0)
        with pytest.raises(Stopped):
            model.fit(X, y > 0)
    searches = count_searches(monkeypatch)
    # how it goes on does not matter
    model.set_params(n_jobs=2, time_budget=1000.0)
    assert_array_equal(model.fit(X, y > 0).predict_proba(X), expected)
    assert searches == []
    model.fit(X, y > 0)
    assert len(searches) == 1


def test_the_second_machine_goes_on_where_the_first_has_ended(tmp_path, monkeypatch):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(300, 4))
    y = np.abs(X[:, 0]) + 0.3 * X[:, 2] * X[:, 3] + 0.3 * rng.normal(size=300)
    model = RFMRegressor(**OPEN, n_machines=2).fit(X, y)
    assert len(model.machine_weights_) == 2
    expected = model.predict(X)
    model.set_params(checkpoint_dir=tmp_path)
    with monkeypatch.context() as patch:
        rounds = count_rounds(patch)
        model.fit(X, y)
        n_rounds = len(rounds)
    with monkeypatch.context() as patch:
        count_rounds(patch, stop_after=n_rounds - 1)
        with pytest.raises(Stopped):
            model.fit(X, y)
    rounds = count_rounds(monkeypatch)
    assert_array_equal(model.fit(X, y).predict(X), expected)
    assert len(rounds) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda m, X, y: (m.set_params(alpha=0.2), X, y, None),
        lambda m, X, y: (m, X + 1e-9, y, None),
        lambda m, X, y: (m, X, y[::-1], None),
        lambda m, X, y: (m, X, y, np.arange(300) % 2 + 1),
        lambda m, X, y: (m.set_params(random_state=1), X, y, None),
    ],
)
def test_other_fits_have_other_checkpoints(change, table, tmp_path, monkeypatch):
    X, y = table
    model = RFMRegressor(**ONE, max_iter=2, checkpoint_dir=tmp_path, scaling=None)
    with monkeypatch.context() as patch:
        count_rounds(patch, stop_after=1)
        with pytest.raises(Stopped):
            model.fit(X, y)
    rounds = count_rounds(monkeypatch)
    changed, *data = change(model, X, y)
    changed.fit(*data)
    assert rounds == [0, 1, 2]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_seed_is_needed(table, tmp_path):
    model = RFMRegressor(checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="integer random_state"):
        model.fit(*table)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder(table, tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OSError, match="checkpoint_dir=.* is no folder"):
        RFMRegressor(checkpoint_dir=file, random_state=0).fit(*table)


def test_a_half_written_file_is_not_read(table, tmp_path, monkeypatch):
    X, y = table
    model = RFMRegressor(**ONE, max_iter=2, checkpoint_dir=tmp_path)
    with monkeypatch.context() as patch:
        count_rounds(patch, stop_after=1)
        with pytest.raises(Stopped):
            model.fit(X, y)
    (file,) = tmp_path.iterdir()
    file.with_suffix(".new").write_bytes(file.read_bytes()[:100])
    rounds = count_rounds(monkeypatch)
    model.fit(X, y)
    assert rounds == [1, 2]
    assert not file.exists()


def test_a_killed_process_loses_one_round_at_most(tmp_path):
    folder, out = tmp_path / "checkpoints", tmp_path / "out.pickle"
    assert is_killed(exit_code_of(fit_machine, 3, folder, out))
    assert exit_code_of(fit_machine, -1, folder, out) == 0
    rounds, outputs, expected = pickle.loads(out.read_bytes())
    assert rounds == [3, 4]
    assert_array_equal(outputs, expected)
