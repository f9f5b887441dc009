"""What the search of an estimator and the fit after it take, stage by stage."""

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise

import numpy as np
from joblib import effective_n_jobs

from ..._recursion import learns_anew, most_gradient_rows, shares_distances
from ..._search import (
    CLIMBS,
    MOST_CENTERS,
    RESCALED,
    HoldOut,
    LastRound,
    data_of_search,
)
from ...rfm import RFMClassifierCV, RFMRegressorCV
from ._centers import CenterCosts
from ._rounds import RoundCosts, SolverCosts

# The numbers of rounds below are means over searches on real tables, whose totals
# differ from them by a quarter at most (benchmarks/cost.py). Rounds of the best
# candidate of a batch, which goes on while it improves, and of the others.
_ROUNDS_OF_BEST, _ROUNDS_OF_OTHERS = 3.5, 2.5
# Rounds of a candidate near the best, which begins beside its best round where metrics
# are kept, and otherwise with round 0.
_ROUNDS_OF_NEIGHBOUR = {True: 1.8, False: 3.0}
# The rounds of a final fit that does not go on from the metric of the search.
_ROUNDS_OF_FIT = 3.0
# Machines in an average that may have more: the best trials are often alike.
_MACHINES = 2
# Shares of the candidates of a random search that reach each round, and later ones.
_REACHED, _REACHED_LATER = (1.0, 1.0, 0.57, 0.32, 0.17, 0.08), 0.05
# The share of a stage that is left out where nothing is to decide, which a forecast
# cannot know: with it, protein and kin40k, where the stage is fitted and left out, have
# forecasts of .8 and 1.7 times the seconds of their fits.
_SHARE_OF_FINALISTS = 0.4
# How many times the average of machines is scored for each that it may have.
_SCORES_OF_AVERAGE = 10


def rounds_of_batch(count, max_iter, *, by_halving=False):
    """Return the expected number of rounds of candidates that are compared.

    Parameters
    ----------
    count : float
        The number of candidates.
    max_iter : int
    by_halving : bool, default=False
        Whether the worse half ends after each round, as in a random search.
    """
    if count <= 0:
        return 0.0
    most = max_iter + 1
    if by_halving:
        reached = _REACHED[:most]
        return count * (sum(reached) + _REACHED_LATER * (most - len(reached)))
    return min(most, _ROUNDS_OF_BEST) + (count - 1) * min(most, _ROUNDS_OF_OTHERS)


@dataclass
class Work:
    """Rounds on one or more parts of the rows, of the candidates of one stage.

    Attributes
    ----------
    rounds : float
        The expected number.
    parts : list of (int, int)
        The numbers of rows that are fitted to and predicted.
    shares : dict of str to float
        The share of the rounds of each kind of candidate; empty where that is open.
    gradients : float
        The share of the rounds with an AGOP.
    scored : float
        The share of the rounds that are scored.
    leave_one_out : bool
        Whether scores are those of leave-one-out residuals.
    final : bool
        Whether it is the fit to all rows, in the precision of the data.
    n_jobs : int
        The number of parts that are fitted at the same time.
    early : float
        The share of the rounds that only tell the metric of the next one, with fewer
        centres.
    all_centers : int
        Up to so many rows, all are centres.
    """

    rounds: float
    parts: list[tuple[int, int]]
    shares: dict = field(default_factory=dict)
    gradients: float = 1.0
    scored: float = 1.0
    leave_one_out: bool = False
    final: bool = False
    n_jobs: int = 1
    early: float = 0.0
    all_centers: int = 0


class SearchWork:
    """The Work of a search and of the fit to all rows.

    Parameters
    ----------
    estimator : BaseRFM
    candidates : Candidates or RandomCandidates
    stages : list of Stage
    n_rows : int
    """

    def __init__(self, estimator, candidates, stages, n_rows: int):
        self._by_halving = isinstance(estimator, RFMRegressorCV | RFMClassifierCV)
        self._n_machines, self._n_rows = estimator.n_machines, n_rows
        self._candidates, self._stages = candidates, stages
        first = candidates.first
        rescaled = {c.path: c for one in first for c in candidates.rescaled(one)}
        self.paths = {candidate.path: candidate for candidate in first} | rescaled
        self._max_iter, self._n_paths = first[0].max_iter, len(self.paths)

    def all(self):
        """Return the Work, in order."""
        if not self._stages:
            return [self._fit(self._max_iter + 1.0)]
        found = [self._first(self._stages[0])]
        found += [self._later(s, t) for s, t in pairwise(self._stages)]
        last = self._stages[-1]
        if isinstance(last.judging, HoldOut):
            anew = learns_anew(self._candidates.first[0].n_centers, self._n_rows)
            goes_on = last.warm and not anew
            rounds = 1.0 if goes_on else min(_ROUNDS_OF_FIT, self._max_iter + 1)
            count = min(self._n_machines, _MACHINES, self._most_machines())
            found.append(self._fit(rounds * count, rounds))
        return found

    def _most_machines(self):
        """Return how many trials an average can have."""
        return self._candidates.count if self._by_halving else self._n_paths

    def _fit(self, rounds, rounds_of_one=None):
        """Return the Work of the final fits, whose last rounds have no AGOP."""
        early = gradients = 1 - 1 / (rounds_of_one or rounds)
        if self._max_iter == 0:
            early, gradients = 0.0, 1.0
        parts = [(self._n_rows, 0)]
        return Work(
            rounds, parts, gradients=gradients, scored=0.0, final=True, early=early
        )

    def _first(self, stage):
        """Return the Work of the first stage, which has all candidates."""
        candidates, max_iter = self._candidates, self._max_iter
        counts = Counter(candidate.path for candidate in candidates.first)
        if len(self._stages) == 1:
            counts.update(chain.from_iterable(self._rescaled_paths()[:RESCALED]))
        total = sum(counts.values())
        shares = {path: count / total for path, count in counts.items()}
        near = candidates.most_neighbours * CLIMBS if stage.climbs else 0
        if getattr(stage.judging, "last_only", isinstance(stage.judging, LastRound)):
            rounds = (total + near) * (max_iter + 1.0)
            return self._on_all_rows(stage, rounds, shares)
        count = candidates.count if self._by_halving else total
        rounds = rounds_of_batch(count, max_iter, by_halving=self._by_halving)
        rounds += near * min(max_iter + 1, _ROUNDS_OF_NEIGHBOUR[stage.warm])
        if not isinstance(stage.judging, HoldOut):
            return self._on_all_rows(stage, rounds, shares)
        return self._work(stage, rounds, shares)

    def _rescaled_paths(self):
        """Return the paths of the other scalings, for each path."""
        found = {c.path: self._candidates.rescaled(c) for c in self._candidates.first}
        return [[other.path for other in others] for others in found.values()]

    def _on_all_rows(self, stage, rounds, shares):
        """Return the Work of rounds whose machine may be the final one."""
        judging, every = stage.judging, 1 / (self._max_iter + 1)
        parts = [(self._n_rows, 0)]
        scored = 1.0
        if isinstance(judging, LastRound):
            train, test = judging.fold
            parts.append((len(train), len(test)))
            scored = every
        elif judging.last_only:
            scored = every
        is_loo = not isinstance(judging, LastRound)
        return Work(
            rounds,
            parts,
            shares=shares,
            gradients=1 - every if scored < 1 else 1.0,
            scored=scored,
            leave_one_out=is_loo,
            early=1 - every if scored < 1 else 0.0,
        )

    def _later(self, before, stage):
        """Return the Work of a stage whose candidates come from the one before."""
        near = self._candidates.most_neighbours * CLIMBS
        count = min(before.n_kept, self._candidates.count + near)
        if before is self._stages[0]:
            count += sum(map(len, self._rescaled_paths()[:RESCALED]))
        rounds = rounds_of_batch(count, self._max_iter)
        if stage.between_paths:
            rounds *= _SHARE_OF_FINALISTS
        if stage.climbs:
            of_one = _ROUNDS_OF_NEIGHBOUR[stage.warm]
            rounds += near * min(self._max_iter + 1, of_one)
        return self._work(stage, rounds, {})

    @staticmethod
    def _work(stage, rounds, shares):
        """Return the Work of a stage that holds rows out."""
        judging = stage.judging
        parts = [(len(train), len(test)) for train, test in judging.folds]
        n_jobs = effective_n_jobs(judging.n_jobs or 1)
        return Work(
            rounds, parts, shares=shares, n_jobs=n_jobs, all_centers=MOST_CENTERS
        )


class SearchCosts:
    """Seconds of Work, from measurements of the rounds of each kind of candidate.

    Parameters
    ----------
    training : TrainingSet
    paths : dict of path to Candidate
        A candidate of each kernel, metric and scaling.
    criterion : Criterion
    stages : list of Stage
    """

    def __init__(self, training, paths, criterion, stages):
        self._backend, self.paths = training.placement.backend, paths
        self._criterion = criterion
        self._data = {True: training.data, False: training.data}
        if stages:
            candidates = list(paths.values())
            self._data[False] = data_of_search(
                training.data, candidates, stages, self._backend
            )
        self._rounds, self._solvers, self._centers = {}, {}, {}

    def itemsize(self, final):
        """Return the bytes of a number, in the final fit or in the search."""
        return self._backend.xp.finfo(self._data[final].X.dtype).bits // 8

    @property
    def columns(self):
        """The number of encoded columns."""
        return self._data[True].X.shape[1]

    @property
    def n_outputs(self):
        """The number of outputs."""
        return self._data[True].Y.shape[1]

    def shares_distances(self, n, itemsize):
        """Return whether candidates share the distances of n rows."""
        kernels = (candidate.kernel for candidate in self.paths.values())
        return any(shares_distances(kernel, n, itemsize) for kernel in kernels)

    def gradient_numbers(self, n):
        """Return the size of the gradients that are averaged on n rows at most."""
        candidate, d, c = next(iter(self.paths.values())), self.columns, self.n_outputs
        most = most_gradient_rows(candidate.max_agop_samples, n, d, c)
        return min(n, most) * d * c

    def rounds(self, path, final):
        """Return the RoundCosts of a kind of candidate."""
        key = path, self.itemsize(final)
        if key not in self._rounds:
            candidate = self.paths[path]
            self._rounds[key] = RoundCosts(
                self._data[final], candidate, self._backend, self._criterion
            )
        return self._rounds[key]

    def solver(self, final):
        """Return the SolverCosts, measured with a kernel that is cheap to compute."""
        key = self.itemsize(final)
        if key not in self._solvers:
            candidates = list(self.paths.values())
            cheap = min(candidates, key=lambda c: c.kernel.coordinatewise)
            self._solvers[key] = SolverCosts(self._data[final], cheap, self._backend)
        return self._solvers[key]

    def uses_centers(self, work):
        """Return whether the centres of the rounds of a Work are fewer than rows."""
        n = max(n for n, _ in work.parts)
        candidate = next(iter(self.paths.values()))
        return n > work.all_centers and candidate.has_centers(n)

    def set_centers(self, n_centers):
        """Let all candidates have so many centres."""
        self._centers = {}
        self.paths = {
            path: replace(candidate, n_centers=n_centers)
            for path, candidate in self.paths.items()
        }

    def centers(self, path=None):
        """Return the CenterCosts of a kind of candidate, by default of the first."""
        path = next(iter(self.paths)) if path is None else path
        if path not in self._centers:
            self._centers[path] = CenterCosts(
                self._data[True], self.paths[path], self._backend
            )
        return self._centers[path]

    def seconds(self, work):
        """Return the seconds of a Work, on the clock and of the processors."""
        even = dict.fromkeys(self.paths, 1 / len(self.paths))
        shares = work.shares or even
        of_parts = np.zeros(2)
        for part in work.parts:
            of_parts = of_parts + self._of_part(work, part, shares)
        n_parallel = min(work.n_jobs, len(work.parts))
        of_parts = of_parts / np.array([n_parallel, 1])
        n_scored = self._n_scored(work)
        of_score = sum(
            share * self.rounds(path, work.final).score(n_scored)
            for path, share in shares.items()
        )
        return of_parts + work.rounds * work.scored * of_score

    @staticmethod
    def _n_scored(work):
        """Return the number of rows that are scored."""
        if work.leave_one_out:
            return work.parts[0][0]
        return sum(m for _, m in work.parts)

    def _of_part(self, work, part, shares):
        """Return the seconds of all rounds of a Work on one part of the rows."""
        (n, m), solver = part, self.solver(work.final)
        plain, scored = work.rounds * (1 - work.scored), work.rounds * work.scored
        total = np.zeros(2)
        if part is not work.parts[0] and work.scored < 1:
            plain = 0.0  # fitted in the last round only
        has_centers = self.uses_centers(work)
        for rounds, loo in ((plain, False), (scored, work.leave_one_out)):
            if rounds and not has_centers:
                total = total + rounds * solver.seconds(n, leave_one_out=loo)
        rounds = plain + scored
        for path, share in shares.items():
            costs = self.rounds(path, work.final)
            if has_centers:
                each = self._of_round_with_centers(work, part, path)
            else:
                with_agop = work.gradients * costs.fit(n, with_agop=True)
                without = (1 - work.gradients) * costs.fit(n, with_agop=False)
                each = with_agop + without + costs.predict(n, m)
            held = min(n + m, self._data[work.final].X.shape[0])
            total = total + share * (rounds * each + costs.preparation(held))
        return total

    def _of_round_with_centers(self, work, part, path):
        """Return the seconds of a mean round of a machine of few centres."""
        (n, m), costs = part, self.centers(path)
        early, late = work.early, 1 - work.early
        with_agop = max(work.gradients - early, 0.0)
        predicted = self.rounds(path, work.final).predict(self.paths[path].n_centers, m)
        return (
            early * costs.round(n, early=True, with_agop=True)
            + with_agop * costs.round(n, early=False, with_agop=True)
            + (late - with_agop) * costs.round(n, early=False, with_agop=False)
            + predicted
        )

    def seconds_of_average(self, n_scored):
        """Return the seconds of choosing the average of machines."""
        path = next(iter(self.paths))
        count = _SCORES_OF_AVERAGE * min(len(self.paths), _MACHINES)
        return count * self.rounds(path, False).score(n_scored)
