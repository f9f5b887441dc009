"""Variants of the search: other parameters of the estimators, or other constants.

Test scores of RFMRegressor (R²) and RFMClassifier (log-loss, accuracy) on the tables of
the choosing half, and what their fits cost, beside those at the defaults. A variant is
"default", or assignments to parameters and to constants within skrfm:

    python benchmarks/variants.py --data DIR \\
        --variants default "n_machines=3" "_search._race._PATIENCE=3; max_iter=20"

The fits of one table follow each other, so that their costs are comparable. The rows
are kept with --out only; use another one for other --rows.
"""

import ast
import importlib
from contextlib import contextmanager

import numpy as np
from _experiment import COSTS, TABLE_FLAGS, Experiment, flag, timed
from _report import compare_on_tables, complete_tables, fold_means, format_table
from _tables import splits
from sklearn.metrics import log_loss, r2_score

from skrfm import RFMClassifier, RFMRegressor

SCORES = ("r2", "log_loss", "accuracy")
DEFAULT = "default"


def read_variant(text):
    """Return the parameters and the constants, ``{"_search._race._PATIENCE": 3}``."""
    assignments = (
        {}
        if text == DEFAULT
        else {
            ast.unparse(node.targets[0]): ast.literal_eval(node.value)
            for node in ast.parse(text).body
        }
    )
    parameters = {k: v for k, v in assignments.items() if "." not in k}
    return parameters, {k: v for k, v in assignments.items() if "." in k}


@contextmanager
def constants_set(constants):
    """Set constants within skrfm, and restore them."""
    before = []
    try:
        for path, value in constants.items():
            module, _, name = path.rpartition(".")
            module = importlib.import_module(f"skrfm.{module}")
            before.append((module, name, getattr(module, name)))
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in reversed(before):
            setattr(module, name, value)


def measure(split, variant):
    """Return the test scores of one variant, the costs of its fit and its choice."""
    table = split.table
    parameters, constants = read_variant(variant)
    model = (RFMRegressor if table.task == "reg" else RFMClassifier)(
        categorical_features=table.categorical, random_state=0
    ).set_params(**parameters)
    with constants_set(constants):
        _, cost = timed(model.fit, table.raw_train, table.y_train)
    chosen = {
        "kernel": repr(model.kernel_),
        "metric_type": "diag" if model.components_.ndim == 1 else "full",
        "scaling": model.scaling_,
        "alpha": model.alpha_,
        "iter": model.best_iter_,
    }
    figures = {"n_train": len(table.y_train), **cost.figures(), **chosen}
    if table.task == "reg":
        return {"r2": r2_score(table.y_test, model.predict(table.raw_test)), **figures}
    proba = model.predict_proba(table.raw_test)
    return {
        "log_loss": log_loss(table.y_test, proba, labels=model.classes_),
        "accuracy": model.score(table.raw_test, table.y_test),
        **figures,
    }


def run(args, records):
    """Measure each variant on each split, after a fit that compiles."""
    X = np.random.default_rng(0).normal(size=(1200, 5))
    for model, y in ((RFMRegressor(), X[:, 0]), (RFMClassifier(), X[:, 0] > 0)):
        model.fit(X, y)
    for split in splits(args, args.rows):
        for variant in args.variants:
            key = {"table": split.name, "fold": split.fold, "variant": variant}
            records.once(key, measure, split, variant)


def report(rows, args):
    """Print the scores and the ratios of costs, by table and their means."""
    rows = [row for row in rows if row["variant"] in args.variants]
    names = args.variants
    for score in SCORES:
        lines = compare_on_tables(rows, score, names, "variant")
        if lines:
            print("\n" + format_table([score, *names], lines))
    costs = fold_means(rows, "cpu_seconds", "variant")
    tables = complete_tables(costs, names)
    if tables:
        seconds = np.array([[costs[table][name] for name in names] for table in tables])
        ratios = np.exp(np.log(seconds / seconds[:, :1]).mean(axis=0))
        lines = [
            ["sum", *seconds.sum(axis=0).tolist()],
            ["geometric mean of the ratios to the first", *ratios.tolist()],
        ]
        print("\n" + format_table(["CPU seconds of the fits", *names], lines))


EXPERIMENT = Experiment(
    doc=__doc__,
    key=("table", "fold", "variant"),
    figures=(
        *SCORES,
        "n_train",
        *COSTS,
        "kernel",
        "metric_type",
        "scaling",
        "alpha",
        "iter",
    ),
    run=run,
    report=report,
    flags=TABLE_FLAGS | {"half": "choosing", "folds": 1, "rows": 10_000},
    own_flags=[
        flag(
            "variants",
            (DEFAULT,),
            nargs="+",
            metavar="ASSIGNMENTS",
            help="what to compare",
        )
    ],
    threads=2,
)

if __name__ == "__main__":
    EXPERIMENT.main()
