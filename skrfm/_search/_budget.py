"""A limit of the seconds of a fit, with a forecast of what is still to be fitted."""

from dataclasses import replace
from time import perf_counter

from .._recursion import learns_anew, size_of_round

# Seconds of a round grow with the rows to about this power: its kernel matrix has n²
# entries, and few searches reach rows where the n³ of a factorisation count for more.
_GROWTH = 2.0
# A pair of a row and a centre takes so many times the seconds in a last round with
# fewer centres than rows, which needs more steps to a smaller residual and computes
# kernel values in each of them: .048 CPU seconds a million pairs of 120 000 rows and
# 5000 centres, in place of .021 to .025 in rounds of the search and in early rounds.
_LAST_WITH_CENTERS = 2.0
# The least number of centres that a Budget leaves.
_LEAST_CENTERS = 500


class Budget:
    """Seconds of a search and of the fit to all rows that follows it.

    The seconds of rounds in the search forecast those of the rounds on all rows.

    Parameters
    ----------
    seconds : float
        From now on.
    n_rows : int
        The number of all rows.
    n_centers : int or None, default=None
        The number of centres; None makes all rows centres.
    may_take_fewer : bool, default=False
        Whether the fit to all rows may have fewer centres, where time is short.
    """

    def __init__(self, seconds, n_rows, n_centers=None, *, may_take_fewer=False):
        self._may_take_fewer = may_take_fewer
        self._end = perf_counter() + seconds
        self._anew = learns_anew(n_centers, n_rows)
        # there is a kernel value for each pair of a row and a centre
        self._n_pairs, self._early_share = float(n_rows) ** 2, 1.0
        if n_centers is not None:
            rows, centers, _ = size_of_round(n_rows, n_centers, early=True)
            self._n_pairs = _LAST_WITH_CENTERS * n_rows * n_centers
            self._early_share = rows * centers / self._n_pairs
        self._last = (n_rows, 0.0)
        self._rounds: dict[tuple, list[tuple[int, float]]] = {}

    def record(self, candidate, *, rows, seconds, n_parts):
        """Record the seconds of a round that was fitted to so many rows, in parts."""
        self._last = rows, seconds
        rounds = self._rounds.setdefault(candidate.path, [])
        rounds.append((rows, seconds / n_parts))

    def seconds_of_fit(self, candidate, start):
        """Return the forecast of the seconds of a fit to all rows from a Start.

        The candidate is one that rounds were recorded of. 0 after its first round.
        """
        _, *rounds = self._rounds[candidate.path]
        if not rounds:  # the first one prepares the rows, too, and is no measure
            return 0.0
        most = max(rows for rows, _ in rounds)
        measured = [seconds for rows, seconds in rounds if rows == most]
        of_pairs = (self._n_pairs / most**2) ** (_GROWTH / 2)
        n_early = candidate.max_iter - (0 if self._anew else start.number)
        of_last = sum(measured) / len(measured) * of_pairs
        return of_last * (1 + self._early_share * n_early)

    def with_time_for(self, candidate, start):
        """Return a candidate with as many of its centres as there is time for.

        A candidate that no rounds were recorded of keeps all of them.
        """
        if not self._may_take_fewer or candidate.path not in self._rounds:
            return candidate
        seconds = self.seconds_of_fit(candidate, start)
        left = max(self._end - perf_counter(), 0.0)
        if candidate.n_centers is None or seconds <= left:
            return candidate
        fewer = max(int(candidate.n_centers * left / seconds), _LEAST_CENTERS)
        return replace(candidate, n_centers=min(candidate.n_centers, fewer))

    def seconds_after(self, fitted, seconds):
        """Return the forecast of the round on all rows after one that took so many."""
        is_last = fitted.number + 1 == fitted.candidate.max_iter
        return seconds / self._early_share if is_last else seconds

    def allows(self, seconds, *, rows=None):
        """Return whether there is time for something that takes so many seconds.

        With a number of rows, there has to be time for one more round on them as well.
        """
        if rows is not None:
            of_last, seconds_of_last = self._last
            seconds += seconds_of_last * (rows / of_last) ** _GROWTH
        return perf_counter() + seconds <= self._end
