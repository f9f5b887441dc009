"""Forecasts of costs by estimate_cost, beside the costs of the fits.

Each case is a table, cut to some rows, and an estimator at its defaults or with a few
parameters. The forecast and the fit run in processes of their own, which make a small
fit before. The memory of a fit is what the process holds at most, less what it holds
before the fit (Linux). The constants of the forecast were chosen by it. Cases of fewer
centres than rows have names with ``centers``; one of them is read in batches.

    python benchmarks/cost.py [--data DIR] [--cases cpu_act made_300]
"""

import gc

import numpy as np
from _experiment import (
    COSTS,
    Experiment,
    in_new_process,
    peak_memory,
    reset_peak_memory,
    timed,
)
from _report import format_table
from _tables import find_tables, load_table
from sklearn.base import clone
from sklearn.datasets import make_classification, make_friedman1

import skrfm
from skrfm.inspection import estimate_cost

# name: table, rows, estimator without its task, precision, parameters
REAL = {
    "credit_g_raw": ("credit_g_raw", 750, "RFM", "float32", {}),
    "geo_origin_music": ("geo_origin_music", 790, "RFM", "float64", {}),
    "space_ga": ("space_ga", 2300, "RFM", "float32", {}),
    "uciR_gas": ("uciR_gas", 2300, "RFM", "float32", {}),
    "qsar_biodeg_cv": ("qsar_biodeg", 400, "RFMCV", "float32", {}),
    "space_ga_cv": ("space_ga", 600, "RFMCV", "float32", {}),
    "theorem": ("first_order_theorem_proving", 4500, "RFM", "float32", {}),
    "cpu_act": ("cpu_act", 6100, "RFM", "float64", {}),
    "houses": ("houses", 15_000, "RFM", "float32", {}),
    "heloc": ("heloc", 7500, "RFM", "float32", {}),
    "houses_loo": ("houses", 1500, "RFM", "float64", {"validation": "loo"}),
    "houses_centers": ("houses", 15_000, "RFM", "float32", {"n_centers": 1500}),
    "elevators_tree": ("elevators", 12_000, "XRFM", "float32", {}),
    "phoneme_tree": ("phoneme", 4000, "XRFM", "float32", {"max_leaf_size": 1500}),
}
BUNDLED = {
    "diabetes": ("diabetes", 331, "RFM", "float64", {}),
    "breast_cancer": ("breast_cancer", 426, "RFM", "float64", {}),
    "digits": ("digits", 1347, "RFM", "float32", {}),
}
# name: task ("reg" or a number of classes), rows, columns, estimator, precision,
# parameters
_ONE = {"kernel": "laplace", "alpha": 0.1, "validation": None}
_FEW = _ONE | {"n_centers": 1000, "max_iter": 2}
_LARGE = {"estimator": skrfm.RFMRegressor(n_centers=1500), "max_leaf_size": 25_000}
MADE = {
    "made_5": ("reg", 300, 5, "RFM", "float64", {}),
    "made_300": ("reg", 3000, 300, "RFM", "float32", {}),
    "made_300_classes": (2, 1500, 300, "RFM", "float64", {}),
    "made_26_classes": (26, 2000, 600, "RFM", "float32", {}),
    "made_one_kernel": ("reg", 15_000, 20, "RFM", "float32", _ONE),
    "made_centers": ("reg", 60_000, 20, "RFM", "float32", _ONE | {"n_centers": 2000}),
    "made_centers_search": ("reg", 40_000, 10, "RFM", "float32", {"n_centers": 1000}),
    "made_centers_read": ("reg", 400_000, 20, "RFM", "float32", _FEW),
    "made_centers_tree": ("reg", 50_000, 20, "XRFM", "float32", _LARGE),
    "made_budget": ("reg", 8000, 20, "RFM", "float32", {"time_budget": 3}),
    "made_budget_15": ("reg", 120_000, 20, "RFM", "float32", {"time_budget": 15}),
    "made_budget_30": ("reg", 120_000, 20, "RFM", "float32", {"time_budget": 30}),
}
MEASURES = (*COSTS, "memory")
_MEGABYTE = 2**20


def load(case, data):
    """Return the rows, the targets and the estimator of a case."""
    if case in MADE:
        task, rows, columns, name, dtype, parameters = MADE[case]
        parameters = {"random_state": 0} | parameters
        if task == "reg":
            X, y = make_friedman1(rows, columns, noise=1.0, random_state=0)
        else:
            X, y = make_classification(
                rows, columns, n_informative=8, n_classes=task, random_state=0
            )
        X = X.astype(dtype)
    else:
        table, rows, name, dtype, parameters = (REAL | BUNDLED)[case]
        read = find_tables(None if case in BUNDLED else data)[table]
        loaded = load_table(table, read, 0, rows)
        X, y, task = loaded.raw_train.astype(dtype), loaded.y_train, loaded.task
        parameters = {"random_state": 0} | parameters
        if name != "XRFM":
            parameters["categorical_features"] = loaded.categorical
    kind = "Regressor" if task == "reg" else "Classifier"
    name, cv = (name[:-2], "CV") if name.endswith("CV") else (name, "")
    return X, y, getattr(skrfm, f"{name}{kind}{cv}")(**parameters)


def _warm_up(X, y, estimator):
    """Make a small fit, so that code is compiled and loaded."""
    rows = np.random.default_rng(0).permutation(len(X))[:1100]
    small = type(estimator)(random_state=0)
    if hasattr(small, "n_candidates"):
        small.set_params(n_candidates=4)
        rows = rows[:200]
    small.fit(X[rows], y[rows])
    machine = getattr(estimator, "estimator", estimator)
    if getattr(machine, "n_centers", "auto") != "auto":
        small = clone(machine).set_params(n_centers=300, kernel="laplace")
        small.fit(X[rows], y[rows])
    gc.collect()


def forecast(case, data):
    """Return the forecast of a case, and the seconds that it took."""
    X, y, estimator = load(case, data)
    _warm_up(X, y, estimator)
    found, cost = timed(estimate_cost, estimator, X, y)
    figures = {f"forecast_{name}": getattr(found, name) for name in MEASURES}
    return {"estimate_seconds": cost.seconds, **figures}


def fit(case, data):
    """Return the costs of the fit of a case."""
    X, y, estimator = load(case, data)
    _warm_up(X, y, estimator)
    held = reset_peak_memory()
    _, cost = timed(estimator.fit, X, y)
    shape = {"rows": X.shape[0], "columns": X.shape[1]}
    return {**shape, **cost.figures(), "memory": peak_memory() - held}


def run(args, records):
    """Measure the cases that the flags choose."""
    cases = args.cases or [*MADE, *BUNDLED, *(REAL if args.data else ())]
    for case in cases:
        key = {"case": case}
        if not records.has(key):
            figures = in_new_process(forecast, case, args.data)
            records.add(key, figures | in_new_process(fit, case, args.data))


def report(rows, args):
    """Print the ratios of forecasts to measurements."""
    lines, outside = [], 0
    for row in rows:
        ratios = [float(row[f"forecast_{m}"]) / float(row[m]) for m in MEASURES]
        outside += sum(not 0.5 <= ratio <= 2 for ratio in ratios)
        shown = [f"{ratio:.2f}" for ratio in ratios]
        taken = [float(row[name]) for name in ("estimate_seconds", *COSTS)]
        megabytes = f"{float(row['memory']) / _MEGABYTE:.0f}"
        lines.append(
            [row["case"], row["rows"], row["columns"]]
            + [f"{seconds:.2f}" for seconds in taken]
            + [megabytes, *shown]
        )
    header = ["case", "rows", "columns", "forecasting s", "fit s", "fit CPU s", "MB"]
    print(format_table([*header, *(f"ratio of {m}" for m in MEASURES)], lines))
    print(f"{outside} of {len(lines) * len(MEASURES)} ratios are beyond a factor of 2")


EXPERIMENT = Experiment(
    doc=__doc__,
    key=("case",),
    figures=(
        "rows",
        "columns",
        "estimate_seconds",
        *MEASURES,
        *(f"forecast_{name}" for name in MEASURES),
    ),
    run=run,
    report=report,
    flags={"data": None, "cases": None},
    out="cost.csv",
)

if __name__ == "__main__":
    EXPERIMENT.main()
