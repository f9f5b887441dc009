"""What the scaling of numbers was chosen by.

On the tables of the choosing half, at most 2000 training rows: the test scores of
RFMRegressor (R²) and RFMClassifier (log-loss, accuracy) at their defaults, with
numbers softly clipped, with their quantiles beside them, and with the one of both that
is better on unseen rows ("auto").

    python benchmarks/scaling.py --data DIR [--folds 2] [--report]
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from _halves import CHOOSING
from _records import Records, format_table
from _tables import find_tables, load_table
from sklearn.metrics import log_loss, r2_score

from skrfm import RFMClassifier, RFMRegressor
from skrfm.exceptions import NumericalWarning

MAX_TRAIN = 2000
SCALINGS = ("clipped", "quantile", "auto")
SCORES = ("r2", "log_loss", "accuracy")
KEY = ("table", "fold", "scaling")


def measure(table, scaling):
    """Return the test scores of one model."""
    places = table.categories
    kind = RFMRegressor if table.task == "reg" else RFMClassifier
    model = kind(
        scaling=scaling,
        categorical_features=places if len(places) else None,
        random_state=0,
    ).fit(table.raw_train, table.y_train)
    if table.task == "reg":
        return {"r2": r2_score(table.y_test, model.predict(table.raw_test))}
    proba = model.predict_proba(table.raw_test)
    return {
        "log_loss": log_loss(table.y_test, proba, labels=model.classes_),
        "accuracy": model.score(table.raw_test, table.y_test),
    }


def report(records):
    """Print the mean over the folds of each table, and over the tables."""
    for score in SCORES:
        found = {}
        for row in records.rows:
            if row[score]:
                of = found.setdefault(row["table"], {s: [] for s in SCALINGS})
                of[row["scaling"]].append(float(row[score]))
        lines = [
            [name, *(float(np.mean(of[scaling])) for scaling in SCALINGS)]
            for name, of in found.items()
            if all(of.values())
        ]
        if lines:
            means = np.mean([line[1:] for line in lines], axis=0)
            lines.append(["mean", *map(float, means)])
            print(format_table([score, *SCALINGS], lines))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="folder of the open tables")
    parser.add_argument("--folds", default=2, type=int)
    out = Path(__file__).with_name("results") / "scaling.csv"
    parser.add_argument("--out", default=out, type=Path)
    parser.add_argument("--report", action="store_true", help="run nothing, print")
    args = parser.parse_args()
    records = Records(args.out, (*KEY, *SCORES), KEY)
    warnings.simplefilter("ignore", NumericalWarning)
    tables = {} if args.report else find_tables(args.data)
    for name in [name for name in tables if name in CHOOSING]:
        for fold in range(args.folds):
            table = load_table(name, tables[name], fold, MAX_TRAIN)
            for scaling in SCALINGS:
                if not records.has(name, fold, scaling):
                    key = dict(zip(KEY, (name, fold, scaling), strict=True))
                    records.add(**key, **measure(table, scaling))
        print(name, flush=True)
    report(records)


if __name__ == "__main__":
    main()
