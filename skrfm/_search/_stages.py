"""A search in stages: many candidates on few rows, few candidates on many rows.

Successive halving over rows: each stage is a race of the candidates that the stage
before has left. The rows of a stage include those of the stages before, and none of
the later validation rows, so that a recursion goes on from the metric of fewer rows.
"""

from dataclasses import dataclass, replace

import numpy as np

from .._recursion import Start
from ._folds import split_sample
from ._judging import HoldOut
from ._race import Race, history_table
from ._trials import by_path, relative_loss, standard_errors

# Rows of the first stages, and the validation rows there at most.
_SMALL, _MEDIUM, _MOST_UNSEEN = 1000, 2500, 4000
# The rows of the last stage at most.
_MOST_ROWS = 10_000
# A stage is left out where the next one has fewer than so many times its rows.
_LEAST_GROWTH = 1.5
# Fewer rows than these are too few to choose among all candidates.
_LEAST_SMALL = 200
# Trials that go on from a stage on small samples, and from one on larger samples.
_KEPT_OF_SMALL, _KEPT_OF_MEDIUM = 4, 2
# A smaller ridge needs float64.
_LEAST_RIDGE = 1e-4
# Standard errors by which the best trial of another kernel or metric may lose and go
# on, and by which another ridge may.
_KEPT_ERRORS, _KEPT_RIDGE_ERRORS = 3.0, 1.0
_KEPT_RELATIVE = 1.2


@dataclass(frozen=True)
class Stage:
    """One race of a search.

    Attributes
    ----------
    folds : list of (ndarray of int, ndarray of int)
        Rows that candidates are fitted to, and rows that they are validated on.
    n_kept : int
        The number of trials that go on to the next stage.
    warm : bool
        Whether the next stage, or the fit to all rows, may go on from the metrics.
    """

    folds: list[tuple[np.ndarray, np.ndarray]]
    n_kept: int = 1
    warm: bool = False


@dataclass(frozen=True)
class Stages:
    """The races of a search, and how many folds are fitted at the same time."""

    stages: list[Stage]
    n_jobs: int | None = None


def most_runs(judging, n_candidates):
    """Return how many runs of the recursion a search has at most."""
    if not isinstance(judging, Stages):
        return n_candidates
    return n_candidates + sum(2 * stage.n_kept + 30 for stage in judging.stages[:-1])


def sample_stages(strata, *, seed):
    """Return stages on samples that grow, the last one on all rows in two folds.

    The largest sample is fitted to in both folds, and validated on in none: metrics
    that it has learned have not seen any validation row.
    """
    order = np.arange(len(strata))
    sizes = [(_SMALL, _KEPT_OF_SMALL), (_MEDIUM, _KEPT_OF_MEDIUM)]
    sizes = [(size, k) for size, k in sizes if size * _LEAST_GROWTH <= len(order)]
    kept, rest = order, None
    samples = []
    for size, n_kept in reversed(sizes):
        kept, others = split_sample(kept, size, strata, seed)
        rest = others if rest is None else rest
        samples.append((kept, n_kept))
    if len(rest) > _MOST_ROWS - sizes[-1][0]:
        rest, _ = split_sample(rest, _MOST_ROWS - sizes[-1][0], strata, seed)
    unseen = rest
    if len(rest) > _MOST_UNSEEN:
        unseen, _ = split_sample(rest, _MOST_UNSEEN, strata, seed)
    stages = [Stage([(kept, unseen)], k, warm=True) for kept, k in reversed(samples)]
    half, other = split_sample(rest, len(rest) // 2, strata, seed)
    largest = samples[0][0]
    folds = [
        (np.sort(np.concatenate([largest, a])), b)
        for a, b in ((half, other), (other, half))
    ]
    return [*stages, Stage(folds, warm=True)]


def fold_stages(folds, *, seed, shuffled):
    """Return stages that end with all folds of a cross-validation.

    `shuffled` says whether any row may be validated on whatever rows are fitted to; if
    not, the first stage takes a part of the first fold.
    """
    (train, test), *_ = folds
    size = min(_SMALL, (len(train) + len(test)) // 2)
    if size < _LEAST_SMALL or size * _LEAST_GROWTH > len(train):
        return [Stage(folds)]
    order = np.random.default_rng(seed).permutation(train)
    unseen = np.concatenate([test, order[size:]]) if shuffled else test
    few = np.sort(order[:size]), np.sort(unseen[:_MOST_UNSEEN])
    return [Stage([few], _KEPT_OF_SMALL), Stage(folds)]


def choose(data, candidates, judging, rules, *, backend, progress):
    """Return the Choice with the best score over candidates and rounds.

    Of equal scores the earlier round, and then the earlier candidate, wins. All
    candidates have the same intercept and the same number of rounds.

    Parameters
    ----------
    data : Data
    candidates : Candidates or RandomCandidates
    judging : Judging or Stages
    rules : SearchRules
    backend : Backend
    progress : Progress
    """
    if isinstance(judging, Stages):
        data = _in_single_precision(data, candidates.first, backend)
        return _choose_in_stages(
            data, candidates, judging, rules, backend=backend, progress=progress
        )
    batch = candidates.first
    race = Race(judging, rules, backend=backend, progress=progress)
    race.prepare(data, batch[0].fit_intercept)
    while batch and not race.is_over():
        race.run_batch([(candidate, Start()) for candidate in batch])
        batch = candidates.next_batch(race.ranked_candidates())
    return race.choice()


def _in_single_precision(data, candidates, backend):
    """Return data in float32, where the numbers are scaled and no ridge is tiny."""
    exact = any(c.scaling is None or c.ridge < _LEAST_RIDGE for c in candidates)
    return data if exact else data.astype(backend.xp.float32, backend)


def _choose_in_stages(data, candidates, stages, rules, *, backend, progress):
    """Return the Choice of the last stage, with the history of all."""
    entrants = [(candidate, Start()) for candidate in candidates.first]
    history, first, scalings = [], len(stages.stages) > 1, []
    if first:
        scalings = list({c.scaling: None for c in candidates.first})
        entrants = [e for e in entrants if e[0].scaling == scalings[0]]
    for stage in stages.stages:
        judging = HoldOut(stage.folds, stages.n_jobs)
        race = Race(judging, rules, backend=backend, progress=progress, warm=stage.warm)
        race.prepare(data, candidates.first[0].fit_intercept)
        race.run_batch(entrants)
        history += [entry for _, entry in race.history]
        import os

        if os.environ.get("DBG") and stage is stages.stages[-1]:
            _next_entrants(race, 1)
        if race.is_over():
            break
        entrants = _next_entrants(race, stage.n_kept)
        if first:
            entrants += [
                (replace(candidate, scaling=scaling), Start())
                for candidate, _ in entrants[:2]
                for scaling in scalings[1:]
            ]
            import os

            V = os.environ.get("VARS", "").split(",")
            from ..kernels import GeneralizedLaplace, LpqLaplace

            new = []
            for candidate, start in entrants[: int(os.environ.get("TOP", "1"))]:
                a = candidate.alpha
                if "bw" in V:
                    new += [
                        (replace(candidate, bandwidth="1*median", alpha=a * 3), start),
                        (replace(candidate, bandwidth="9*median", alpha=a / 3), start),
                    ]
                if "bwd" in V:
                    new += [
                        (replace(candidate, bandwidth="1*median", alpha=a * 3), start)
                    ]
                if "exp" in V:
                    kk = (
                        [LpqLaplace(p=1.0, q=0.7)]
                        if candidate.kernel.coordinatewise
                        else [GeneralizedLaplace(0.7), GeneralizedLaplace(1.3)]
                    )
                    new += [(replace(candidate, kernel=k, alpha=a), start) for k in kk]
                if "p" in V and candidate.kernel.coordinatewise:
                    new += [
                        (
                            replace(
                                candidate, kernel=LpqLaplace(p=1.5, q=1.0), alpha=a
                            ),
                            start,
                        )
                    ]
                if "ridge" in V and a <= 1.01e-3:
                    new += [(replace(candidate, alpha=a / 10), start)]
                if "r3" in V:
                    new += [
                        (replace(candidate, alpha=a / 3), start),
                        (replace(candidate, alpha=a * 3), start),
                    ]
            entrants += new
        first = False
    return replace(race.choice(), history=history_table(history))


def _next_entrants(race, count):
    """Return the candidates that go on, and where each begins.

    Of each kernel, metric and scaling the best ridge goes on, unless it loses clearly,
    and others that are as good but for the noise. They go on to one round more.
    """
    scored, weight = race.scored_trials(), race.validation_rows.weight
    import os

    if os.environ.get("DBG"):
        m = weight / weight.sum()
        b = scored[0]
        print("  stage rows", race.judging.n_rows, "unseen", len(weight))
        for t in race.trials:
            c = t.candidate
            print(
                "    ",
                repr(c.kernel)[:10],
                "diag" if c.diagonal else "full",
                c.scaling,
                c.alpha,
                "start",
                t.start.number,
                "scores",
                [round(x, 4) for x in t.scores],
                "z %.1f" % standard_errors(t, b, weight) if t.best else "",
                "rel %.3f" % ((m @ t.best.losses) / (m @ b.best.losses))
                if t.best
                else "",
            )
    firsts, others = [], []
    for trials in by_path(scored).values():
        leader = trials[0]
        errors = standard_errors(leader, scored[0], weight)
        relative = relative_loss(leader, scored[0], weight)
        if errors <= _KEPT_ERRORS or relative <= _KEPT_RELATIVE:
            firsts.append(leader)
            others += [
                trial
                for trial in trials[1:]
                if standard_errors(trial, leader, weight) <= _KEPT_RIDGE_ERRORS
            ]
    return [_entrant(trial) for trial in [*firsts, *others][:count]]


def _entrant(trial):
    found, most = trial.best, trial.candidate.max_iter
    last = min(most, found.candidate.max_iter + 1)
    return replace(trial.candidate, max_iter=last), found.before
