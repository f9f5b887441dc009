"""Names for the columns of encoded rows, made from those of the table."""

import numpy as np

from ._level_statistics import LevelStatistics
from ._table import Coding, TableEncoder


def names_of_columns(
    coding: Coding, encoder: TableEncoder, statistics: LevelStatistics | None
) -> np.ndarray:
    """Return one name for each column of encoded rows.

    A number has its own name, and a suffix in brackets says what else a column holds:
    its quantile, whether it is missing, the mean of the targets in a level, or a number
    minus its mean in a level. A level is "column=level". Columns of a table without
    names are x0, x1 and so on.

    Parameters
    ----------
    coding : Coding
        How the table is read.
    encoder : TableEncoder
        The encoder of the rows, which may have fewer columns than that of `coding`.
    statistics : LevelStatistics or None
    """
    given = coding.feature_names
    if given is None:
        count = len(encoder.numbers) + len(encoder.categories)
        given = [f"x{j}" for j in range(count)]
    numbers = [str(given[j]) for j in encoder.numbers]
    names = list(numbers)
    if encoder.quantiles:
        names += [f"{name} (quantile)" for name in numbers]
    names += [f"{numbers[j]} (missing)" for j in encoder.indicators]
    categories = [str(given[j]) for j in encoder.categories]
    if statistics is not None:
        names += _names_of_statistics(statistics, categories, tuple(names))
    columns = zip(
        encoder.categories,
        categories,
        encoder.category_sizes,
        encoder.missing_codes,
        strict=True,
    )
    for column, name, size, missing_code in columns:
        levels = coding.reader.names_of_levels(column)
        labels = [f"{name}={level}" for level in levels]
        labels += [f"{name} (missing)"] * (missing_code >= 0)
        names += labels[:size]
    return np.array(names, dtype=object)


def _names_of_statistics(statistics, categories, numbers):
    """Return the names of the columns that `LevelStatistics` adds."""
    names = []
    described = [*categories, *(numbers[j] for j in statistics.discrete.columns)]
    for category, means in zip(described, statistics.means, strict=True):
        if means is None:
            continue
        one = statistics.n_outputs == 1
        names += [
            f"{category} (mean target)" if one else f"{category} (mean target {k})"
            for k in range(statistics.n_outputs)
        ]
        kept = numbers[: means.shape[1] - statistics.n_outputs]
        names += [f"{number} (within {category})" for number in kept]
    return names
