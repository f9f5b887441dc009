"""XRFM: what the search at the root leaves open is compared in leaves."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skrfm import RFMClassifier, RFMRegressor
from skrfm._search import standard_errors
from skrfm._sklearn import Checkpoint
from skrfm.xrfm._comparison import COMPARED_LEAVES, Comparison, excess
from skrfm.xrfm._leaves import held_out_losses
from skrfm.xrfm._parallel import Deadline
from skrfm.xrfm._rows import HeldCell, LeafData

QUICK = {"kernel": "laplace", "alpha": 0.1, "validation": None}


@pytest.fixture
def table(rng):
    X = rng.normal(size=(600, 4))
    return X, np.where(X[:, 0] > 0, np.sin(2 * X[:, 1]), X[:, 2])


def comparison(table, leaves, losses=None):
    """A Comparison; `losses` are those of estimators in leaves, by their rounds."""
    X, y = table
    data = LeafData(X, y, np.ones(len(X)))
    found = Comparison(
        [HeldCell(data, rows) for rows in leaves],
        seed=3,
        deadline=Deadline(),
        checkpoint=Checkpoint(),
    )
    if losses is not None:
        found.losses = lambda estimators, *args: [
            np.stack([losses[each.alpha, each.max_iter], np.ones(200)])
            for each in estimators
        ]
    return found


@pytest.mark.parametrize(
    ("gains", "chosen"),
    [
        # by the mean loss of the first finalist's halved rounds minus the other's
        ({(1, 4): 0.0, (2, 4): 0.0, (1, 8): -0.1}, (1, 4)),
        ({(1, 4): 0.0, (2, 4): 0.0, (1, 8): 0.1}, (1, 8)),
        ({(1, 4): 0.0, (2, 4): 0.04, (1, 8): 0.1}, (1, 8)),  # half a standard error
        ({(1, 4): 0.0, (2, 4): 0.3, (2, 8): 0.2}, (2, 4)),
        ({(1, 4): 0.0, (2, 4): 0.3, (2, 8): 0.4}, (2, 8)),
    ],
)
def test_the_finalist_that_is_clearly_better_in_leaves_wins(gains, chosen, table, rng):
    noise = rng.normal(size=200)
    noise = (noise - noise.mean()) / noise.std()  # errors of means are 0.07
    losses = {key: 1 - gain + noise * (key[0] == 1) for key, gain in gains.items()}
    finalists = [
        RFMRegressor(**{**QUICK, "alpha": alpha}, max_iter=8) for alpha in (1, 2)
    ]
    best = comparison(table, [np.arange(600)], losses).best(finalists)
    assert (best.alpha, best.max_iter) == chosen


def test_losses_in_leaves_are_those_of_rows_that_were_held_out(table):
    X, y = table
    leaves = np.array_split(np.random.default_rng(1).permutation(600), 5)
    estimators = [RFMRegressor(**QUICK, max_iter=n) for n in (0, 1)]
    losses = comparison(table, leaves).losses(estimators)
    compared = np.random.default_rng(3).permutation(5)[:COMPARED_LEAVES]
    for estimator, found in zip(estimators, losses, strict=True):
        expected = [
            held_out_losses(
                estimator,
                LeafData(X[leaves[k]], y[leaves[k]], np.ones(len(leaves[k]))),
                seed=3,
                deadline=Deadline(),
                share=1.0,
            )
            for k in compared
        ]
        assert_allclose(found, np.concatenate(expected, axis=1))
        assert found.shape == (2, 90)


def test_losses_of_a_regressor_and_of_a_classifier(table):
    X, y = table
    weight = np.linspace(1, 2, 600)
    settings = {"seed": 0, "deadline": None, "share": 1.0}
    machine = RFMRegressor(**QUICK, max_iter=1)
    losses, weights = held_out_losses(machine, LeafData(X, y, weight), **settings)
    assert losses.shape == (150,) and set(weights) <= set(weight)
    assert 0 < losses.mean() < 0.5  # of the variance
    both = LeafData(X, np.stack([y, 100 * y], axis=1), weight)
    assert_allclose(held_out_losses(machine, both, **settings)[0], losses, rtol=1e-3)

    machine = RFMClassifier(**QUICK, max_iter=1)
    classes = np.digitize(y, [-0.5, 0.5])
    of_classes, _ = held_out_losses(machine, LeafData(X, classes, weight), **settings)
    assert 0 < of_classes.mean() < np.log(3)
    rare = np.r_[np.full(599, 0), 1]
    with_rare, _ = held_out_losses(machine, LeafData(X, rare, weight), **settings)
    assert np.isfinite(with_rare).all() and with_rare.min() >= 0


def test_rivals_are_nearly_as_good_and_of_another_kind(table):
    model = RFMRegressor(random_state=0, n_machines=1).fit(*table)
    rivals = model._fitted.rivals
    kinds = [(repr(c.kernel), "diag" if c.diagonal else "full") for c in rivals]
    chosen = model._fitted.predictor.first.candidate
    assert (repr(chosen.kernel), "diag" if chosen.diagonal else "full") not in kinds
    assert len(set(kinds)) == len(kinds) > 0
    history = model.history_
    for (kernel, kind), rival in zip(kinds, rivals, strict=True):
        of_rival = (history["kernel"] == kernel) & (history["metric_type"] == kind)
        of_best = (history["kernel"] == repr(chosen.kernel)) & (
            history["metric_type"] == ("diag" if chosen.diagonal else "full")
        )
        rows = max(set(history["rows"][of_rival]) & set(history["rows"][of_best]))
        score = history["score"][of_rival & (history["rows"] == rows)].max()
        best = history["score"][of_best & (history["rows"] == rows)].max()
        assert 1 - score <= 1.08 * (1 - best) + 1e-12
        assert (history["iter"][of_rival] == rival.max_iter).any()


def test_excess_is_in_standard_errors(rng):
    first, other = rng.normal(size=(2, 50))
    weight = rng.uniform(1, 2, size=50)
    errors = excess(np.stack([first + 1, weight]), np.stack([other, weight]))
    assert errors == standard_errors(first + 1, other, weight) > 1
