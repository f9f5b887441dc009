"""RFMs with kernels of wide networks beside RFMs with the Laplace kernel.

    python benchmarks/tangent.py [--data DIR] [--rows 1000]

Every table is split once; at most so many rows are for training. Ridge and round are
chosen by the estimator's own cross-validation. Scores are R² or accuracy on at most
3000 test rows.
"""

from _experiment import COSTS, TABLE_FLAGS, Experiment, timed
from _report import (
    fold_means,
    format_table,
    grouped,
    mean_ranks,
    print_costs,
    with_mean,
)
from _tables import splits

from skrfm import RFMClassifier, RFMRegressor
from skrfm.kernels import NNGP, NTK

MAX_TEST = 3000
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


def measure(split, kernel):
    """Return the score of one kernel on one table, and the costs."""
    table = split.table
    if table.X_train.shape[1] > MAX_COLUMNS:
        return None
    cls = RFMClassifier if table.task == "clf" else RFMRegressor
    model = cls(kernel=kernel, metric_type="full", scaling=None, random_state=0)

    def fit_and_score():
        model.fit(table.X_train, table.y_train)
        return model.score(table.X_test[:MAX_TEST], table.y_test[:MAX_TEST])

    score, cost = timed(fit_and_score)
    return {"task": table.task, "score": score, **cost.figures()}


def run(args, records):
    """Measure each kernel on each table."""
    for split in splits(args, args.rows):
        for name, kernel in KERNELS.items():
            key = {"table": split.name, "kernel": name, "rows": args.rows}
            records.once(key, measure, split, kernel)


def report(rows, args):
    """Print the scores of each table, mean scores, mean ranks and costs."""
    rows = [row for row in rows if int(row["rows"]) == args.rows]
    by_task = {}
    for task, of_task in sorted(grouped(rows, "task").items()):
        means = fold_means(of_task, "score", "kernel")
        lines = [
            [task, table, *(scores[kernel] for kernel in KERNELS)]
            for table, scores in sorted(means.items())
            if len(scores) == len(KERNELS)
        ]
        by_task[task] = lines
    print(format_table(["task", "table", *KERNELS], sum(by_task.values(), [])))
    for task, lines in by_task.items():
        if lines:
            scores = [line[2:] for line in lines]
            means = with_mean([line[1:] for line in lines])[-1][1:]
            summary = ["mean score", *means], ["mean rank", *mean_ranks(scores)]
            print(f"\n{task}, {len(lines)} tables")
            print(format_table(["", *KERNELS], summary))
    print_costs(rows, "kernel")


EXPERIMENT = Experiment(
    doc=__doc__,
    key=("table", "kernel", "rows"),
    figures=("task", "score", *COSTS),
    run=run,
    report=report,
    flags=TABLE_FLAGS | {"rows": 1000},
    out="tangent.csv",
)

if __name__ == "__main__":
    EXPERIMENT.main()
