"""The search in stages: which rows, which candidates go on, and what it finds."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import make_friedman1
from sklearn.model_selection import GroupKFold, KFold

from skrfm import RFMClassifier, RFMRegressor
from skrfm._recursion import Candidate, Start
from skrfm._search import (
    Budget,
    Trial,
    _budget,
    _folds,
    _race,
    _search,
    _setup,
    by_path,
    drop_worse,
)
from skrfm._search._folds import fold_stages, sample_stages
from skrfm._search._race import Race, relative_loss, standard_errors
from skrfm._tables import _limits
from skrfm.exceptions import NumericalWarning
from skrfm.kernels import GeneralizedLaplace, L1Laplace, Laplace, LpqLaplace


def columns(history, *names):
    return list(zip(*(history[name] for name in names), strict=True))


# -- rows -----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1001, 1600, 2900, 4000, 9000, 30_000])
@pytest.mark.parametrize("n_classes", [1, 3])
def test_samples_grow_and_are_never_validated_on(n, n_classes, rng):
    strata = rng.integers(0, n_classes, n)
    *samples, last = sample_stages(strata, seed=1, n_folds=2)
    fitted = [stage.judging.folds[0][0] for stage in samples]
    for smaller, larger in zip(
        fitted, [*fitted[1:], last.judging.folds[0][0]], strict=True
    ):
        assert len(smaller) < len(larger) and np.isin(smaller, larger).all()
    for stage in samples:
        ((train, test),) = stage.judging.folds
        assert not np.isin(train, test).any() and stage.warm and stage.climbs
    # what was learned on the largest sample has seen no row that is validated on
    for train, test in last.judging.folds:
        assert np.isin(fitted[-1], train).all()
        assert not np.isin(test, train).any() and not np.isin(test, fitted[-1]).any()
    rows = np.unique(np.concatenate([*last.judging.folds[0]]))
    assert len(rows) == min(n, 10_000)
    first, second = (set(test) for _, test in last.judging.folds)
    assert not first & second and len(first | second) + len(fitted[-1]) == len(rows)
    if n_classes > 1:
        for train, _ in last.judging.folds:
            shares = np.bincount(strata[train]) / len(train)
            assert_allclose(shares, np.bincount(strata) / n, atol=0.01)


@pytest.mark.parametrize(
    "n, n_folds, anew",
    [
        (1600, 1, [False]),  # 800 rows, then 1200
        (4000, 1, [True, False]),  # 1000, 2500, 3250
        (9000, 1, [True, True]),  # 1000, 2500, 5750
        (9000, 2, [False, False]),
    ],
)
def test_metrics_are_learned_anew_on_many_more_rows(n, n_folds, anew):
    *samples, last = sample_stages(np.zeros(n), seed=0, n_folds=n_folds)
    assert [stage.anew for stage in samples] == anew
    assert len(last.judging.folds) == n_folds


def test_finalists_on_more_rows_are_validated_on_rows_that_no_stage_fitted():
    strata = np.zeros(30_000)
    *samples, before, last = sample_stages(strata, seed=0, with_finalists=True)
    ((train, test),) = last.judging.folds
    assert (len(train), len(test)) == (12_500, 4000) and not np.isin(train, test).any()
    for stage in [*samples, before]:
        assert np.isin(stage.judging.folds[0][0], train).all()
    assert last.between_paths and last.warm and before.n_kept > 1 and before.lifts_limit


@pytest.mark.parametrize(
    "n, options",
    [(24_000, {}), (30_000, {"with_finalists": False}), (30_000, {"most_rows": 9000})],
)
def test_no_stage_of_finalists(n, options):
    stages = sample_stages(np.zeros(n), seed=0, **{"with_finalists": True} | options)
    assert max(stage.judging.n_rows for stage in stages) <= 6250
    assert not any(stage.between_paths or stage.lifts_limit for stage in stages)


def test_few_rows_have_one_stage_and_more_have_two():
    folds = list(KFold(5).split(np.zeros((120, 1))))
    (only,) = fold_stages(folds, seed=0, shuffled=True)
    assert only.judging.folds is folds and only.climbs and not only.warm
    folds = list(KFold(5).split(np.zeros((900, 1))))
    first, last = fold_stages(folds, seed=0, shuffled=True)
    ((train, test),) = first.judging.folds
    assert len(train) == 450 and len(test) == 450 and not np.isin(train, test).any()
    assert last.judging.folds is folds and not first.warm


def test_rows_of_one_group_stay_together(rng):
    """With a splitter, the first stage stays within its first fold."""
    groups = rng.integers(0, 30, 900)
    folds = list(GroupKFold(5).split(np.zeros((900, 1)), groups=groups))
    first, _ = fold_stages(folds, seed=0, shuffled=False)
    ((train, test),) = first.judging.folds
    assert not np.isin(groups[train], groups[test]).any()


# -- which candidates go on -----------------------------------------------------------


def trial_of(losses, kernel=None, **parameters):
    candidate = Candidate(kernel or Laplace(), **({"alpha": 0.1} | parameters))
    trial = Trial(candidate, Start(), 1, None)
    record(trial, losses, 0)
    return trial


def record(trial, losses, number):
    losses = np.asarray(losses)
    weight = np.ones(len(losses))
    trial.record(-float(np.mean(losses)), losses, number, losses, weight)


def test_standard_errors_are_those_of_paired_differences(rng):
    base, excess = rng.exponential(size=400), rng.normal(0.1, 1, size=400)
    weight = np.ones(400)
    losses = base + excess
    expected = excess.mean() / (excess.std() / 20)
    assert standard_errors(losses, base, weight) == pytest.approx(expected)
    assert standard_errors(base, losses, weight) == 0
    # a row of weight 2 counts as two rows
    counts = rng.integers(1, 4, 400)
    repeated = np.repeat(losses, counts), np.repeat(base, counts)
    assert standard_errors(losses, base, counts) == pytest.approx(
        standard_errors(*repeated, np.ones(counts.sum()))
    )
    best, other = trial_of(base), trial_of(losses)
    assert relative_loss(other, best, weight) == pytest.approx(
        (base + excess).mean() / base.mean()
    )


def test_trials_that_lose_clearly_end_but_not_in_round_0(rng):
    base = rng.exponential(size=1000)
    trials = [
        trial_of(base, alpha=0.1),
        # as good but for the noise, and worse by three standard errors
        trial_of(base + rng.normal(0.01, 1, 1000), alpha=0.01),
        trial_of(base + rng.normal(0.1, 1, 1000), alpha=1.0),
        trial_of(base + rng.normal(0.1, 1, 1000), L1Laplace(), diagonal=True),
        trial_of(base + 0.5, diagonal=True),
    ]
    drop_worse(trials, 0, np.ones(1000))
    assert all(trial.active for trial in trials)
    drop_worse(trials, 1, np.ones(1000))
    assert [trial.active for trial in trials] == [True, True, False, True, False]
    assert len(by_path(trials)) == 3


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(
    ("gains", "n_rounds"),
    [
        # a falling loss goes on, however slow the second round after a gain is
        ([0.01, 0.01, 0.01, 0.01], 4),
        ([0.003, 0.003, 0.003, 0.003], 4),
        # two rounds of tiny gains end it, and the last of them is kept
        ([0.01, 1e-4, 1e-4, 0.01], 3),
        ([1e-4, -1e-4, 0.01, 0.01], 2),
    ],
)
def test_a_trial_ends_after_rounds_that_gain_next_to_nothing(gains, n_rounds, scale):
    trial = trial_of(np.full(5, scale))
    losses = scale * np.cumprod(1 - np.array(gains))
    for number, loss in enumerate(losses, 1):
        if trial.active:
            record(trial, np.full(5, loss), number)
    assert len(trial.scores) == n_rounds + 1
    assert -trial.best.score == pytest.approx(losses[:n_rounds].min())


@pytest.mark.parametrize("better", [None, "targets"])
def test_a_kernel_goes_on_with_statistics_or_without(better):
    worse = "targets" if better is None else None
    trials = [
        trial_of(np.full(9, 1.0), level_statistics=better),
        trial_of(np.full(9, 1.01), level_statistics=worse),
        trial_of(np.full(9, 1.02), level_statistics=worse, diagonal=True),
        trial_of(np.full(9, 1.03), level_statistics=better, scaling="quantile"),
    ]
    race = SimpleNamespace(
        scored_trials=lambda: trials,
        validation_rows=SimpleNamespace(weight=np.ones(9)),
    )
    stage = SimpleNamespace(n_kept=9, anew=False)
    found = [candidate for candidate, _ in _search._next_entrants(race, stage)]
    expected = [trials[0], trials[2], trials[3]]
    assert found == [trial.candidate for trial in expected]


def test_statistics_are_tried_on_the_best_kernels_and_keep_their_scaling():
    columns = _setup.Columns(
        scalings=("clipped", "quantile"),
        statistics=(None, "targets"),
        discrete_numbers=(3,),
    )
    params = RFMRegressor().get_params(deep=False)
    candidates = _setup.make_candidates(params, columns, seed=0, weight_unit=1.0)
    assert all(c.discrete_numbers == (3,) for c in candidates.first)
    assert candidates.count == len(candidates.first) + 4
    search = _search.Search(candidates, [], None, backend=None, progress=None)
    bests = [(candidate, Start()) for candidate in candidates.first[:3]]
    described = [candidate for candidate, _ in search._with_statistics(bests)]
    assert [c.level_statistics for c in described] == ["targets"] * 2
    assert [c.path[:3] for c in described] == [c.path[:3] for c, _ in bests[:2]]
    found = search._rescaled([bests[0], (described[1], Start())])
    assert [(c.scaling, c.level_statistics) for c, _ in found] == [("quantile", None)]


@pytest.mark.parametrize(
    ("params", "same_exponents", "found_of_other"),
    [
        ({}, True, [(0.01, 1.0), (0.01, 0.7)]),
        ({}, False, [(0.01, 1.0)]),
        ({"alphas": [0.01, 0.1]}, True, [(0.1, 0.7)]),
        ({"kernel": "laplace"}, True, [(0.01, 1.0)]),
        ({"kernel": "laplace", "alpha": 0.1}, True, []),
    ],
)
@pytest.mark.parametrize("goes_on", [True, False])
def test_other_paths_get_the_ridge_and_the_exponent_of_the_best(
    params, same_exponents, found_of_other, goes_on
):
    kernel = GeneralizedLaplace(exponent=0.7)
    best = trial_of(np.full(9, 1.0), kernel=kernel, alpha=0.01)
    other = trial_of(np.full(9, 1.1), diagonal=True, alpha=0.1)
    race = SimpleNamespace(trials=[best, other], scored_trials=lambda: [best, other])
    candidates = _setup.make_candidates(
        RFMRegressor(**params).get_params(deep=False),
        _setup.Columns(),
        seed=0,
        weight_unit=1.0,
        same_exponents=same_exponents,
    )
    search = _search.Search(candidates, [], None, backend=None, progress=None)
    going_on = (True, goes_on)
    entrants = [
        (trial.candidate, Start())
        for trial, goes_on in zip(race.trials, going_on, strict=True)
        if goes_on
    ]
    found = [candidate for candidate, _ in search._like_best(race, entrants)]
    shown = [(c.alpha, c.kernel.profile(1.0)[2]) for c in found]
    assert shown == (found_of_other if goes_on else [])
    assert all(candidate.diagonal for candidate in found)
    # each is tried once
    for c in found:
        trial = trial_of(np.full(9, 1.2), diagonal=True, alpha=c.alpha, kernel=c.kernel)
        race.trials.append(trial)
    assert not search._like_best(race, entrants)


# -- what is searched -----------------------------------------------------------------


@pytest.fixture(scope="module")
def friedman():
    X, y = make_friedman1(2600, n_features=6, noise=0.5, random_state=0)
    return X[:1600], y[:1600], X[1600:], y[1600:]


@pytest.fixture(scope="module")
def searched(friedman):
    X, y, _, _ = friedman
    return RFMRegressor(random_state=0).fit(X, y)


def test_every_stage_is_in_the_history(searched):
    history = searched.history_
    assert sorted(set(history["rows"])) == [800, 1200]
    few = history["rows"] == 800
    kinds = set(columns(history, "kernel", "metric_type"))
    assert {("Laplace()", "full"), ("Laplace()", "diag")} < kinds
    assert {("L1Laplace()", "diag")} < kinds
    # few candidates on more rows
    names = "kernel", "metric_type", "alpha"
    on_few = set(columns({k: v[few] for k, v in history.items()}, *names))
    on_more = set(columns({k: v[~few] for k, v in history.items()}, *names))
    assert len(on_more) <= 4 < len(on_few) and on_more < on_few
    assert (history["seconds"] > 0).all()


@pytest.mark.parametrize("one_path", [False, True])
def test_finalists_of_several_paths_go_on_with_all_rounds(
    one_path, friedman, monkeypatch
):
    """With stages of fewer rows."""
    sizes = {"_MOST_ROWS": 1000, "_FINALIST_ROWS": 750, "_SMALL": 200, "_MEDIUM": 400}
    for name, size in sizes.items():
        monkeypatch.setattr(_folds, name, size)
    monkeypatch.setattr(_search, "_KEPT_LOSS", 10.0)
    batches, run_batch = [], Race.run_batch

    def kept_run_batch(race, entrants):
        batches.append((race.judging.n_rows, entrants))
        run_batch(race, entrants)

    monkeypatch.setattr(Race, "run_batch", kept_run_batch)
    X, y, _, _ = friedman
    parameters = {"kernel": "laplace", "metric_type": "full"} if one_path else {}
    model = RFMRegressor(random_state=0, **parameters).fit(X, y)
    assert (750 in model.history_["rows"]) != one_path
    batch_of_stage = dict(reversed(batches))  # the first batch of each number of rows
    if not one_path:
        for n_rows, entrants in batch_of_stage.items():
            limits = {candidate.max_iter for candidate, _ in entrants}
            assert limits == {10}, n_rows
        assert len({candidate.path for candidate, _ in batch_of_stage[750]}) == 2
        # the fit to all rows goes on from the metric of this stage
        assert model.best_iter_ >= min(start.number for _, start in batch_of_stage[750])


def test_candidates_near_the_best_are_tried(searched):
    kernels = set(searched.history_["kernel"])
    assert any("exponent=" in kernel or "q=" in kernel for kernel in kernels)
    alphas = set(searched.history_["alpha"].tolist())
    assert alphas > {0.001, 0.03, 1.0}


@pytest.mark.parametrize(
    "parameters, kernels, alphas",
    [
        (
            {"kernel": GeneralizedLaplace(0.8)},
            {"GeneralizedLaplace(exponent=0.8)"},
            None,
        ),
        ({"alphas": (0.1, 2.0)}, None, {0.1, 2.0}),
        ({"alpha": 0.3}, None, {0.3}),
    ],
)
def test_what_the_user_gives_is_not_searched(parameters, kernels, alphas, friedman):
    X, y, _, _ = friedman
    model = RFMRegressor(**parameters, max_iter=1, random_state=0).fit(X[:500], y[:500])
    if kernels is not None:
        assert set(model.history_["kernel"]) == kernels
    if alphas is not None:
        assert set(model.history_["alpha"]) == alphas


def test_the_ridge_may_leave_the_grid():
    X, y = make_friedman1(700, n_features=5, noise=0.0, random_state=0)
    model = RFMRegressor(kernel="laplace", random_state=0).fit(X, y)
    assert model.alpha_ < 0.001


def test_the_average_is_no_worse_on_validation_rows_and_can_be_left_out(friedman):
    X, y, X_new, y_new = friedman
    both = RFMRegressor(random_state=0).fit(X, y)
    one = RFMRegressor(n_machines=1, random_state=0).fit(X, y)
    assert one.machine_weights_ == [1.0]
    assert sum(both.machine_weights_) == pytest.approx(1)
    assert repr(one.kernel_) == repr(both.kernel_) and one.alpha_ == both.alpha_
    assert_array_equal(one.dual_coef_, both.dual_coef_)
    assert both.score(X_new, y_new) > 0.93
    mean, std = both.predict(X_new, return_std=True)
    assert np.isfinite(std).all() and (std > 0).all()


def test_the_search_is_deterministic_and_scores_do_not_depend_on_units(friedman):
    X, y, X_new, _ = friedman
    fits = [
        RFMRegressor(max_iter=3, random_state=3).fit(scale * X[:700], scale * y[:700])
        for scale in (1.0, 1.0, 1024.0)
    ]
    same, again, scaled = (fit.history_["score"] for fit in fits)
    assert_array_equal(same, again)
    assert_allclose(scaled, same, rtol=1e-4)
    assert_allclose(fits[2].predict(1024 * X_new), 1024 * fits[0].predict(X_new), 1e-3)


def test_a_rare_class_can_be_absent_from_a_sample():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 3))
    y = (X[:, 0] > 0).astype(int)
    y[:2] = 2
    model = RFMClassifier(max_iter=1, random_state=0).fit(X, y)
    proba = model.predict_proba(X)
    assert proba.shape == (1500, 3) and np.isfinite(proba).all()
    assert model.score(X, y) > 0.95


# -- what it finds --------------------------------------------------------------------


def few_of_many_columns(n, seed):
    """32 columns, four of which matter, through a product of a sine and a product."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, size=(n, 32))
    f = np.sin(2 * np.pi * X[:, 0]) * X[:, 1] + X[:, 2] * X[:, 3]
    return X, f + 0.1 * rng.normal(size=n)


@pytest.mark.slow  # eight fits of 1200 rows for the best single setting
def test_the_search_is_near_the_best_single_setting():
    X, y = few_of_many_columns(1200, 0)
    X_new, y_new = few_of_many_columns(2000, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumericalWarning)
        found = RFMRegressor(random_state=0).fit(X, y).score(X_new, y_new)
        settings = [
            {
                "kernel": kernel,
                "metric_type": "diag",
                "alpha": alpha,
                "max_iter": rounds,
            }
            for kernel in ("laplace", LpqLaplace(p=1.0, q=1.0))
            for alpha in (0.01, 0.1)
            for rounds in (3, 8)
        ]
        singles = [
            RFMRegressor(**setting, validation=None, random_state=0)
            .fit(X, y)
            .score(X_new, y_new)
            for setting in settings
        ]
    assert found > max(singles) - 0.01


# -- the edge of a grid ---------------------------------------------------------------


EDGE = "The best ridge"


@pytest.mark.parametrize("validation", ["auto", "cv", "loo", "holdout", None])
@pytest.mark.parametrize(
    "alphas, edge, further",
    [((1.0, 100.0), "smallest", "smaller"), ((1e-4, 1e-2), "largest", "larger")],
)
def test_warning_at_the_edge_of_a_given_grid(alphas, edge, further, validation, rng):
    X = rng.normal(size=(150, 2))
    y = np.sin(2 * X[:, 0]) + 0.5 * rng.normal(size=150)
    settings = {"kernel": "laplace", "max_iter": 1, "random_state": 0}
    settings["validation"] = validation
    message = f"{EDGE}, .* is the {edge} of alphas, .* a {further} one may be"
    with pytest.warns(UserWarning, match=message):
        RFMRegressor(alphas=alphas, **settings).fit(X, y)


@pytest.mark.parametrize(
    "parameters",
    [
        {"alphas": (1e-6, 0.1, 100.0)},  # the best is inside
        {"alphas": (0.1, 0.11)},  # the best is as good as the next
        {"alphas": (0.1,)},
        {"alphas": (0.0, 100.0)},  # there is no smaller one
        {"alpha": 1e-6},
        {},
    ],
)
def test_no_warning_without_a_clear_edge(parameters, rng):
    X = rng.normal(size=(150, 2))
    y = np.sin(2 * X[:, 0]) + 0.1 * rng.normal(size=150)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=EDGE)
        RFMRegressor(kernel="laplace", max_iter=1, random_state=0, **parameters).fit(
            X, y
        )


# -- seconds --------------------------------------------------------------------------


def budget_of(monkeypatch, seconds, n_rows):
    """A budget, and the list that holds the time it is now."""
    now = [100.0]
    monkeypatch.setattr(_budget, "perf_counter", lambda: now[0])
    return Budget(seconds, n_rows), now


def test_a_budget_forecasts_from_the_rounds_on_most_rows(monkeypatch):
    budget, now = budget_of(monkeypatch, 60.0, 4000)
    candidate = Candidate(Laplace(), 0.1, max_iter=3)
    budget.record(candidate, rows=1000, seconds=9.0, n_parts=1)
    assert budget.seconds_of_fit(candidate, Start()) == 0  # it prepared the rows
    budget.record(candidate, rows=1000, seconds=1.0, n_parts=1)
    # four rounds on four times the rows
    assert budget.seconds_of_fit(candidate, Start()) == 4 * 16
    budget.record(candidate, rows=2000, seconds=6.0, n_parts=2)
    assert budget.seconds_of_fit(candidate, Start()) == 4 * 4 * 3
    # a metric that is known saves rounds; other kernels have seconds of their own
    assert budget.seconds_of_fit(candidate, Start(2, None)) == 2 * 4 * 3
    assert budget.allows(48.0, rows=2000) and not budget.allows(48.0, rows=4000)
    now[0] += 50
    assert budget.allows(10.0) and not budget.allows(10.1)


def test_a_budget_counts_pairs_of_rows_and_centres(monkeypatch):
    monkeypatch.setattr(_budget, "perf_counter", lambda: 0.0)
    budget = Budget(60.0, 40_000)
    candidate = Candidate(Laplace(), 1, max_iter=3, n_centers=4000)
    for _ in range(2):
        budget.record(candidate, rows=2000, seconds=0.5, n_parts=1)
    # 40 times the pairs in the last round, each for twice the seconds, and half of
    # them, of 2000 centres, in the three rounds before: rounds begin anew, whatever the
    # search has learned
    seconds = 0.5 * 40 * (2 + 3 / 2)
    for start in (Start(), Start(2, None)):
        assert budget.seconds_of_fit(candidate, start) == pytest.approx(seconds)
    for number, expected in ((0, 5.0), (1, 5.0), (2, 20.0)):
        fitted = SimpleNamespace(number=number, candidate=candidate)
        assert budget.seconds_after(fitted, 5.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("now", "fewer_centers", "expected"),
    # of 70 seconds, 30 are for the rounds before the last one
    [
        (0.0, True, 4000),
        (20.0, True, 2000),
        (35.0, True, 1000),
        (69.0, True, 500),
        (35.0, False, 4000),
    ],
)
def test_a_budget_leaves_as_many_centres_as_there_is_time_for(
    monkeypatch, now, fewer_centers, expected
):
    time = [0.0]
    monkeypatch.setattr(_budget, "perf_counter", lambda: time[0])
    budget = Budget(70.0, 40_000, may_take_fewer=fewer_centers)
    candidate = Candidate(Laplace(), 1, max_iter=3, n_centers=4000)
    assert budget.with_time_for(candidate, Start()) is candidate  # nothing is known
    for _ in range(2):
        budget.record(candidate, rows=2000, seconds=0.5, n_parts=1)
    assert budget.seconds_of_fit(candidate, Start()) == pytest.approx(70.0)
    kept = budget.seconds_to_keep(candidate, Start())
    assert kept == pytest.approx(35.0 if fewer_centers else 70.0)
    all_rows = Candidate(Laplace(), 1, max_iter=3)  # as centres, which remain
    kept = budget.seconds_to_keep(all_rows, Start())
    assert kept == budget.seconds_of_fit(all_rows, Start()) > 70
    time[0] = now
    assert budget.with_time_for(all_rows, Start()) is all_rows
    assert budget.with_time_for(candidate, Start()).n_centers == expected


@pytest.mark.parametrize(
    ("now", "fewer_centers", "after", "of_last"),
    # early rounds of 10 seconds forecast 40 for the last one
    [
        (0.0, True, 40.0, 4000),
        (50.0, True, 0.0, 2000),
        (55.0, True, 40.0, 4000),  # the rounds before it have 2000
        (50.0, False, 40.0, 4000),
    ],
)
def test_the_last_round_has_as_many_centres_as_there_is_time_for(
    monkeypatch, now, fewer_centers, after, of_last
):
    time = [0.0]
    monkeypatch.setattr(_budget, "perf_counter", lambda: time[0])
    budget = Budget(70.0, 40_000, may_take_fewer=fewer_centers)
    candidate = Candidate(Laplace(), 1, max_iter=3, n_centers=4000)
    time[0] = now
    for number, expected in ((0, 10.0), (1, 10.0), (2, after)):
        fitted = SimpleNamespace(number=number, candidate=candidate)
        assert budget.seconds_after(fitted, 10.0) == pytest.approx(expected)
    assert budget.adapt(candidate, 2) is candidate
    assert budget.adapt(candidate, 3).n_centers == of_last
    budget.with_time_for(candidate, Start())  # another fit begins
    assert budget.adapt(candidate, 3).n_centers == 4000


def test_a_fit_takes_fewer_centres_where_time_is_short(monkeypatch):
    monkeypatch.setattr(_limits, "_ALL_ROWS", 500)
    monkeypatch.setattr(_limits, "_CENTERS", 700)
    monkeypatch.setattr(Budget, "_seconds_of_rounds", lambda *_: (1e9, 1e9))
    X, y = make_friedman1(1000, random_state=0)
    for n_centers, expected in (("auto", 500), (700, 700)):
        model = RFMRegressor(n_centers=n_centers, time_budget=5.0, random_state=0)
        assert len(model.fit(X, y).dual_coef_) == expected


@pytest.mark.parametrize("estimator", [RFMRegressor, RFMClassifier])
@pytest.mark.parametrize("validation", ["auto", "cv", "loo", "holdout"])
def test_the_first_round_is_fitted_whatever_the_budget(estimator, validation, friedman):
    X, y, _, _ = friedman
    y = y if estimator is RFMRegressor else y > y.mean()
    settings = {"validation": validation, "time_budget": 1e-9, "random_state": 0}
    model = estimator(**settings).fit(X, y)
    assert len(model.history_["score"]) == 1
    assert model.best_iter_ == 0 and model.machine_weights_ == [1.0]
    assert model.score(X, y) > 0.5


def test_a_large_budget_changes_nothing(searched, friedman):
    X, y, _, _ = friedman
    model = RFMRegressor(random_state=0, time_budget=1e6).fit(X, y)
    assert_array_equal(model.predict(X), searched.predict(X))


def test_a_budget_ends_the_search_in_time_for_the_fit(friedman, monkeypatch):
    """By a clock on which each round takes a second."""
    X, y, _, _ = friedman
    now = [0.0]
    fit_round = Race._fit_round

    def timed_fit_round(self, index, number):
        before = len(self.history)
        fit_round(self, index, number)
        now[0] += 1.0
        assert len(self.history) == before + 1

    monkeypatch.setattr(Race, "_fit_round", timed_fit_round)
    monkeypatch.setattr(_race, "perf_counter", lambda: now[0])
    monkeypatch.setattr(_budget, "perf_counter", lambda: now[0])
    record = Budget.record

    def record_a_second(self, candidate, *, rows, seconds, n_parts):
        record(self, candidate, rows=rows, seconds=1.0, n_parts=1)

    monkeypatch.setattr(Budget, "record", record_a_second)
    searched, fit_all = [], RFMRegressor._fit_all

    def timed_fit_all(self, training, candidate, progress, checkpoint, start, budget):
        searched.append(now[0])
        rows = max(race.judging.n_rows for race in races)
        now[0] += (candidate.max_iter + 1 - start.number) * (len(X) / rows) ** 2
        # at its own pace
        return fit_all(self, training, candidate, progress, checkpoint, start)

    races, prepare = [], Race.prepare

    def kept_prepare(self, *args):
        races.append(self)
        prepare(self, *args)

    monkeypatch.setattr(Race, "prepare", kept_prepare)
    monkeypatch.setattr(RFMRegressor, "_fit_all", timed_fit_all)
    RFMRegressor(random_state=0, time_budget=40.0).fit(X, y)
    assert 20 < searched[0] < now[0] <= 40


def test_a_stage_that_starts_anew_scores_round_0_again(friedman, monkeypatch):
    X, y, _, _ = friedman
    found = {}
    for growth in (1.0, 100.0):
        monkeypatch.setattr(_folds, "_MOST_GROWTH", growth)
        history = RFMRegressor(random_state=0).fit(X, y).history_
        found[growth] = set(history["iter"][history["rows"] > 800].tolist())
    assert 0 in found[1.0] and 0 not in found[100.0]
