"""What the defaults of kernel, bandwidth and ridge were chosen by.

On the choosing half of the open tables, at most 1500 training rows and 3000 test rows,
every kernel, bandwidth (a multiple of the median distance), ridge and round gets its
score in 3-fold cross-validation and its score on the test rows. The report says what
test score the cross-validated choice reaches if only some of them are open.

    python benchmarks/defaults.py --data DIR [--report]
"""

import argparse
from itertools import product
from pathlib import Path

import numpy as np
from _halves import CHOOSING
from _records import Records, format_table
from _tables import find_tables, load_table
from sklearn.model_selection import KFold, StratifiedKFold

from skrfm._backend import get_backend, worker_threads
from skrfm._recursion import Candidate, run
from skrfm._search import Calibration, ClassificationCriterion, RegressionCriterion
from skrfm._tables import Data
from skrfm.kernels import L1Laplace, Laplace

N_TRAIN, N_TEST = 1500, 3000
KERNELS = {"l2": (Laplace(), False), "l1": (L1Laplace(), True)}
MULTIPLES = (0.5, 1.0, 2.0, 3.0, 5.0)
ALPHAS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
KEY = ("table", "kernel", "multiple", "alpha", "round")
FIELDS = (*KEY, "task", "cv_score", "test_score")


def encode(y, classes):
    """Return targets as the estimators code them."""
    if classes is None:
        return y[:, None]
    codes = np.searchsorted(classes, y)
    if len(classes) == 2:
        return (2.0 * codes - 1)[:, None]
    return np.eye(len(classes))[codes]


def test_score(criterion, outputs, targets, calibration):
    """Return R², or minus the log-loss at the calibration of cross-validation."""
    if calibration is None:
        return criterion.score(outputs, targets, np.ones(len(targets)))
    return float(calibration.log_likelihood(outputs, targets).mean())


def measure(table, candidate):
    """Yield (round, cross-validated score, test score) of one candidate on one table."""
    classes = np.unique(table.y_train) if table.task == "clf" else None
    X, y = table.X_train[:N_TRAIN], table.y_train[:N_TRAIN]
    new, targets = table.X_test[:N_TEST], encode(table.y_test[:N_TEST], classes)
    Y, backend = encode(y, classes), get_backend(np)
    criterion = RegressionCriterion() if classes is None else ClassificationCriterion()
    splitter = KFold if classes is None else StratifiedKFold
    folds = list(splitter(3, shuffle=True, random_state=0).split(X, y))
    data = Data(X, Y.astype(X.dtype), np.ones(len(X), X.dtype))
    runs = [(run(data.subset(a, backend), candidate, backend), b) for a, b in folds]
    unseen = np.concatenate([b for _, b in folds])
    judges = Y[unseen], np.ones(len(unseen))
    rounds = zip(run(data, candidate, backend), *(r for r, _ in runs), strict=False)
    for model, *parts in rounds:
        pairs = zip(parts, folds, strict=True)
        outputs = np.concatenate([p.predict(X[b], backend) for p, (_, b) in pairs])
        outputs = outputs.astype(np.float64)
        score = criterion.score(outputs, *judges)
        calibration = None if classes is None else Calibration.fit(outputs, *judges)
        predicted = model.predict(new, backend).astype(np.float64)
        final = test_score(criterion, predicted, targets, calibration)
        yield model.number, score, final


def report(rows):
    """Print the mean test score of the cross-validated choice, by what is open."""
    for row in rows:
        row["cv"], row["test"] = float(row["cv_score"]), float(row["test_score"])
    tables = {row["table"]: row["task"] for row in rows}
    lines = []
    options = product([("l2", "l1"), ("l2",), ("l1",)], MULTIPLES)
    for kernels, multiple in options:
        chosen = {"reg": [], "clf": []}
        for table, task in tables.items():
            open_rows = [
                row
                for row in rows
                if row["table"] == table
                and row["kernel"] in kernels
                and float(row["multiple"]) == multiple
            ]
            if open_rows:
                best = max(open_rows, key=lambda row: row["cv"])
                chosen[task].append(best["test"])
        means = [float(np.mean(chosen[task])) for task in ("reg", "clf")]
        lines.append([f"{'+'.join(kernels)}, {multiple:g}*median", *means])
    print(format_table(["open", "R²", "minus log-loss"], lines))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="folder of the open tables")
    parser.add_argument("--tables", nargs="+", default=CHOOSING)
    parser.add_argument(
        "--out", default=Path(__file__).with_name("results") / "defaults.csv"
    )
    parser.add_argument("--report", action="store_true", help="print only")
    args = parser.parse_args()
    records = Records(args.out, FIELDS, KEY)
    tables = {} if args.report else find_tables(args.data)
    for name in [name for name in tables if name in args.tables]:
        table = load_table(name, tables[name], 0, N_TRAIN)
        for kernel, multiple, alpha in product(KERNELS, MULTIPLES, ALPHAS):
            key = (name, kernel, multiple, alpha)
            if records.has(*key, 0):
                continue
            function, diagonal = KERNELS[kernel]
            candidate = Candidate(
                function, alpha, f"{multiple}*median", diagonal=diagonal
            )
            with worker_threads(N_TRAIN):
                for number, score, final in measure(table, candidate):
                    values = dict(zip(KEY, (*key, number), strict=True))
                    records.add(
                        **values, task=table.task, cv_score=score, test_score=final
                    )
        print(name, flush=True)
    report(records.rows)


if __name__ == "__main__":
    main()
