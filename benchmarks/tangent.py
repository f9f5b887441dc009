"""RFMs with kernels of wide networks beside RFMs with the Laplace kernel.

    python benchmarks/tangent.py [--data DIR] [--rows 1000]

Every table is split once; at most so many rows are for training. Ridge and round are
chosen by the estimator's own cross-validation. Scores are R² or accuracy on at most
3000 test rows. Figures that are in the CSV file are not run again.
"""

import argparse
from pathlib import Path
from time import perf_counter

import numpy as np
from _records import Records, format_table
from _tables import find_tables, load_table
from scipy.stats import rankdata

from skrfm import RFMClassifier, RFMRegressor
from skrfm.kernels import NNGP, NTK

N_TEST = 3000
# tables whose one-hot categories make more columns are left out: they take minutes
MAX_COLUMNS = 300
KERNELS = {
    "laplace": "laplace",
    "NTK(1)": NTK(),
    "NTK(3)": NTK(depth=3),
    "NTK(1), bias 0.5": NTK(bias=0.5),
    "NTK(3), bias 0.5": NTK(depth=3, bias=0.5),
    "NNGP(1), bias 0.5": NNGP(bias=0.5),
}
KEY = ("table", "kernel", "rows")
FIELDS = (*KEY, "task", "score", "seconds")


def measure(table, kernel):
    """Return (score, seconds) of one kernel on one table."""
    cls = RFMClassifier if table.task == "clf" else RFMRegressor
    start = perf_counter()
    settings = {"metric_type": "full", "scaling": None, "random_state": 0}
    model = cls(kernel=kernel, **settings)
    model.fit(table.X_train, table.y_train)
    score = model.score(table.X_test[:N_TEST], table.y_test[:N_TEST])
    return score, perf_counter() - start


def report(rows):
    """Print a table of scores, and mean scores and ranks."""
    scores = {}
    for row in rows:
        name = row["task"], row["table"]
        scores.setdefault(name, {})[row["kernel"]] = float(row["score"])
    complete = {k: v for k, v in sorted(scores.items()) if len(v) == len(KERNELS)}
    lines = [[*name, *(v[k] for k in KERNELS)] for name, v in complete.items()]
    print(format_table(["task", "table", *KERNELS], lines))
    for task in ("reg", "clf"):
        S = np.array(
            [[v[k] for k in KERNELS] for (t, _), v in complete.items() if t == task]
        )
        if len(S):
            means = ["mean score", *S.mean(axis=0).tolist()]
            ranks = ["mean rank", *rankdata(-S, axis=1).mean(axis=0).tolist()]
            print(f"\n{task}, {len(S)} tables")
            print(format_table(["", *KERNELS], [means, ranks]))
    seconds = [
        sum(float(row["seconds"]) for row in rows if row["kernel"] == kernel)
        for kernel in KERNELS
    ]
    print("\n" + format_table(["", *KERNELS], [["seconds, all tables", *seconds]]))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="folder of the open tables")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--report", action="store_true", help="run nothing, print")
    results = Path(__file__).with_name("results") / "tangent.csv"
    parser.add_argument("--results", type=Path, default=results)
    args = parser.parse_args()
    records = Records(args.results, FIELDS, KEY)
    tables = {} if args.report else find_tables(args.data)
    for name, read in tables.items():
        todo = [k for k in KERNELS if not records.has(name, k, args.rows)]
        table = load_table(name, read, 0, args.rows) if todo else None
        if table is None or table.X_train.shape[1] > MAX_COLUMNS:
            continue
        for kernel in todo:
            score, seconds = measure(table, KERNELS[kernel])
            figures = {"task": table.task, "score": score, "seconds": seconds}
            records.add(table=name, kernel=kernel, rows=args.rows, **figures)
            print(name, kernel, figures, flush=True)
    report(records.rows)


if __name__ == "__main__":
    main()
