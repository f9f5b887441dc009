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
    may_take_fewer : bool, default=False
        Whether the fit to all rows may have fewer centres, where time is short.
    """

    def __init__(self, seconds, n_rows, *, may_take_fewer=False):
        self._seconds, self._may_take_fewer = seconds, may_take_fewer
        self._end = perf_counter() + seconds
        self._n_rows, self._last = n_rows, (n_rows, 0.0)
        self._rounds: dict[tuple, list[tuple[int, float]]] = {}
        self._centers_of_last: int | None = None

    def record(self, candidate, *, rows, seconds, n_parts):
        """Record the seconds of a round that was fitted to so many rows, in parts."""
        self._last = rows, seconds
        rounds = self._rounds.setdefault(candidate.path, [])
        rounds.append((rows, seconds / n_parts))

    def seconds_of_fit(self, candidate, start):
        """Return the forecast of the seconds of a fit to all rows from a Start.

        The candidate is one that rounds were recorded of. 0 after its first round.
        """
        return sum(self._seconds_of_rounds(candidate, start))

    def _seconds_of_rounds(self, candidate, start):
        """Return the forecasts for the last round on all rows, and for those before."""
        _, *rounds = self._rounds[candidate.path]
        if not rounds:  # the first one prepares the rows, too, and is no measure
            return 0.0, 0.0
        most = max(rows for rows, _ in rounds)
        measured = [seconds for rows, seconds in rounds if rows == most]
        mean = sum(measured) / len(measured)
        anew = learns_anew(candidate.n_centers, self._n_rows)
        n_early = candidate.max_iter - (0 if anew else start.number)
        last, early = (
            mean * (pairs / most**2) ** (_GROWTH / 2)
            for pairs in self._pairs(candidate.n_centers)
        )
        return last, n_early * early

    def _pairs(self, n_centers):
        """Return the pairs of rows and centres of a last round, and of one before it.

        There is a kernel value for each of them.
        """
        if n_centers is None:
            return float(self._n_rows) ** 2, float(self._n_rows) ** 2
        rows, centers, _ = size_of_round(self._n_rows, n_centers, early=True)
        return _LAST_WITH_CENTERS * self._n_rows * n_centers, float(rows) * centers

    def seconds_to_keep(self, candidate, start):
        """Return the seconds that the search has to leave for a fit to all rows.

        A fit that may take fewer centres gets half of all seconds at most.
        """
        seconds = self.seconds_of_fit(candidate, start)
        return min(seconds, self._seconds / 2) if self._shrinks(candidate) else seconds

    def _shrinks(self, candidate):
        """Return whether a candidate has centres, of which there may be fewer."""
        return self._may_take_fewer and candidate.n_centers is not None

    def with_time_for(self, candidate, start):
        """Return a candidate with as many of its centres as there is time for.

        A candidate that no rounds were recorded of keeps all of them.
        """
        self._centers_of_last = None
        if not self._shrinks(candidate) or candidate.path not in self._rounds:
            return candidate
        last, early = self._seconds_of_rounds(candidate, start)
        left = max(self._end - perf_counter(), 0.0)
        if last + early <= left:
            return candidate
        # rounds before the last have few centres, and are those that learn the metric
        share = max((left - early) / last, left / (last + early) / 2)
        return replace(candidate, n_centers=_fewer(candidate.n_centers, share))

    def seconds_after(self, fitted, seconds):
        """Return the forecast of the round on all rows after one that took so many.

        0 for a last round that will have as many centres as there is time for: no fewer
        than the rounds before it, whose machine is the better one then.
        """
        n_centers = fitted.candidate.n_centers
        if fitted.number + 1 < fitted.candidate.max_iter:
            return seconds
        last, early = self._pairs(n_centers)
        seconds *= last / early
        left = max(self._end - perf_counter(), 0.0)
        if not self._shrinks(fitted.candidate) or seconds <= left:
            return seconds
        fewer = _fewer(n_centers, left / seconds)
        if fewer < size_of_round(self._n_rows, n_centers, early=True)[1]:
            return seconds
        self._centers_of_last = fewer
        return 0.0

    def adapt(self, candidate, number):
        """Return a candidate with the centres of the round of a number."""
        if number < candidate.max_iter or self._centers_of_last is None:
            return candidate
        return replace(candidate, n_centers=self._centers_of_last)

    def allows(self, seconds, *, rows=None):
        """Return whether there is time for something that takes so many seconds.

        With a number of rows, there has to be time for one more round on them as well.
        """
        if rows is not None:
            of_last, seconds_of_last = self._last
            seconds += seconds_of_last * (rows / of_last) ** _GROWTH
        return perf_counter() + seconds <= self._end


def _fewer(n_centers, share):
    """Return a share of a number of centres, of which some are always left."""
    return min(n_centers, max(int(share * n_centers), _LEAST_CENTERS))
