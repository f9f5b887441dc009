"""Kernels, bandwidths and ridges: what the defaults were chosen by.

On the choosing half of the open tables, at most 1500 training rows and 3000 test rows,
every kernel, bandwidth (a multiple of the median distance), ridge and round gets its
score in 3-fold cross-validation and its score on the test rows. The report has the mean
test score of the cross-validated choice where only some kernels and one bandwidth are
candidates.

    python benchmarks/defaults.py --data DIR [--report]
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from _experiment import COSTS, TABLE_FLAGS, Clock, Experiment
from _models import tuning_folds
from _report import format_table, grouped, print_costs
from _tables import splits

from skrfm._backend import NumpyBackend, own_threads
from skrfm._recursion import Candidate
from skrfm._recursion import run as run_rounds
from skrfm._search import Calibration, ClassificationCriterion, RegressionCriterion
from skrfm._tables import Data
from skrfm.kernels import L1Laplace, Laplace

MAX_TEST = 3000
# a kernel, and whether its metric is diagonal
KERNELS = {"l2": (Laplace(), False), "l1": (L1Laplace(), True)}
MULTIPLES = (0.5, 1.0, 2.0, 3.0, 5.0)
ALPHAS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
BACKEND = NumpyBackend()


def encode(y, classes):
    """Return targets as the estimators code them."""
    if classes is None:
        return y[:, None]
    codes = np.searchsorted(classes, y)
    if len(classes) == 2:
        return (2.0 * codes - 1)[:, None]
    return np.eye(len(classes))[codes]


@dataclass(frozen=True)
class Problem:
    """A table with coded targets, its folds and how outputs are scored.

    Attributes
    ----------
    data : Data
        The training rows.
    folds : list of (ndarray, ndarray)
        Indices of training and validation rows.
    X_test, Y_test : ndarray
        Test rows, and their coded targets.
    is_classification : bool
    """

    data: Data
    folds: list
    X_test: np.ndarray
    Y_test: np.ndarray
    is_classification: bool

    @classmethod
    def from_table(cls, table):
        """Return the problem of a table."""
        classes = np.unique(table.y_train) if table.task == "clf" else None
        X, y = table.X_train, table.y_train
        Y = encode(y, classes).astype(X.dtype)
        return cls(
            data=Data(X, Y, np.ones(len(X), X.dtype)),
            folds=list(tuning_folds(table.task).split(X, y)),
            X_test=table.X_test[:MAX_TEST],
            Y_test=encode(table.y_test[:MAX_TEST], classes),
            is_classification=classes is not None,
        )

    def scores(self, unseen, predicted):
        """Return the cross-validated score and the test score of outputs.

        They are R², or minus the log-loss at the calibration of cross-validation.
        """
        validation = np.concatenate([indices for _, indices in self.folds])
        targets, weight = self.data.Y[validation], np.ones(len(validation))
        if not self.is_classification:
            criterion = RegressionCriterion()
            score, _ = criterion.score(unseen, targets, weight)
            ones = np.ones(len(self.Y_test))
            return score, criterion.score(predicted, self.Y_test, ones)[0]
        score, _ = ClassificationCriterion().score(unseen, targets, weight)
        calibration = Calibration.fit(unseen, targets, weight)
        likelihood = calibration.log_likelihood(predicted, self.Y_test)
        return score, float(likelihood.mean())


def measure(problem, candidate):
    """Yield (round, cross-validated score, test score) of one candidate."""
    data = problem.data
    runs = [
        run_rounds(data.subset(train, BACKEND), candidate, BACKEND)
        for train, _ in problem.folds
    ]
    rounds = zip(run_rounds(data, candidate, BACKEND), *runs, strict=False)
    for model, *fold_models in rounds:
        unseen = [
            fold_model.predict(data.X[validation], BACKEND)
            for fold_model, (_, validation) in zip(
                fold_models, problem.folds, strict=True
            )
        ]
        predicted = model.predict(problem.X_test, BACKEND).astype(np.float64)
        outputs = np.concatenate(unseen).astype(np.float64)
        yield model.number, *problem.scores(outputs, predicted)


def run(args, records):
    """Measure every candidate on each table."""
    for split in splits(args, args.rows):
        for kernel, multiple, alpha in product(KERNELS, MULTIPLES, ALPHAS):
            key = {
                "table": split.name,
                "kernel": kernel,
                "multiple": multiple,
                "alpha": alpha,
            }
            if records.has(key | {"round": 0}):
                continue
            function, diagonal = KERNELS[kernel]
            bandwidth = f"{multiple}*median"
            candidate = Candidate(function, alpha, bandwidth, diagonal=diagonal)
            add_rounds(records, key, split.table, candidate)


def add_rounds(records, key, table, candidate):
    """Add a row for each round of a candidate; the costs are those up to it."""
    clock = Clock()
    with own_threads(len(table.X_train)):
        rounds = measure(Problem.from_table(table), candidate)
        for number, score, final in rounds:
            figures = {"task": table.task, "cv_score": score, "test_score": final}
            records.add(key | {"round": number}, figures | clock.cost().figures())


def best_test_score(rows):
    """Return the test score of the row with the best cross-validated score."""
    best = max(rows, key=lambda row: float(row["cv_score"]))
    return float(best["test_score"])


def report(rows, args):
    """Print the mean test score of the cross-validated choice, by the candidates."""
    lines = []
    for kernels, multiple in product([("l2", "l1"), ("l2",), ("l1",)], MULTIPLES):
        candidates = [
            row
            for row in rows
            if row["kernel"] in kernels and float(row["multiple"]) == multiple
        ]
        chosen = {"reg": [], "clf": []}
        for (task, _), of_table in grouped(candidates, "task", "table").items():
            chosen[task].append(best_test_score(of_table))
        means = [
            float(np.mean(scores)) if scores else None for scores in chosen.values()
        ]
        lines.append([f"{'+'.join(kernels)}, {multiple:g}*median", *means])
    print(format_table(["candidates", "R²", "minus log-loss"], lines))
    last = {tuple(row[k] for k in EXPERIMENT.key[:-1]): row for row in rows}
    print_costs(list(last.values()), "kernel")


EXPERIMENT = Experiment(
    doc=__doc__,
    key=("table", "kernel", "multiple", "alpha", "round"),
    figures=("task", "cv_score", "test_score", *COSTS),
    run=run,
    report=report,
    flags=TABLE_FLAGS | {"half": "choosing", "rows": 1500},
    out="defaults.csv",
)

if __name__ == "__main__":
    EXPERIMENT.main()
