"""One RFM or a tree of them: score, seconds and memory of both, by the rows.

    python benchmarks/tree.py [--data DIR --tables uciR_kin40k] [--rows 2500 5000 ...]
                              [--report]

RFMRegressor at its defaults and XRFMRegressor with leaves of 4000 rows, each fit in a
process of its own that has compiled its loops before. The rows are drawn at random from
a table of DIR, all others are test rows, or from the table with local structure of
scale.py ("local").
"""

import numpy as np
from _experiment import FIT_COSTS, Experiment, in_new_process, peak_memory, timed
from _report import format_table, number
from _tables import find_tables
from scale import make_table

SIZES = (1000, 2500, 5000, 10_000, 20_000, 30_000)
MODELS = ("RFM", "XRFM")
LOCAL, MOST_TEST_ROWS = "local", 10_000


def rows_of(table, data, n):
    """Return training rows and targets, and those of the test; None if too few."""
    if table == LOCAL:
        X, y = make_table(n + MOST_TEST_ROWS, 0)
    else:
        raw = find_tables(data)[table]()
        order = np.random.default_rng(0).permutation(len(raw.X))
        X, y = raw.X[order].astype(np.float32), raw.y[order].astype(np.float64)
    if len(X) < 1.05 * n:
        return None
    test = slice(n, n + MOST_TEST_ROWS)
    return X[:n], y[:n], X[test], y[test]


def measure(name, table, data, n):
    """Return the score, the costs and the memory of one model in this process."""
    from skrfm import RFMRegressor, XRFMRegressor

    found = rows_of(table, data, n)
    if found is None:
        return None
    X, y, X_test, y_test = found
    model = RFMRegressor() if name == "RFM" else XRFMRegressor(max_leaf_size=4000)
    RFMRegressor(random_state=0).fit(X[:300], y[:300])  # compiles, or loads the cache
    model, cost = timed(model.set_params(random_state=0).fit, X, y)
    predicted, prediction = timed(model.predict, X_test)
    return {
        "r2": float(1 - np.mean((predicted - y_test) ** 2) / np.var(y_test)),
        **cost.figures("fit_"),
        **prediction.figures("predict_"),
        "gigabytes": peak_memory() / 2**30,
    }


def run(args, records):
    """Measure both models at each size of each table, in new processes."""
    data = None if args.data is None else str(args.data)
    for table in args.tables or [LOCAL]:
        for n in args.rows:
            for model in MODELS:
                key = {"table": table, "n": n, "model": model}
                call = in_new_process, measure, model, table, data, n
                records.once(key, *call)


def report(rows, args):
    """Print the figures of both models beside each other."""
    both = {}
    for row in rows:
        both.setdefault((row["table"], int(row["n"])), {})[row["model"]] = row
    lines = []
    for (table, n), models in sorted(both.items()):
        if set(models) == set(MODELS):
            figures = [
                number(models[model], name) for name in SHOWN for model in MODELS
            ]
            lines.append([table, n, *figures])
    names = [f"{name} {model}" for name in SHOWN for model in MODELS]
    print(format_table(["table", "n", *names], lines))


SHOWN = ("r2", "fit_cpu_seconds", "gigabytes")
EXPERIMENT = Experiment(
    doc=__doc__,
    key=("table", "n", "model"),
    figures=("r2", *FIT_COSTS, "gigabytes"),
    run=run,
    report=report,
    flags={"data": None, "rows": SIZES, "tables": None},
    out="tree.csv",
)

if __name__ == "__main__":
    EXPERIMENT.main()
