"""What XRFM gains from directions whose sides are predicted best.

    python benchmarks/splits.py --data DIR [--leaf 1000] [--half choosing] [--report]

XRFM at its defaults but for small leaves, on the tables of a half with at least 6000
rows, at most 10 000 for training: R² or minus the log-loss on the test rows where nodes
are cut along the direction of most variance, and along the one of the five of most
variance whose two sides are predicted best; and seconds of the processor.
"""

import argparse
import warnings
from pathlib import Path
from time import process_time
from unittest.mock import patch

import numpy as np
from _halves import CHOOSING, REPORTING
from _records import Records, format_table
from _tables import find_tables, load_table
from sklearn.metrics import log_loss, r2_score

from skrfm import RFMClassifier, RFMRegressor, XRFMClassifier, XRFMRegressor
from skrfm.exceptions import NumericalWarning
from skrfm.xrfm import _leaves

LEAST_ROWS, FOLDS = 6000, 2
# how many directions of most variance are compared
RULES = {"most variance": 1, "best sides": 5}
KEY = ("half", "table", "leaf", "fold", "rule")


def make_model(table, leaf):
    """Return XRFM for a table as it is."""
    places = table.categories if len(table.categories) else None
    if table.task == "reg":
        estimator, tree = RFMRegressor(categorical_features=places), XRFMRegressor
    else:
        estimator, tree = RFMClassifier(categorical_features=places), XRFMClassifier
    return tree(estimator, max_leaf_size=leaf, random_state=0)


def measure(table, leaf, count):
    """Return the score on the test rows, and the seconds of the fit."""
    model = make_model(table, leaf)
    start = process_time()
    with patch.object(_leaves, "DIRECTIONS", count):
        model.fit(table.raw_train, table.y_train)
    seconds = process_time() - start
    if table.task == "reg":
        return r2_score(table.y_test, model.predict(table.raw_test)), seconds
    proba = np.clip(model.predict_proba(table.raw_test), 1e-6, 1)
    return -log_loss(table.y_test, proba, labels=model.classes_), seconds


def report(rows, half, leaf):
    """Print the mean of the folds of each table, and the mean over the tables."""
    found = {}
    for row in rows:
        if row["half"] == half and int(row["leaf"]) == leaf:
            by_rule = found.setdefault(row["table"], {})
            figures = float(row["score"]), float(row["seconds"])
            by_rule.setdefault(row["rule"], []).append(figures)
    lines = []
    for table, by_rule in found.items():
        means = np.array([np.mean(by_rule[rule], axis=0) for rule in RULES])
        (first, second), seconds = means[:, 0], means[:, 1]
        lines.append([table, first, second, second - first, *seconds])
    if lines:
        means = np.mean([line[1:] for line in lines], axis=0)
        lines.append(["mean", *map(float, means)])
    print(f"{half} half, leaves of {leaf}\n")
    header = ["table", *RULES, "gain", *(f"{rule}, s" for rule in RULES)]
    print(format_table(header, [[a, *map(float, b)] for a, *b in lines]))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="folder of the open tables")
    halves = {"choosing": CHOOSING, "reporting": REPORTING}
    parser.add_argument("--half", choices=halves, default="choosing")
    parser.add_argument("--leaf", type=int, default=1000, help="rows of a leaf")
    out = Path(__file__).with_name("results") / "splits.csv"
    parser.add_argument("--out", default=out, type=Path)
    parser.add_argument("--report", action="store_true", help="run nothing, print")
    args = parser.parse_args()
    records = Records(args.out, (*KEY, "score", "seconds"), KEY)
    warnings.simplefilter("ignore", NumericalWarning)
    tables = {} if args.report else find_tables(args.data)
    for name in [name for name in tables if name in halves[args.half]]:
        for fold in range(FOLDS):
            table = load_table(name, tables[name], fold)
            if len(table.y_train) + len(table.y_test) < LEAST_ROWS:
                break
            for rule, count in RULES.items():
                key = args.half, name, args.leaf, fold, rule
                if records.has(*key):
                    continue
                score, seconds = measure(table, args.leaf, count)
                values = dict(zip(KEY, key, strict=True))
                records.add(**values, score=score, seconds=round(seconds, 2))
        print(name, flush=True)
    report(records.rows, args.half, args.leaf)


if __name__ == "__main__":
    main()
