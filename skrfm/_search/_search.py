"""The search for the best candidate: one race, or races in stages."""

from dataclasses import replace

from .._recursion import Start
from ._folds import Stages
from ._judging import HoldOut
from ._race import Race, by_path, history_table, relative_loss, standard_errors

# A smaller ridge needs float64.
_LEAST_RIDGE = 1e-4
# The best trial of another kernel, metric or scaling goes on if it loses by at most so
# many standard errors, or so many times the loss: more rows may turn the order round.
_KEPT_ERRORS, _KEPT_LOSS = 3.0, 1.2
# standard errors by which the loss of another ridge may be larger
_KEPT_RIDGE_ERRORS = 1.0
# how many of the trials that go on are tried with the other scalings, too
_RESCALED = 2
# how many times candidates near the best are added
_STEPS = 2


def most_runs(judging, candidates):
    """Return how many runs of the recursion a search has at most."""
    if not isinstance(judging, Stages):
        return candidates.count
    near = _STEPS * candidates.most_neighbours
    rescaled = _RESCALED * len(_scalings(candidates))
    count = candidates.count
    for stage in judging.stages:
        count += near * stage.climbs + stage.n_kept + rescaled
    return count


def _in_single_precision(data, candidates, backend):
    """Return data in float32, where the numbers are scaled and no ridge is tiny."""
    exact = any(c.scaling is None or c.ridge < _LEAST_RIDGE for c in candidates)
    return data if exact else data.astype(backend.xp.float32, backend)


def _scalings(candidates):
    """Return the scalings of candidates, the simplest first."""
    return list(dict.fromkeys(candidate.scaling for candidate in candidates.first))


class Search:
    """The search for the best candidate and round: one race, or one for each stage.

    Of equal scores the earlier round, and then the earlier candidate, wins. All
    candidates have the same intercept and the same number of rounds.

    Parameters
    ----------
    candidates : Candidates or RandomCandidates
    judging : Judging or Stages
    rules : SearchRules
    backend : Backend
    progress : Progress
    """

    def __init__(self, candidates, judging, rules, *, backend, progress):
        self._candidates, self._judging, self._rules = candidates, judging, rules
        self._backend, self._progress = backend, progress

    def run(self, data):
        """Return the Choice of the last stage, with the history of all."""
        if not isinstance(self._judging, Stages):
            return self._run_batches(data)
        stages = self._judging.stages
        if len(stages) > 1:
            data = _in_single_precision(data, self._candidates.first, self._backend)
        entrants, history = self._first_entrants(len(stages) > 1), []
        for number, stage in enumerate(stages):
            race = self._run_stage(data, stage, entrants)
            history += [entry for _, entry in race.history]
            if race.is_over() or number == len(stages) - 1:
                break
            entrants = _next_entrants(race, stage.n_kept)
            if number == 0:
                entrants += self._rescaled(entrants)
        return replace(race.choice(), history=history_table(history))

    def _run_batches(self, data):
        """Return the Choice of one race, in which all candidates are compared."""
        race = self._race(data, self._judging)
        batch = self._candidates.first
        while batch and not race.is_over():
            race.run_batch([(candidate, Start()) for candidate in batch])
            batch = self._candidates.next_batch(race.ranked_candidates())
        return race.choice()

    def _race(self, data, judging, *, warm=False):
        """Return a Race whose rows are prepared."""
        race = Race(
            judging,
            self._rules,
            backend=self._backend,
            progress=self._progress,
            warm=warm,
        )
        race.prepare(data, self._candidates.first[0].fit_intercept)
        return race

    def _first_entrants(self, several):
        """Return all candidates; of several stages, those of the simplest scaling."""
        candidates = self._candidates.first
        if several:
            simplest = candidates[0].scaling
            candidates = [c for c in candidates if c.scaling == simplest]
        return [(candidate, Start()) for candidate in candidates]

    def _run_stage(self, data, stage, entrants):
        """Return the Race of a stage, with candidates near the best where it climbs."""
        judging = HoldOut(stage.folds, self._judging.n_jobs)
        race = self._race(data, judging, warm=stage.warm)
        race.run_batch(entrants)
        for _ in range(_STEPS if stage.climbs else 0):
            best, entrants = race.best_trial, self._near(race)
            if not entrants or race.is_over():
                break
            race.run_batch(entrants)
            if race.best_trial is best:
                break
        return race

    def _near(self, race):
        """Return candidates near the best, and where they begin."""
        best = race.best_trial
        tried = {_parameters(trial.candidate) for trial in race.trials}
        return [
            (_one_round_more(candidate, best.best), best.best.before)
            for candidate in self._candidates.neighbours(best.candidate)
            if _parameters(candidate) not in tried
        ]

    def _rescaled(self, entrants):
        """Return the first entrants with the other scalings."""
        return [
            (replace(candidate, scaling=scaling), Start())
            for candidate, _ in entrants[:_RESCALED]
            for scaling in _scalings(self._candidates)[1:]
        ]


def _next_entrants(race, count):
    """Return the candidates that go on, and where each begins.

    Of each kernel, metric and scaling the best ridge goes on, unless it loses clearly;
    then other ridges that are as good but for the noise.
    """
    scored, weight = race.scored_trials(), race.validation_rows.weight
    firsts, others = [], []
    for trials in by_path(scored).values():
        errors = standard_errors(trials[0], scored[0], weight)
        relative = relative_loss(trials[0], scored[0], weight)
        if errors <= _KEPT_ERRORS or relative <= _KEPT_LOSS:
            firsts.append(trials[0])
            others += [
                trial
                for trial in trials[1:]
                if standard_errors(trial, trials[0], weight) <= _KEPT_RIDGE_ERRORS
            ]
    return [
        (_one_round_more(trial.candidate, trial.best), trial.best.before)
        for trial in [*firsts, *others][:count]
    ]


def _parameters(candidate):
    """Return what distinguishes the candidates of a search."""
    kernel = repr(candidate.kernel)
    return kernel, candidate.diagonal, candidate.scaling, candidate.alpha


def _one_round_more(candidate, result):
    """Return a candidate that ends a round after the best one of a TrialResult."""
    last = min(candidate.max_iter, result.candidate.max_iter + 1)
    return replace(candidate, max_iter=last)
