"""Text tables of figures: means over folds, and comparisons of models over tables."""

from collections import defaultdict
from math import fsum

import numpy as np
from scipy.stats import rankdata


def format_table(header, rows):
    """Return lines of text with aligned columns, the first to the left.

    Columns that are empty in all rows are left out.
    """
    table = [[_format_cell(cell) for cell in row] for row in [header, *rows]]
    columns = [column for column in zip(*table, strict=True) if any(column[1:])]
    columns = columns if rows else list(zip(*table, strict=True))
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for first, *others in zip(*columns, strict=True):
        cells = [first.ljust(widths[0])]
        cells += [c.rjust(width) for c, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)


def _format_cell(cell):
    """Format one cell: four decimals for numbers, nothing for a missing one."""
    if cell is None:
        return ""
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)


def number(row, figure):
    """Return a figure of a row, None where it is missing."""
    return float(row[figure]) if row.get(figure) else None


def mean_of(rows, figure, function=np.mean):
    """Return the mean of a figure, or another function, None where a row lacks it."""
    numbers = [number(row, figure) for row in rows]
    return None if None in numbers or not numbers else float(function(numbers))


def grouped(rows, *columns):
    """Return ``{values of the columns: rows}``, without tuples for one column."""
    groups = {}
    for row in rows:
        key = tuple(row[column] for column in columns)
        groups.setdefault(key if len(columns) > 1 else key[0], []).append(row)
    return groups


def fold_means(rows, figure, column="model"):
    """Return ``{table: {model: mean over folds}}`` of one figure.

    Only the folds that all models of a table share enter its means. `column` names
    what is compared, if not models.
    """
    figures = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        if row.get(figure):
            folds = figures[row["table"]][row[column]]
            folds[row.get("fold")] = float(row[figure])
    means = {}
    for table, by_model in figures.items():
        shared = set.intersection(*(set(folds) for folds in by_model.values()))
        if shared:
            means[table] = {
                # exact sums: a tie is one in whatever order the folds are added
                model: fsum(folds[fold] for fold in shared) / len(shared)
                for model, folds in by_model.items()
            }
    return means


def complete_tables(means, models):
    """Return the tables where each of the models has a figure."""
    return [table for table in means if all(model in means[table] for model in models)]


def compare_on_tables(rows, figure, names, column):
    """Return lines of the means of each table, and of the mean over the tables."""
    means = fold_means(rows, figure, column)
    tables = complete_tables(means, names)
    lines = [[table, *(means[table][name] for name in names)] for table in tables]
    return with_mean(lines)


def with_mean(lines):
    """Return lines of a name and numbers, and a last line of their means."""
    if not lines:
        return lines
    columns = list(zip(*lines, strict=True))[1:]
    means = [None if None in c else float(np.mean(c)) for c in columns]
    return [*lines, ["mean", *means]]


def mean_ranks(scores):
    """Return the mean rank of each column; the largest score of a row has rank 1."""
    return rankdata(-np.asarray(scores), axis=1).mean(axis=0).tolist()


def growth(sizes, costs):
    """Return the exponent of the power of the sizes that the costs grow as."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def print_costs(rows, column="model", *, figures=("seconds", "cpu_seconds")):
    """Print the sums of the costs by the values of a column, where all are there."""
    lines = [
        [name, *(mean_of(group, figure, np.sum) for figure in figures)]
        for name, group in grouped(rows, column).items()
    ]
    if any(cell is not None for line in lines for cell in line[1:]):
        print("\n" + format_table([f"sums, {column}", *figures], lines))
