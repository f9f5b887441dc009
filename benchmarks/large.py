"""Kernel machines of few centres on Parquet files, beside a tree and boosting.

    python benchmarks/large.py [--rows 100000 1000000] [--models RFM-4000 plain-4000]
                               [--data DIR --tables seattlecrime6] [--folder DIR]

``RFM-4000`` is RFMRegressor with 4000 centres, ``plain-4000`` the same without feature
learning: the first round of its search, with the same solver. ``fixed-2000`` leaves
nothing open: one kernel, one ridge and two rounds, so that its seconds show how they
grow with the rows. All of these read the files in batches, as ``XRFM-1`` does, a tree
with a memory_budget of one gigabyte, which writes the rows of its leaves to files.
``exact``, RFMRegressor with all rows as centres, XRFM and boosting, of the number of
rounds in their names, take the table into memory first, which is not timed.
The made-up table, ``local``, is that of scale.py. Of other tables a fifth of the rows
is held out, and all others are fitted to. Figures are of a process of its own: R², or
the accuracy of a classifier.
"""

import tempfile
from pathlib import Path

import numpy as np
from _experiment import (
    FIT_COSTS,
    Experiment,
    figures_or_none,
    flag,
    in_new_process,
    peak_memory,
    timed,
)
from _report import format_table, growth, number
from _tables import find_tables
from scale import N_TEST, make_table

# rows of a file, and of a row group
_FILE, _GROUP = 250_000, 65_536
# rows of the fit that warms up, and bytes of memory that are touched before
_WARM_ROWS, _TOUCHED = 2000, 6 * 2**30


def write_part(X, y, path):
    """Write rows to a file of Parquet."""
    import pyarrow
    from pyarrow import parquet

    columns = {f"x{j}": column for j, column in enumerate(np.asarray(X).T)}
    table = pyarrow.table(columns | {"y": y})
    parquet.write_table(table, path, row_group_size=_GROUP)


def write_local(folder, rows):
    """Write the made-up table: its first rows are the smaller tables."""
    train = folder / "local" / "train"
    train.mkdir(parents=True, exist_ok=True)
    for number_of_file in range(-(-rows // _FILE)):
        path = train / f"{number_of_file:04d}.parquet"
        if not path.exists():
            X, y = make_table(_FILE, 1000 + number_of_file)
            write_part(X, y, path)
    write_part(*make_table(N_TEST, 1), folder / "local" / "test.parquet")


def write_real(folder, name, read):
    """Write a table of a data folder, with a fifth of the rows held out."""
    (folder / name / "train").mkdir(parents=True, exist_ok=True)
    table = read()
    order = np.random.default_rng(0).permutation(len(table.y))
    cut = len(order) // 5
    X = table.X.astype(np.float32)
    write_part(X[order[:cut]], table.y[order[:cut]], folder / name / "test.parquet")
    train = folder / name / "train" / "0000.parquet"
    write_part(X[order[cut:]], table.y[order[cut:]], train)


def open_rows(folder, name, n):
    """Return the data set of the first rows of a table: a few, or of whole files."""
    from pyarrow import dataset

    files = sorted((Path(folder) / name / "train").glob("*.parquet"))
    if n is None:
        return dataset.dataset(files)
    if n >= _FILE:
        return dataset.dataset(files[: n // _FILE])
    path = Path(folder) / name / f"first_{n}.parquet"
    if not path.exists():
        table = dataset.dataset(files[:1]).head(n)
        from pyarrow import parquet

        parquet.write_table(table, path, row_group_size=_GROUP)
    return dataset.dataset(path)


def in_memory(rows):
    """Return a data set as arrays of its features and targets."""
    table = rows.to_table()
    names = [name for name in table.column_names if name != "y"]
    X = np.column_stack([table[name].to_numpy() for name in names])
    return X, table["y"].to_numpy()


def make_model(name, suffix):
    """Return a model, "Regressor" or "Classifier", and whether it reads files."""
    import skrfm

    kind, _, count = name.partition("-")
    if kind == "HistGB":
        from sklearn import ensemble

        model = getattr(ensemble, f"HistGradientBoosting{suffix}")
        settings = {"max_iter": int(count), "early_stopping": False}
        return model(**settings, random_state=0), False
    if kind == "LightGBM":
        import lightgbm

        model = getattr(lightgbm, f"LGBM{suffix}")
        return model(n_estimators=int(count), n_jobs=2, verbose=-1), False
    if kind == "XRFM":
        budget = float(count) if count else None
        model = getattr(skrfm, f"XRFM{suffix}")
        return model(memory_budget=budget, random_state=0), bool(count)
    if kind == "exact":
        model = getattr(skrfm, f"RFM{suffix}")
        return model(n_centers=None, random_state=0), False
    settings = {"n_centers": int(count), "random_state": 0}
    if kind == "plain":
        settings |= {"max_iter": 0}
    if kind == "fixed":
        settings |= {"kernel": "laplace", "alpha": 0.1, "validation": None}
        settings |= {"max_iter": 2}
    return getattr(skrfm, f"RFM{suffix}")(**settings), True


def warm_up(model, X, y):
    """Fit to few rows, so that code is compiled, or read where it was compiled."""
    from sklearn.base import clone

    small = clone(model)
    if getattr(small, "n_centers", None) is not None:
        small.set_params(n_centers=_WARM_ROWS // 4)
    small.fit(X[:_WARM_ROWS], y[:_WARM_ROWS])


def touch_memory():
    """Write to memory, and free it.

    A virtual machine gets memory from its host when it is first written to, which may
    take more than a second for a gigabyte: kernel matrices of all rows took 6 s, and 3
    after this.
    """
    np.empty(_TOUCHED, dtype=np.uint8)[::4096] = 1


def measure(folder, table, name, n):
    """Return the score, the costs and the memory of one model in this process."""
    from pyarrow import dataset

    rows = open_rows(folder, table, n)
    X_test, y_test = in_memory(dataset.dataset(Path(folder) / table / "test.parquet"))
    suffix = "Regressor" if y_test.dtype.kind == "f" else "Classifier"
    model, reads_files = make_model(name, suffix)
    warm_up(model, X_test, y_test)
    given = (rows, "y") if reads_files else in_memory(rows)
    _, fit_cost = timed(model.fit, *given)
    if reads_files:  # whose names the test rows, an array, do not have
        del model.feature_names_in_
    score, cost = timed(model.score, X_test, y_test)
    return {
        "score": float(score),
        **fit_cost.figures("fit_"),
        **cost.figures("predict_"),
        "gigabytes": peak_memory() / 2**30,
        "rows": rows.count_rows(),
    }


def run(args, records):
    """Write the tables, and measure each model at each size in a new process."""
    with tempfile.TemporaryDirectory() as own:
        folder = Path(args.folder or own)
        sizes = {"local": args.rows}
        if args.data:
            found = find_tables(args.data)
            for name in args.tables or []:
                write_real(folder, name, found[name])
            sizes = {name: [None] for name in args.tables or []}
        else:
            write_local(folder, max(args.rows))
        for table, counts in sizes.items():
            for n in counts:
                for model in args.models:
                    key = {"table": table, "model": model, "n": n or 0}
                    name, given = f"{model} on {table}", (str(folder), table, model, n)
                    if not records.has(key):
                        in_new_process(touch_memory)
                    records.once(key, figures_or_none, name, measure, *given)


def report(rows, args):
    """Print all figures, and how seconds grow with the rows."""
    lines, curves = [], {}
    for row in sorted(rows, key=lambda r: (r["table"], float(r["rows"]), r["model"])):
        figures = [number(row, name) for name in FIGURES[:-1]]
        lines.append([row["table"], int(float(row["rows"])), row["model"], *figures])
        curve = curves.setdefault((row["table"], row["model"]), [])
        curve.append((float(row["rows"]), number(row, "fit_cpu_seconds")))
    print(format_table(["table", "rows", "model", *FIGURES[:-1]], lines))
    for (table, model), points in curves.items():
        if len(points) > 1:
            exponent = growth(*zip(*points, strict=True))
            print(f"{table}, {model}: CPU seconds grow as n to the {exponent:.2f}")


FIGURES = ("score", *FIT_COSTS, "gigabytes", "rows")
EXPERIMENT = Experiment(
    doc=__doc__,
    key=("table", "model", "n"),
    figures=FIGURES,
    run=run,
    report=report,
    flags={
        "rows": (100_000, 1_000_000),
        "models": ("RFM-1000", "RFM-4000", "plain-4000", "XRFM", "HistGB-1000"),
        "data": None,
        "tables": None,
    },
    own_flags=[flag("folder", metavar="DIR", help="where the tables are written")],
    out="large.csv",
)

if __name__ == "__main__":
    EXPERIMENT.main()
