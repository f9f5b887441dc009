"""The choice of round, ridge and kernel on rows that a fit has not seen.

All recipes are fitted side by side, round by round, on one or more parts of the
data, and their outputs on unseen rows are scored together. To go on with what has
no chance is spared: of the ridges of a kernel the two best at round 0 go on, and a
recipe ends after two rounds without a better score.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np

from ._judging import Judges
from .agop import FeatureMetric

_RIDGES_AFTER_ROUND_0 = 2
_PATIENCE = 2
# so many of the best recipes stay in the pool, with their outputs
_POOL = 12
# of many candidates the search halves them down to so many
_LEAST_RIVALS = 4


@dataclass(frozen=True)
class Candidates:
    """What there is to choose from.

    The `first` recipes, the number of all that there may be, and `more`: a function of
    the recipes so far, the best first, that returns others to go on with, if any.
    """

    first: list
    count: int
    more: Callable = lambda recipes: []


@dataclass(frozen=True)
class Contender:
    """A recipe at its best round, which is its `max_iter`: score and outputs."""

    score: float
    recipe: object
    outputs: np.ndarray


@dataclass
class Choice:
    """The chosen recipe (its `max_iter` is the chosen round) and why.

    `model` is the fitted Round where it was fitted on all rows, else None. `candidates`
    has the number of the recipe, among all `recipes`, of each row of the history. The
    `pool` has the best of the recipes, the chosen one first.
    """

    recipe: object
    outputs: np.ndarray
    judges: Judges
    model: object = None
    history: dict = field(default_factory=dict)
    candidates: np.ndarray | None = None
    recipes: list = field(default_factory=list)
    pool: list = field(default_factory=list)

    def outputs_of_rows(self, n):
        """Return the outputs (n, c) of all rows: NaN of those that did not judge.

        None where rows that were not fitted to have judged.
        """
        if self.judges.rows is None:
            return None
        total, count = np.zeros((n, self.outputs.shape[1])), np.zeros(n)
        np.add.at(total, self.judges.rows, self.outputs)
        np.add.at(count, self.judges.rows, 1)
        count[count == 0] = np.nan
        return total / count[:, None]


class _Path:
    """One recipe on its way through the rounds."""

    def __init__(self, recipe, n_parts, task):
        self.recipe, self.task = recipe, task
        self.metrics = [FeatureMetric()] * n_parts
        self.scores = []
        self.best = None
        self.alive = True

    def step(self, number, judging, backend):
        """Fit the next round; return its outputs and model."""
        with self.task.round() as task:
            outputs, self.metrics, model = judging.step(
                self.recipe, number, self.metrics, backend
            )
            task.result = model
        ended = number == self.recipe.max_iter or None in self.metrics
        self.alive = not (ended or task.stop)
        return outputs, model

    def score_now(self, number, model, judging, backend):
        """Fit a round again that turned out to be the last; return what is scored."""
        recipe = replace(self.recipe, max_iter=number)
        outputs, _, model = judging.step(recipe, number, [model.metric], backend)
        return outputs, model

    def record(self, score, number, outputs):
        """Note a score; give up after rounds without a better one."""
        self.scores.append(score)
        if self.best is None or score > self.best.score:
            recipe = replace(self.recipe, max_iter=number)
            self.best = Contender(score, recipe, outputs)
        since_best = len(self.scores) - 1 - int(np.argmax(self.scores))
        self.alive = self.alive and since_best < _PATIENCE


class _Race:
    """Recipes fitted side by side in one or more heats, and the best so far."""

    def __init__(self, data, fit_intercept, judging, criterion, backend, progress):
        self.judging, self.criterion = judging, criterion
        self.backend, self.progress = backend, progress
        self.judges, self.n_parts = judging.start(data, fit_intercept, backend)
        self.paths, self.best, self.best_score, self.history = [], None, -np.inf, []

    def heat(self, recipes, prune, deadline):
        """Fit more recipes round by round."""
        first, n_rounds = len(self.paths), recipes[0].max_iter + 1
        for recipe in recipes:
            task = self.progress.open("candidate", n_rounds)
            self.paths.append(_Path(recipe, self.n_parts, task))
        rivals = self.paths[first:]
        for number in range(n_rounds):
            for candidate, path in enumerate(rivals, first):
                if path.alive and not self.is_over(deadline):
                    self._step(candidate, path, number)
            prune(rivals, number)
        for path in rivals:
            path.task.close()
        for path in self._best_first()[_POOL:]:
            path.best = None  # its outputs are not wanted any more

    def _best_first(self):
        return sorted((path for path in self.paths if path.best), key=_best_first)

    def is_over(self, deadline):
        """Return whether the time is, and there is a score."""
        late = deadline is not None and perf_counter() > deadline
        return late and self.best is not None

    def _step(self, candidate, path, number):
        outputs, model = path.step(number, self.judging, self.backend)
        if outputs is None and not path.alive:
            outputs, model = path.score_now(number, model, self.judging, self.backend)
        if outputs is None:
            return
        judges = self.judges
        score = self.criterion.score(outputs, judges.targets, judges.weight)
        path.record(score, number, outputs)
        self.history.append((candidate, _row(path.recipe, number, score)))
        if self.best is None or score > self.best_score:
            self.best_score = score
            chosen = replace(path.recipe, max_iter=number)
            self.best = Choice(chosen, outputs, judges, model)

    def leaders(self):
        """Return all recipes that have a score, the best first."""
        scored = [path for path in self.paths if path.scores]
        return [path.recipe for path in sorted(scored, key=_best_score_first)]

    def end(self):
        """Return the Choice."""
        candidates, rows = zip(*self.history, strict=True)
        self.best.recipes = [path.recipe for path in self.paths]
        self.best.history, self.best.candidates = _table(rows), np.array(candidates)
        self.best.pool = [path.best for path in self._best_first()[:_POOL]]
        return self.best


def choose(
    data, candidates, judging, criterion, backend, progress, prune, deadline=None
):
    """Return the Choice with the best score over recipes and rounds.

    Of equal scores the earlier round, and then the earlier recipe, wins. All recipes
    have the same intercept and the same number of rounds.

    Parameters
    ----------
    data : Data
    candidates : Candidates or RandomCandidates
    judging : HoldOut, LeaveOneOut or ValidationSet
    criterion : object
        Its ``score(outputs, targets, weight)`` is to be large.
    backend : backend
    progress : Progress
    prune : callable
        Of (paths, number of the round): ends paths that have no chance.
    deadline : float, default=None
        When to stop, by ``time.perf_counter``, once there is a score.
    """
    recipes = candidates.first
    intercept = recipes[0].fit_intercept
    race = _Race(data, intercept, judging, criterion, backend, progress)
    while recipes and not race.is_over(deadline):
        race.heat(recipes, prune, deadline)
        recipes = candidates.more(race.leaders())
    return race.end()


def drop_ridges(paths, number):
    """End all but the best ridges and scalings of each kernel after round 0."""
    if number > 0:
        return
    by_kernel = {}
    for path in paths:
        if path.scores:
            by_kernel.setdefault(id(path.recipe.kernel), []).append(path)
    for rivals in by_kernel.values():
        _keep(rivals, _RIDGES_AFTER_ROUND_0)


def halve(paths, number):
    """End the worse half of the paths that are still alive, down to a few.

    What a kernel does before any metric is learned says little, so all have a round.
    """
    if number == 0:
        return
    alive = [path for path in paths if path.alive and path.scores]
    _keep(alive, max(_LEAST_RIVALS, (len(alive) + 1) // 2))


def _keep(rivals, count):
    """End all but so many of the rivals with the best scores."""
    for path in sorted(rivals, key=_best_score_first)[count:]:
        path.alive = False


def _best_score_first(path):
    return -max(path.scores)


def _best_first(path):
    """Sort by the score, then by the round that has it."""
    return -path.best.score, path.best.recipe.max_iter


def history_of(recipe, last):
    """Return the history of a recursion that nothing judged: scores are NaN."""
    return _table([_row(recipe, number, np.nan) for number in range(last + 1)])


def _row(recipe, number, score):
    return repr(recipe.kernel), recipe.scaling, recipe.alpha, number, score


def _table(rows):
    names = ("kernel", "scaling", "alpha", "iter", "score")
    columns = zip(*rows, strict=True)
    return {name: np.array(c) for name, c in zip(names, columns, strict=True)}
