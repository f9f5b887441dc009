"""A limit of the seconds of a fit, with a forecast of what is still to be fitted."""

from time import perf_counter

# Seconds of a round grow with the rows to about this power: its kernel matrix has n²
# entries, and few searches reach rows where the n³ of a factorisation count for more.
_GROWTH = 2.0


class Budget:
    """Seconds of a search and of the fit to all rows that follows it.

    The seconds of rounds in the search forecast those of the rounds on all rows.

    Parameters
    ----------
    seconds : float
        From now on.
    n_rows : float
        The number of all rows; with fewer centres, the root of that of pairs of a row
        and a centre, for which there is a kernel value each.
    """

    def __init__(self, seconds, n_rows):
        self._end, self._n_rows = perf_counter() + seconds, n_rows
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
        seconds = [seconds for rows, seconds in rounds if rows == most]
        one_round = sum(seconds) / len(seconds) * (self._n_rows / most) ** _GROWTH
        return one_round * (candidate.max_iter + 1 - start.number)

    def allows(self, seconds, *, rows=None):
        """Return whether there is time for something that takes so many seconds.

        With a number of rows, there has to be time for one more round on them as well.
        """
        if rows is not None:
            of_last, seconds_of_last = self._last
            seconds += seconds_of_last * (rows / of_last) ** _GROWTH
        return perf_counter() + seconds <= self._end
