"""What fits to Parquet files hold, beside their memory_budget.

    python benchmarks/memory.py [--rows 1000000] [--budgets 0.3 0.5 1] [--folder DIR]

The table is the made-up one of scale.py, with 20 columns in float32, in the files of
large.py. RFMRegressor has one kernel, one ridge and one round with a learned metric,
and takes as many centres as the budget allows, 5000 at most. Each fit runs in a process
of its own. Memory is the peak above what is held when the libraries are imported
(Linux): it has the code in it that is loaded at its first call.
"""

import tempfile
from pathlib import Path

from _experiment import (
    COSTS,
    Experiment,
    figures_or_none,
    flag,
    peak_memory,
    reset_peak_memory,
    timed,
)
from _report import format_table, number
from large import in_memory, open_rows, write_local

_GIGABYTE = 1e9


def measure(folder, n, budget):
    """Return the memory and the costs of a fit in this process."""
    from pyarrow import dataset

    from skrfm import RFMRegressor

    rows = open_rows(folder, "local", n)
    settings = {"kernel": "laplace", "alpha": 0.1, "validation": None, "max_iter": 1}
    model = RFMRegressor(**settings, memory_budget=budget, random_state=0)
    held = reset_peak_memory()
    _, cost = timed(model.fit, rows, "y")
    peak = peak_memory()
    X, y = in_memory(dataset.dataset(Path(folder) / "local" / "test.parquet"))
    del model.feature_names_in_  # which an array does not have
    return {
        **cost.figures(),
        "gigabytes": (peak - held) / _GIGABYTE,
        "gigabytes_before": held / _GIGABYTE,
        "centers": len(model.X_fit_),
        "score": float(model.score(X, y)),
    }


def run(args, records):
    """Write the table, and fit with each budget in a new process."""
    with tempfile.TemporaryDirectory() as own:
        folder = Path(args.folder or own)
        write_local(folder, max(args.rows))
        for n in args.rows:
            for budget in args.budgets:
                key = {"budget": budget, "rows": n}
                name = f"a budget of {budget} GB with {n} rows"
                given = str(folder), n, budget
                records.once(key, figures_or_none, name, measure, *given)


def report(rows, args):
    """Print what each fit held, and its share of the budget."""
    lines = []
    for row in sorted(rows, key=lambda r: (float(r["rows"]), float(r["budget"]))):
        share = number(row, "gigabytes") / float(row["budget"])
        figures = [number(row, name) for name in FIGURES]
        lines.append([row["rows"], row["budget"], share, *figures])
    print(format_table(["rows", "budget", "share held", *FIGURES], lines))


FIGURES = (
    "gigabytes",
    "gigabytes_before",
    "centers",
    "score",
    *COSTS,
)
EXPERIMENT = Experiment(
    doc=__doc__,
    key=("budget", "rows"),
    figures=FIGURES,
    run=run,
    report=report,
    flags={"rows": (1_000_000,)},
    own_flags=[
        flag(
            "budgets",
            nargs="+",
            type=float,
            default=[0.3, 0.5, 1.0],
            help="gigabytes of the parameter memory_budget",
        ),
        flag("folder", metavar="DIR", help="where the table is written"),
    ],
    out="memory.csv",
)

if __name__ == "__main__":
    EXPERIMENT.main()
