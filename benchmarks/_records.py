"""A CSV file of figures that a stopped run can resume, and text reports of it."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

FIELDS = (
    "table",
    "task",
    "model",
    "fold",
    "n_train",
    "n_test",
    "n_features",
    "r2",
    "accuracy",
    "log_loss",
    "fit_seconds",
    "predict_seconds",
    "error",
)


class Records:
    """Rows of figures by their key, kept in a CSV file that only grows.

    A later row of the same key replaces an earlier one.
    """

    def __init__(self, path, fields=FIELDS, key=("table", "model", "fold")):
        self.path, self.fields, self.key = Path(path), fields, key
        self._rows = {}
        if self.path.exists():
            with self.path.open(newline="") as file:
                for row in csv.DictReader(file):
                    self._rows[self._key(row)] = row

    def _key(self, row):
        """Return what identifies a row."""
        return tuple(str(row[name]) for name in self.key)

    @property
    def rows(self):
        """All rows, in the order of their first appearance."""
        return list(self._rows.values())

    def has(self, *key, retry_errors=False):
        """Tell whether this figure is there (an error counts unless retried)."""
        row = self._rows.get(tuple(map(str, key)))
        return row is not None and not (retry_errors and row["error"])

    def add(self, **values):
        """Append one row to the file and flush it."""
        row = {field: str(values.get(field, "")) for field in self.fields}
        self._rows[self._key(row)] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.fields, lineterminator="\n")
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)


def format_table(header, rows):
    """Return lines of text with aligned columns, the first to the left."""
    cells = [[_format_cell(cell) for cell in row] for row in [header, *rows]]
    category_sizes = [max(len(row[j]) for row in cells) for j in range(len(header))]
    lines = []
    for row in cells:
        first = row[0].ljust(category_sizes[0])
        rest = [
            cell.rjust(width)
            for cell, width in zip(row[1:], category_sizes[1:], strict=True)
        ]
        lines.append("  ".join([first, *rest]).rstrip())
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)


def _format_cell(cell):
    """Format one cell: four decimals for numbers, nothing for a missing one."""
    if cell is None:
        return ""
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)


def fold_means(rows, metric):
    """Return ``{table: {model: mean over folds}}`` of one metric.

    Only the folds that all models of a table share enter its means.
    """
    figures = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        if row[metric]:
            figures[row["table"]][row["model"]][row["fold"]] = float(row[metric])
    means = {}
    for table, by_model in figures.items():
        shared = set.intersection(*(set(folds) for folds in by_model.values()))
        if shared:
            means[table] = {
                model: float(np.mean([folds[fold] for fold in shared]))
                for model, folds in by_model.items()
            }
    return means


def complete_tables(means, models):
    """Return the tables where each of the models has a figure."""
    return [table for table in means if all(model in means[table] for model in models)]


def summarise(means, models, larger_is_better=True):
    """Compare models over the tables that all of them have figures for.

    Returns one row per model, best first: mean rank, mean normalised score
    (0 for the worst model of a table, 1 for the best) and mean score.
    """
    tables = complete_tables(means, models)
    if not tables:
        return []
    scores = np.array([[means[table][model] for model in models] for table in tables])
    gains = scores if larger_is_better else -scores
    ranks = rankdata(-gains, axis=1)
    worst = gains.min(axis=1, keepdims=True)
    spread = gains.max(axis=1, keepdims=True) - worst
    normalised = np.where(
        spread > 0, (gains - worst) / np.where(spread > 0, spread, 1), 1
    )
    columns = [ranks.mean(axis=0), normalised.mean(axis=0), scores.mean(axis=0)]
    rows = zip(models, *(column.tolist() for column in columns), strict=True)
    return sorted(rows, key=lambda row: row[1])


def present_models(rows, models):
    """Return those of the models that have figures, in their order."""
    present = {row["model"] for row in rows if not row["error"]}
    return [model for model in models if model in present]


def print_metric(rows, models, metric, title):
    """Print the tables of one metric: every table, then the comparison."""
    means = fold_means(rows, metric)
    models = [m for m in models if any(m in scores for scores in means.values())]
    if not models:
        return
    lines = [[t, *(means[t].get(m) for m in models)] for t in sorted(means)]
    print(f"\n{title}, mean over folds\n")
    print(format_table(["table", *models], lines))
    summary = summarise(means, models, larger_is_better=metric != "log_loss")
    count = len(complete_tables(means, models))
    print(f"\n{title}: comparison over the {count} tables that all models have\n")
    header = ["model", "mean rank", "mean normalised", f"mean {metric}"]
    print(format_table(header, summary))


def print_overall(rows, models):
    """Print mean ranks over regression and classification tables together."""
    lines = [[model] for model in models]
    for metric in ("accuracy", "log_loss"):
        tables = {**_gains(rows, models, "r2"), **_gains(rows, models, metric)}
        ranks = rankdata([[-gain for gain in row] for row in tables.values()], axis=1)
        for line, rank in zip(lines, ranks.mean(axis=0), strict=True):
            line.append(float(rank))
    print(f"\nMean rank over the {len(tables)} tables that all models have\n")
    print(format_table(["model", "R², accuracy", "R², log-loss"], lines))


def _gains(rows, models, metric):
    """Return ``{table: the larger the better, of each model}``."""
    means, sign = fold_means(rows, metric), -1 if metric == "log_loss" else 1
    return {
        table: [sign * means[table][model] for model in models]
        for table in complete_tables(means, models)
    }


def print_seconds(rows, models):
    """Print the seconds of fitting and predicting per model."""
    fit, predict = (fold_means(rows, f"{k}_seconds") for k in ("fit", "predict"))
    tables = complete_tables(fit, models)
    lines = []
    for model in models:
        seconds = [fit[table][model] for table in tables]
        predicting = [predict[table][model] for table in tables]
        if seconds:
            lines.append([model, sum(seconds), max(seconds), sum(predicting)])
    print(f"\nSeconds over the {len(tables)} tables that all models have\n")
    print(format_table(["model", "fit, sum", "fit, max", "predict, sum"], lines))


def print_losses(rows, tolerance=0.02):
    """Print the regression tables where rfm is clearly behind xrfm."""
    rows = [row for row in rows if row["model"] in ("rfm", "xrfm")]
    means = fold_means(rows, "r2")
    tables = complete_tables(means, ["rfm", "xrfm"])
    if not tables:
        return
    lines = []
    for table in tables:
        ours, theirs = means[table]["rfm"], means[table]["xrfm"]
        relative = (theirs - ours) / max(abs(theirs), 1e-12)
        if relative > tolerance:
            lines.append([table, ours, theirs, theirs - ours, f"{relative:.1%}"])
    lines.sort(key=lambda line: -line[3])
    print(
        f"\nR²: rfm is behind xrfm by more than {tolerance:.0%} (relative) on "
        f"{len(lines)} of {len(tables)} tables\n"
    )
    print(format_table(["table", "rfm", "xrfm", "behind by", "relative"], lines))


def print_report(rows, models):
    """Print everything there is to say about the rows."""
    models = present_models(rows, models)
    rows = [row for row in rows if row["model"] in models or row["error"]]
    print_metric(rows, models, "r2", "Regression, R²")
    print_metric(rows, models, "accuracy", "Classification, accuracy")
    print_metric(rows, models, "log_loss", "Classification, log-loss")
    if {row["task"] for row in rows} == {"reg", "clf"}:
        print_overall(rows, models)
    print_seconds(rows, models)
    print_losses(rows)
    errors = [row for row in rows if row["error"]]
    if errors:
        print("\nFailures\n")
        keys = ("table", "model", "fold", "error")
        print(format_table(keys, [[row[key] for key in keys] for row in errors]))
