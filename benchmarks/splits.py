"""XRFM with nodes cut along the direction whose sides are predicted best.

    python benchmarks/splits.py --data DIR [--leaf 1000] [--half choosing] [--report]

XRFM at its defaults but for small leaves, on the tables of a half with at least 6000
rows, at most 10 000 for training: R² or minus the log-loss on the test rows, and the
costs of the fit. Nodes are cut along the direction of most variance, or along the one
of the five of most variance whose two sides are predicted best.
"""

from unittest.mock import patch

import numpy as np
from _experiment import COSTS, TABLE_FLAGS, Experiment, count_flag, timed
from _report import complete_tables, fold_means, format_table, with_mean
from _tables import splits
from sklearn.metrics import log_loss, r2_score

from skrfm import RFMClassifier, RFMRegressor, XRFMClassifier, XRFMRegressor
from skrfm.xrfm import _leaves

MIN_ROWS = 6000
# how many directions of most variance are compared
RULES = {"most variance": 1, "best sides": 5}


def measure(split, leaf, n_directions):
    """Return the score on the test rows, and the costs of the fit."""
    table = split.table
    if len(table.y_train) + len(table.y_test) < MIN_ROWS:
        return None
    if table.task == "reg":
        estimator, tree = RFMRegressor(), XRFMRegressor
    else:
        estimator, tree = RFMClassifier(), XRFMClassifier
    estimator.set_params(categorical_features=table.categorical)
    model = tree(estimator, max_leaf_size=leaf, random_state=0)
    with patch.object(_leaves, "DIRECTIONS", n_directions):
        _, cost = timed(model.fit, table.raw_train, table.y_train)
    if table.task == "reg":
        score = r2_score(table.y_test, model.predict(table.raw_test))
    else:
        proba = np.clip(model.predict_proba(table.raw_test), 1e-6, 1)
        score = -log_loss(table.y_test, proba, labels=model.classes_)
    return {"score": score, **cost.figures()}


def run(args, records):
    """Measure both rules on each split."""
    for split in splits(args):
        for rule, n_directions in RULES.items():
            key = {
                "half": args.half,
                "table": split.name,
                "leaf": args.leaf,
                "fold": split.fold,
                "rule": rule,
            }
            records.once(key, measure, split, args.leaf, n_directions)


def report(rows, args):
    """Print the mean of the folds of each table, and the mean over the tables."""
    rows = [r for r in rows if r["half"] == args.half and int(r["leaf"]) == args.leaf]
    scores = fold_means(rows, "score", "rule")
    costs = [fold_means(rows, figure, "rule") for figure in COSTS]
    lines = []
    for table in complete_tables(scores, RULES):
        first, second = (scores[table][rule] for rule in RULES)
        found = [cost.get(table, {}).get(rule) for cost in costs for rule in RULES]
        lines.append([table, first, second, second - first, *found])
    print(f"{args.half} half, leaves of {args.leaf}\n")
    headings = [f"{rule}, {unit}" for unit in ("s", "CPU s") for rule in RULES]
    print(format_table(["table", *RULES, "gain", *headings], with_mean(lines)))


EXPERIMENT = Experiment(
    doc=__doc__,
    key=("half", "table", "leaf", "fold", "rule"),
    figures=("score", *COSTS),
    run=run,
    report=report,
    flags=TABLE_FLAGS | {"half": "choosing", "folds": 2},
    own_flags=[count_flag("leaf", 1000, "rows of a leaf at most")],
    out="splits.csv",
)

if __name__ == "__main__":
    EXPERIMENT.main()
