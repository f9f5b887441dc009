"""skrfm beside other models on the open tables, at their defaults or tuned.

    python benchmarks/tabular.py --data DIR --models rfm hgb xrfm
    python benchmarks/tabular.py --report
    python benchmarks/tabular.py --data DIR --rows 2000 --folds 1 --half reporting \\
        --out benchmarks/results/tuned.csv \\
        --models rfm_tuned catboost_tuned lightgbm_tuned

Tuned models are the best of 30 random candidates in the same three folds; rfm_tuned is
an average of the best, rfm_alone_tuned the best one. rfm_hgb_average is the mean of rfm
and hgb, by VotingRegressor or VotingClassifier of scikit-learn. skrfm gets the tables
as they are, all others the same encoded matrix (see _tables.py). Use another --out for
another --rows.
"""

import importlib.util
import warnings

import numpy as np
from _experiment import FIT_COSTS, TABLE_FLAGS, Experiment, flag, timed
from _models import AT_DEFAULTS, MODELS, set_categories
from _report import (
    complete_tables,
    fold_means,
    format_table,
    mean_ranks,
)
from _tables import splits
from sklearn.metrics import accuracy_score, log_loss, r2_score

PROBABILITY_FLOOR = 1e-6


# -- figures --------------------------------------------------------------------------


def score(model, table, X):
    """Return the scores on the test rows X, and the costs of predicting."""
    predicted, cost = timed(model.predict, X)
    figures, predicted = cost.figures("predict_"), np.ravel(predicted)
    if table.task == "reg":
        return {"r2": r2_score(table.y_test, predicted), **figures}
    proba = np.asarray(model.predict_proba(X), dtype=np.float64)
    proba = np.clip(proba, PROBABILITY_FLOOR, 1.0)
    proba /= proba.sum(axis=1, keepdims=True)
    labels = np.arange(proba.shape[1])
    return {
        "accuracy": accuracy_score(table.y_test, predicted),
        "log_loss": log_loss(table.y_test, proba, labels=labels),
        **figures,
    }


def fit_and_score(name, table, threads):
    """Return the scores and the costs of one model."""
    package, make = MODELS[name]
    model = make(table.task, threads)
    if package == "skrfm":
        set_categories(model, table.categorical)
        X_train, X_test = table.raw_train, table.raw_test
    else:
        X_train, X_test = table.X_train, table.X_test
    _, cost = timed(model.fit, X_train, table.y_train)
    return cost.figures("fit_") | score(model, table, X_test)


def measure(name, split, threads):
    """Return the row of one model on one split; an exception becomes its error."""
    table = split.table
    try:
        figures = fit_and_score(name, table, threads)
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        figures = {"error": text[:300]}
    return {
        "task": table.task,
        "n_train": len(table.y_train),
        "n_test": len(table.y_test),
        "n_features": table.X_train.shape[1],
        **figures,
    }


def run(args, records):
    """Measure what is missing, fold by fold and model by model."""
    models = []
    for model in args.models:
        if importlib.util.find_spec(MODELS[model][0]) is None:
            print(f"{model}: left out, {MODELS[model][0]} is not installed")
        else:
            models.append(model)
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    by_fold = sorted(splits(args, args.rows), key=lambda split: split.fold)
    for fold in range(args.folds):
        for model in models:
            for split in (split for split in by_fold if split.fold == fold):
                key = {"table": split.name, "model": model, "fold": fold}
                records.once(key, measure, model, split, args.threads)


# -- report ---------------------------------------------------------------------------


def report(rows, args):
    """Print tables of all scores, comparisons of the models, costs and failures."""
    rows = [row for row in rows if int(row["fold"]) < args.folds]
    present = {row["model"] for row in rows if not row["error"]}
    models = [model for model in args.models if model in present]
    rows = [row for row in rows if row["model"] in models or row["error"]]
    print_scores(rows, models, "r2", "Regression, R²")
    print_scores(rows, models, "accuracy", "Classification, accuracy")
    print_scores(rows, models, "log_loss", "Classification, log-loss")
    if {row["task"] for row in rows} == {"reg", "clf"}:
        print_overall_ranks(rows, models)
    print_fit_costs(rows, models)
    print_cost_ratios(rows, models)
    print_losses(rows)
    errors = [row for row in rows if row["error"]]
    if errors:
        print("\nFailures\n")
        keys = ("table", "model", "fold", "error")
        print(format_table(keys, [[row[key] for key in keys] for row in errors]))


def print_scores(rows, models, metric, title):
    """Print the means of one metric: every table, then the comparison."""
    means = fold_means(rows, metric)
    models = [m for m in models if any(m in scores for scores in means.values())]
    if not models:
        return
    lines = [[t, *(means[t].get(m) for m in models)] for t in sorted(means)]
    print(f"\n{title}, mean over folds\n")
    print(format_table(["table", *models], lines))
    count = len(complete_tables(means, models))
    print(f"\n{title}: comparison over the {count} tables that all models have\n")
    header = ["model", "mean rank", "mean normalised", f"mean {metric}"]
    print(format_table(header, compare(means, models, metric)))


def compare(means, models, metric):
    """Return lines of mean rank, mean normalised score and mean score, best first.

    The normalised score is 0 for the worst model of a table and 1 for the best.
    """
    tables = complete_tables(means, models)
    if not tables:
        return []
    scores = np.array([[means[table][model] for model in models] for table in tables])
    gains = -scores if metric == "log_loss" else scores
    worst = gains.min(axis=1, keepdims=True)
    spread = gains.max(axis=1, keepdims=True) - worst
    normalised = (gains - worst) / np.where(spread > 0, spread, 1)
    normalised = np.where(spread > 0, normalised, 1).mean(axis=0).tolist()
    columns = mean_ranks(gains), normalised, scores.mean(axis=0).tolist()
    return sorted(zip(models, *columns, strict=True), key=lambda line: line[1])


def print_overall_ranks(rows, models):
    """Print mean ranks over regression and classification tables together."""
    lines = [[model] for model in models]
    for metric in ("accuracy", "log_loss"):
        gains = {**gains_of(rows, models, "r2"), **gains_of(rows, models, metric)}
        for line, rank in zip(lines, mean_ranks([*gains.values()]), strict=True):
            line.append(rank)
    print(f"\nMean rank over the {len(gains)} tables that all models have\n")
    print(format_table(["model", "R², accuracy", "R², log-loss"], lines))


def gains_of(rows, models, metric):
    """Return ``{table: scores of the models}``, the larger the better."""
    means, sign = fold_means(rows, metric), -1 if metric == "log_loss" else 1
    return {
        table: [sign * means[table][model] for model in models]
        for table in complete_tables(means, models)
    }


def print_fit_costs(rows, models):
    """Print the seconds and CPU seconds of fitting and predicting by model."""
    means = {cost: fold_means(rows, cost) for cost in FIT_COSTS}
    tables = complete_tables(means["fit_seconds"], models)
    lines = []
    for model in models if tables else []:
        line = [model]
        for cost in FIT_COSTS:
            found = [means[cost].get(table, {}).get(model) for table in tables]
            functions = (sum, max) if cost.startswith("fit") else (sum,)
            line += [None if None in found else f(found) for f in functions]
        lines.append(line)
    header = ["model", "fit, sum", "fit, max", "fit CPU, sum", "fit CPU, max"]
    print(f"\nSeconds over the {len(tables)} tables that all models have\n")
    print(format_table([*header, "predict, sum", "predict CPU, sum"], lines))


def print_cost_ratios(rows, models, reference="catboost"):
    """Print the CPU seconds of fits as ratios to those of one model."""
    means = fold_means(rows, "fit_cpu_seconds")
    tables = complete_tables(means, models) if reference in models else []
    if not tables:
        return
    seconds = np.array([[means[table][model] for model in models] for table in tables])
    ratios = seconds / seconds[:, [models.index(reference)]]
    lines = zip(
        models,
        np.exp(np.log(ratios).mean(axis=0)).tolist(),
        ratios.max(axis=0).tolist(),
        [tables[index] for index in ratios.argmax(axis=0)],
        strict=True,
    )
    print(f"\nCPU seconds of a fit by those of {reference}, {len(tables)} tables\n")
    print(format_table(["model", "geometric mean", "largest", "table"], lines))


def print_losses(rows, tolerance=0.02):
    """Print the regression tables where rfm is clearly behind xrfm."""
    rows = [row for row in rows if row["model"] in ("rfm", "xrfm")]
    means = fold_means(rows, "r2")
    tables = complete_tables(means, ["rfm", "xrfm"])
    lines = []
    for table in tables:
        ours, theirs = means[table]["rfm"], means[table]["xrfm"]
        relative = (theirs - ours) / max(abs(theirs), 1e-12)
        if relative > tolerance:
            lines.append([table, ours, theirs, theirs - ours, f"{relative:.1%}"])
    if tables:
        lines.sort(key=lambda line: -line[3])
        print(
            f"\nR²: rfm is behind xrfm by more than {tolerance:.0%} (relative) on "
            f"{len(lines)} of {len(tables)} tables\n"
        )
        print(format_table(["table", "rfm", "xrfm", "behind by", "relative"], lines))


SIZES = ("n_train", "n_test", "n_features")
EXPERIMENT = Experiment(
    doc=__doc__,
    key=("table", "model", "fold"),
    figures=("task", *SIZES, "r2", "accuracy", "log_loss", *FIT_COSTS, "error"),
    run=run,
    report=report,
    flags=TABLE_FLAGS | {"models": AT_DEFAULTS, "folds": 5, "rows": 10_000},
    choices={"models": MODELS},
    own_flags=[flag("retry-errors", action="store_true", help="measure errors again")],
    out="tabular.csv",
    threads=2,
    ignored=None,
)

if __name__ == "__main__":
    EXPERIMENT.main()
