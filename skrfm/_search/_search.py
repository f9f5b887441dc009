"""The search for the best candidate: a race, or races in stages.

A search in stages is successive halving over rows: few rows for many candidates, many
rows for few. Each stage is a race of the candidates that the stage before has left; on
few rows there is one.
"""

from dataclasses import replace

import numpy as np

from .._recursion import Start
from .._sklearn import warn_of_edge
from ._judging import HoldOut
from ._race import (
    RESCALED,
    RIDGE_ERRORS,
    Race,
    by_path,
    history_table,
    relative_loss,
    standard_errors,
)

# Numbers in a table that is small: in double precision, too, a fit takes a second, and
# weights of two are repeated rows but for less rounding.
_SMALL_SIZE = 200_000
# A smaller ridge needs float64.
_LEAST_RIDGE = 1e-4
# The best trial of another kernel, metric or scaling goes on if it loses by at most so
# many standard errors, or so many times the loss: more rows may turn the order round.
_KEPT_ERRORS, _KEPT_LOSS = 3.0, 1.2
# standard errors by which the loss of another ridge may be larger
_KEPT_RIDGE_ERRORS = 1.0
# A rival's loss is at most so many times that of the chosen candidate.
_RIVAL_LOSS = 1.08
# how many times candidates near the best are added
CLIMBS = 2


def most_runs(stages, candidates):
    """Return how many runs of the recursion a search has at most."""
    if not stages:
        return 0
    near = CLIMBS * candidates.most_neighbours
    count = candidates.count
    for stage in stages:
        count += (near + 2 * stage.n_kept) * stage.climbs + stage.n_kept
    return count


def _is_large(data, stage):
    """Whether one stage is a search on a large table, and not also the final fit."""
    n, d = data.X.shape
    return isinstance(stage.judging, HoldOut) and n * d > _SMALL_SIZE


def data_of_search(data, candidates, stages, backend):
    """Return the data as a search in stages computes with it.

    In float32 on a large table or in several stages, where the numbers are scaled and
    no ridge is tiny.

    Parameters
    ----------
    data : Data
    candidates : list of Candidate
    stages : list of Stage
    backend : Backend
    """
    first, *others = stages
    if not (others or _is_large(data, first)):
        return data
    exact = any(c.scaling is None or c.ridge < _LEAST_RIDGE for c in candidates)
    return data if exact else data.astype(backend.xp.float32, backend)


class Search:
    """The search for the best candidate and round, in stages.

    Of equal scores the earlier round, and then the earlier candidate, wins. All
    candidates have the same intercept and the same number of rounds.

    Parameters
    ----------
    candidates : Candidates or RandomCandidates
    stages : list of Stage
    rules : SearchRules
    backend : Backend
    progress : Progress
    """

    def __init__(self, candidates, stages, rules, *, backend, progress):
        self._candidates, self._stages, self._rules = candidates, stages, rules
        self._backend, self._progress = backend, progress

    def run(self, data):
        """Return the Choice of the last stage, with the history of all."""
        first, *others = self._stages
        data = data_of_search(data, self._candidates.first, self._stages, self._backend)
        race = self._race(data, first)
        race.run_batch([(candidate, Start()) for candidate in self._candidates.first])
        if not others:
            bests = _bests_of_paths(race)
            race.run_batch(self._rescaled(bests) + self._with_statistics(bests))
        self._run_next_batches(race)
        if first.climbs:
            self._climb(race)
        if others:
            race.run_batch(self._with_statistics(_bests_of_paths(race)))
        entrants = self._entrants(race, first) if others else []
        entrants += self._rescaled(entrants)
        history, races = race.history, [_bests_of_machines(race)]
        for stage in others:
            decided = stage.between_paths and _have_one_path(entrants)
            if decided or not race.allows(stage.judging.n_rows):
                break
            race = self._race(data, stage)
            race.run_batch(entrants)
            if stage.climbs:
                self._climb(race)
            entrants = self._entrants(race, stage)
            history = history + race.history
            races.append(_bests_of_machines(race))
        table = history_table([entry for _, entry in history])
        return replace(race.choice(), history=table, rivals=_rivals(races))

    def _race(self, data, stage):
        """Return the Race of a stage, whose rows are prepared."""
        race = Race(
            stage.judging,
            self._rules,
            backend=self._backend,
            progress=self._progress,
            warm=stage.warm,
        )
        race.prepare(data, self._candidates.first[0].fit_intercept)
        return race

    def _run_next_batches(self, race):
        """Run what the candidates add to a race, batch after batch."""
        while not race.is_over():
            batch = self._candidates.next_batch(race.ranked_candidates())
            if not batch:
                return
            race.run_batch([(candidate, Start()) for candidate in batch])

    def _entrants(self, race, stage):
        """Return the candidates that go on from a stage, and where each begins."""
        entrants = _next_entrants(race, stage)
        if stage.climbs:
            race.run_batch(self._like_best(race, entrants))
            entrants = _next_entrants(race, stage)
        if not stage.lifts_limit or _have_one_path(entrants):
            return entrants
        last = self._candidates.first[0].max_iter
        return [(replace(found, max_iter=last), start) for found, start in entrants]

    def _like_best(self, race, entrants):
        """Return entrants of other paths, with the ridge or the exponent of the best.

        Ridges and exponents near the best were tried on its own path only. On protein a
        full metric with the ridge of the first stage lost to a diagonal one with a
        ridge near the best, and wins with the same (R² on 6250 rows .645, .654 and
        .670). On California's houses the L1 distance with the exponent 1 lost to the
        Euclidean one with 0.7, and is the best with that (log-loss on 10 000 rows .230
        and .222).
        """
        best, *others = by_path(race.scored_trials()).values()
        going_on = [candidate for candidate, _ in entrants]
        tried = {_parameters(trial.candidate) for trial in race.trials}
        found = []
        for trial, *_ in others:
            if trial.candidate not in going_on:
                continue
            for candidate in self._candidates.like(trial.candidate, best[0].candidate):
                if _parameters(candidate) not in tried:
                    found.append(_entrant(candidate, trial.best, trial.best.before))
        return found

    def _climb(self, race):
        """Add candidates near the best to a race, while they are better."""
        for _ in range(CLIMBS):
            best, entrants = race.best_trial, self._near(race)
            if not entrants or race.is_over():
                return
            race.run_batch(entrants)
            if race.best_trial is best:
                return

    def _near(self, race):
        """Return candidates near the best, and where they begin."""
        best = race.best_trial
        tried = {_parameters(trial.candidate) for trial in race.trials}
        return [
            _entrant(candidate, best.best, best.best.before)
            for candidate in self._candidates.neighbours(best.candidate)
            if _parameters(candidate) not in tried
        ]

    def _rescaled(self, entrants):
        """Return the first entrants with the other scalings.

        Those that are better for their statistics keep the scaling: others cost 1.1
        times the CPU seconds (adult 1.27), and the accuracy on the choosing half of the
        tables was the same.
        """
        statistics = self._candidates.first[0].level_statistics
        return [
            (other, Start())
            for candidate, _ in entrants[:RESCALED]
            if candidate.level_statistics == statistics
            for other in self._candidates.rescaled(candidate)
        ]

    def _with_statistics(self, entrants):
        """Return the first entrants with the kinds of level statistics.

        In stages they are tried on the first, of the fewest rows: on the next one, with
        two folds or more rows, they cost 1.16 times the CPU seconds of a fit, and the
        scores on the choosing half of the tables were no better.
        """
        return [
            (other, Start())
            for candidate, _ in entrants[:RESCALED]
            for other in self._candidates.with_statistics(candidate)
        ]


def _bests_of_paths(race):
    """Return the best candidate of each kernel, metric and scaling."""
    paths = by_path(race.scored_trials()).values()
    return [(trials[0].candidate, Start()) for trials in paths]


def _machine(candidate):
    """Return the name of the kernel of a candidate, and the kind of its metric."""
    return candidate.kernel_name, candidate.diagonal


def _bests_of_machines(race):
    """Return the best trial of each kernel and kind of metric, and the weights."""
    bests = {}
    for trial in race.scored_trials():
        bests.setdefault(_machine(trial.candidate), trial)
    return bests, race.validation_rows.weight


def _rivals(races):
    """Return candidates of other kernels or kinds of metric that lose by little.

    By the last of the races, the bests of which are given, that each was in.
    """
    best_of_last, *_ = races[-1][0].values()
    chosen, losses = _machine(best_of_last.candidate), {}
    for bests, weight in reversed(races):
        best = bests.get(chosen)
        if best is None or best.best.losses is None:
            continue
        for machine, trial in bests.items():
            if machine != chosen and machine not in losses:
                loss = relative_loss(trial, best, weight)
                losses[machine] = loss, trial.best.candidate
    near = [found for found in losses.values() if found[0] <= _RIVAL_LOSS]
    return [candidate for _, candidate in sorted(near, key=lambda found: found[0])]


def _next_entrants(race, stage):
    """Return the candidates that go on from a stage, and where each begins.

    Of each kernel, metric and scaling the best ridge goes on, with level statistics or
    without, unless it loses clearly; then other ridges that are as good but for the
    noise. With both, one that is better for its statistics takes the place of another
    kernel, which an average of models gains more from.
    """
    scored, weight = race.scored_trials(), race.validation_rows.weight
    firsts, others, seen = [], [], set()
    for trials in by_path(scored).values():
        plain = replace(trials[0].candidate, level_statistics=None)
        if plain.path in seen:
            continue
        seen.add(plain.path)
        losses = trials[0].best.losses
        errors = standard_errors(losses, scored[0].best.losses, weight)
        relative = relative_loss(trials[0], scored[0], weight)
        if errors <= _KEPT_ERRORS or relative <= _KEPT_LOSS:
            firsts.append(trials[0])
            others += [
                trial
                for trial in trials[1:]
                if standard_errors(trial.best.losses, losses, weight)
                <= _KEPT_RIDGE_ERRORS
            ]
    return [
        (trial.candidate, Start() if stage.anew else trial.best.before)
        for trial in [*firsts, *others][: stage.n_kept]
    ]


def _have_one_path(entrants):
    """Return whether nothing is left to decide but the ridge or the exponent."""
    return len({candidate.path for candidate, _ in entrants}) == 1


def _parameters(candidate):
    """Return what distinguishes the candidates of a search."""
    return (
        candidate.kernel_name,
        candidate.diagonal,
        candidate.scaling,
        candidate.level_statistics,
        candidate.alpha,
    )


def _entrant(candidate, result, start):
    """Return a candidate near a TrialResult and where it begins.

    From round 0 it goes to the round after the best one; from a later round it may go
    on for as long as it improves.
    """
    if start.number == 0:
        last = min(candidate.max_iter, result.candidate.max_iter + 1)
        candidate = replace(candidate, max_iter=last)
    return candidate, start


def warn_of_ridge(choice, alphas):
    """Warn where the best of the ridges that a user gave is at an edge, and clearly.

    Parameters
    ----------
    choice : Choice
    alphas : list of float
        The ridges, in increasing order.
    """
    best, weight = choice.best_trials[0], choice.validation_rows.weight
    unit = best.candidate.weight_unit
    losses = np.full(len(alphas), np.inf)
    for trial in choice.best_trials:
        for index, alpha in enumerate(alphas):
            same = replace(best.candidate, alpha=alpha)
            if _parameters(trial.candidate) == _parameters(same):
                errors = standard_errors(trial.losses, best.losses, weight)
                near = trial is not best and errors <= RIDGE_ERRORS
                losses[index] = weight @ (best if near else trial).losses
    if best.candidate.alpha in alphas:
        advice = "Extend alphas, or pass alphas='auto'."
        warn_of_edge([alpha / unit for alpha in alphas], losses, advice)
