"""Calibrations of class probabilities, all of the same fitted classifiers.

On the classification tables of the choosing half, at most 2000 training rows: the
log-loss on the test rows by the softmax of the outputs (softness inf), of something
like their logarithms (the other softnesses), by the one of least log-loss on the
validation rows, and by that with a curve of the log-odds of two classes. The default
calibration, the last, was chosen by it.

    python benchmarks/calibration.py --data DIR [--models default tuned] [--report]
"""

import numpy as np
from _experiment import COSTS, TABLE_FLAGS, Experiment, timed
from _models import tuning_folds
from _report import compare_on_tables, format_table, print_costs
from _tables import splits
from sklearn.metrics import log_loss

from skrfm import RFMClassifier, RFMClassifierCV
from skrfm._search import Calibration

OPTIONS = {
    "softmax": (np.inf,),
    "0.05": (0.05,),
    "0.2": (0.2,),
    "best of three": (0.05, 0.2, np.inf),
    "with a curve": (0.05, 0.2, np.inf),
}


class KeepsOutputs:
    """A classifier that keeps the outputs on validation rows, targets and weights."""

    def _calibrate(self, outputs, validation_rows):
        self.calibrated_on_ = outputs, validation_rows.targets, validation_rows.weight
        return super()._calibrate(outputs, validation_rows)


class DefaultClassifier(KeepsOutputs, RFMClassifier):
    """RFMClassifier at its defaults."""


class TunedClassifier(KeepsOutputs, RFMClassifierCV):
    """The best of 30 candidates in three folds."""


def make_model(name):
    """Return an unfitted classifier."""
    if name == "default":
        return DefaultClassifier(scaling="clipped", random_state=0)
    return TunedClassifier(
        scaling="clipped", cv=tuning_folds("clf"), n_machines=1, random_state=0
    )


def measure(name, table):
    """Return the log-loss of each calibration of a model, and the costs of its fit."""
    model = make_model(name).set_params(categorical_features=table.categorical)
    _, cost = timed(model.fit, table.raw_train, table.y_train)
    outputs = model.decision_function(table.raw_test).reshape(len(table.y_test), -1)
    losses = {}
    for option, softnesses in OPTIONS.items():
        calibration = Calibration.fit(*model.calibrated_on_, softnesses=softnesses)
        if option == "with a curve":
            calibration = calibration.with_curve(*model.calibrated_on_)
        proba = calibration.probabilities(outputs)
        losses[option] = log_loss(table.y_test, proba, labels=model.classes_)
    return losses, cost


def run(args, records):
    """Fit each model to each split, and add a row for each calibration."""
    for split in splits(args, args.rows):
        for model in args.models:
            key = {"table": split.name, "model": model, "fold": split.fold}
            if records.has(key | {"calibration": "softmax"}):
                continue
            if split.table.task == "clf":
                losses, cost = measure(model, split.table)
                for option, loss in losses.items():
                    figures = {"log_loss": loss, **cost.figures()}
                    records.add(key | {"calibration": option}, figures)


def report(rows, args):
    """Print the mean over the folds of each table, and over the tables."""
    lines = []
    for model in args.models:
        mine = [row for row in rows if row["model"] == model]
        found = compare_on_tables(mine, "log_loss", OPTIONS, "calibration")
        lines += [[model, *line] for line in found]
    print(format_table(["model", "table", *OPTIONS], lines))
    print_costs([row for row in rows if row["calibration"] == "softmax"])


EXPERIMENT = Experiment(
    doc=__doc__,
    key=("table", "model", "fold", "calibration"),
    figures=("log_loss", *COSTS),
    run=run,
    report=report,
    flags=TABLE_FLAGS | {"half": "choosing", "folds": 3, "rows": 2000},
    choices={"models": ("default", "tuned")},
    out="calibration.csv",
)

if __name__ == "__main__":
    EXPERIMENT.main()
