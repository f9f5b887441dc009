"""What the calibration of class probabilities was chosen by.

On the classification tables of the choosing half, at most 2000 training rows: the
log-loss on the test rows by the softmax of the estimates (softness inf), of something
like their logarithms (the other softnesses), and by what has the least log-loss on the
rows that the choice of the round has judged. All share the fitted machines.

    python benchmarks/calibration.py --data DIR [--models default tuned] [--report]
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from _halves import CHOOSING
from _records import Records, format_table
from _tables import find_tables, load_table
from _tuned import folds_of
from sklearn.metrics import log_loss

from skrfm import RFMClassifier, RFMClassifierCV
from skrfm._search import Calibration
from skrfm.exceptions import NumericalWarning

MAX_TRAIN, FOLDS = 2000, 3
OPTIONS = {
    "softmax": (np.inf,),
    "0.05": (0.05,),
    "0.2": (0.2,),
    "best of three": (0.05, 0.2, np.inf),
}
KEY = ("table", "model", "fold", "calibration")


class Judged:
    """A classifier that keeps what its calibration is fitted to."""

    def _learn_from(self, choice):
        super()._learn_from(choice)
        judges = choice.judges
        self.judged_ = choice.outputs, judges.targets, judges.weight


class Default(Judged, RFMClassifier):
    """At its defaults."""


class Tuned(Judged, RFMClassifierCV):
    """The best of 30 candidates in three folds."""


MODELS = {
    "default": lambda: Default(scaling="clipped", random_state=0),
    "tuned": lambda: Tuned(
        scaling="clipped", cv=folds_of("clf"), n_machines=1, random_state=0
    ),
}


def measure(model, table):
    """Yield (calibration, log-loss on the test rows) of one fitted model."""
    places = table.categories
    model.set_params(categorical_features=places if len(places) else None)
    model.fit(table.raw_train, table.y_train)
    outputs = model.decision_function(table.raw_test).reshape(len(table.y_test), -1)
    for name, softnesses in OPTIONS.items():
        calibration = Calibration.fit(*model.judged_, softnesses)
        proba = calibration.probabilities(outputs)
        yield name, log_loss(table.y_test, proba, labels=model.classes_)


def report(records):
    """Print the mean over the folds of each table, and over the tables."""
    losses = {}
    for row in records.rows:
        by_table = losses.setdefault((row["model"], row["table"]), {})
        by_table.setdefault(row["calibration"], []).append(float(row["log_loss"]))
    lines = [
        [model, table, *(float(np.mean(of[option])) for option in OPTIONS)]
        for (model, table), of in losses.items()
    ]
    for model in MODELS:
        rows = [line[2:] for line in lines if line[0] == model]
        if rows:
            lines.append([model, "mean", *map(float, np.mean(rows, axis=0))])
    print(format_table(["model", "table", *OPTIONS], lines))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="folder of the open tables")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    out = Path(__file__).with_name("results") / "calibration.csv"
    parser.add_argument("--out", default=out, type=Path)
    parser.add_argument("--report", action="store_true", help="run nothing, print")
    args = parser.parse_args()
    records = Records(args.out, (*KEY, "log_loss"), KEY)
    warnings.simplefilter("ignore", NumericalWarning)
    tables = {} if args.report else find_tables(args.data)
    for name in [name for name in tables if name in CHOOSING]:
        for fold in range(FOLDS):
            table = load_table(name, tables[name], fold, MAX_TRAIN)
            if table.task != "clf":
                break
            for model in args.models:
                if records.has(name, model, fold, "softmax"):
                    continue
                for option, loss in measure(MODELS[model](), table):
                    key = dict(zip(KEY, (name, model, fold, option), strict=True))
                    records.add(**key, log_loss=loss)
        print(name, flush=True)
    report(records)


if __name__ == "__main__":
    main()
