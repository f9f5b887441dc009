"""Coverage of the intervals of completed entries, on held-out entries of drug screens.

A fifth of the measured entries is held out. Of each completer: the share of them inside
the intervals that should hold 90 % (the prediction plus and minus 1.645 standard
deviations), the same for the fourth of the entries with the smallest and the largest
standard deviations, the rank correlation of standard deviations with the size of
errors, and the mean negative logarithm of the predicted density.

    python benchmarks/intervals.py --data DIR [--cases response davis prism] [--report]

``response`` is ln IC50 of cell lines × drugs (``DIR/drug_response/gdsc_580x170.npz``),
``methyl`` another release of it (``gdsc2019_methyl.npz``), ``davis`` the affinity of
drugs × kinases (``DIR/bioassay/davis.npz``), and ``prism``, ``ctrp`` and ``gdsc`` the
viability of the same cells × drugs in three screens
(``DIR/transfer_drug/prism_ctrp_gdsc_318x84.npz``).
"""

from pathlib import Path

import numpy as np
from _experiment import Experiment, timed
from _report import format_table, grouped, mean_of
from _screens import standardised
from scipy.stats import norm, spearmanr

from skrfm import LinRFMCompleter, MatrixCompleter, NTKMatrixCompleter

LEVEL = 0.9
MODELS = {
    "LinRFM": (LinRFMCompleter(random_state=0), ()),
    "LinRFM, rank at most 10": (LinRFMCompleter(random_state=0, max_rank=10), ()),
    "NTK, entries": (NTKMatrixCompleter(random_state=0), ()),
    "NTK, features": (NTKMatrixCompleter(random_state=0), ("rows",)),
    "NTK after LinRFM, features": (
        NTKMatrixCompleter(
            random_state=0, first_completer=LinRFMCompleter(random_state=0)
        ),
        ("rows",),
    ),
    "NTK, both sides": (
        NTKMatrixCompleter(random_state=0, prior_identity=1.0),
        ("rows", "columns"),
    ),
    "MatrixCompleter": (MatrixCompleter(random_state=0), ("rows", "columns")),
}


def load(case, data):
    """Return a matrix, and what completers take for its rows and columns."""
    if case == "davis":
        with np.load(Path(data) / "bioassay" / "davis.npz") as file:
            rows = {"row_features": file["row_features"].astype(float)}
            columns = {"col_kernel": file["col_kernel"].astype(float)}
            return file["Y"].astype(float), {"rows": rows, "columns": columns}
    path, name, features = {
        "response": ("drug_response/gdsc_580x170.npz", "Y", "row_expression"),
        "methyl": ("drug_response/gdsc2019_methyl.npz", "Y", "row_features"),
    }.get(
        case,
        ("transfer_drug/prism_ctrp_gdsc_318x84.npz", f"{case}_auc", "row_expression"),
    )
    with np.load(Path(data) / path) as file:
        rows = {"row_features": standardised(file[features].astype(float))}
        columns = {"col_features": file["col_features"].astype(float)}
        return file[name].astype(float), {"rows": rows, "columns": columns}


def measure(completer, Y, sides, seed):
    """Return the figures of a completer on entries that are held out."""
    hidden = ~np.isnan(Y) & (np.random.RandomState(seed).rand(*Y.shape) < 0.2)
    rows, cols = np.nonzero(hidden)

    def predict():
        completer.fit(np.where(hidden, np.nan, Y), **sides)
        return completer.predict_entries(rows, cols, return_std=True)

    (mean, std), cost = timed(predict)
    error = np.abs(Y[hidden] - mean)
    inside = error <= norm.ppf((1 + LEVEL) / 2) * std
    least, most = np.quantile(std, [0.25, 0.75])
    kept = std > 0  # columns whose entries are all equal have none
    density = norm.logpdf(error[kept], scale=std[kept])
    return {
        "coverage": inside.mean(),
        "smallest": inside[std <= least].mean(),
        "largest": inside[std >= most].mean(),
        "correlation": spearmanr(std, error).statistic,
        "nll": -np.mean(density),
        "rmse": np.sqrt(np.mean(error**2)),
        **cost.figures(),
    }


def run(args, records):
    """Measure the cases."""
    for case in args.cases:
        Y, sides = load(case, args.data)
        for seed in range(args.seeds):
            for model in args.models:
                completer, names = MODELS[model]
                key = {"case": case, "model": model, "seed": seed}
                given = {k: v for name in names for k, v in sides[name].items()}
                records.once(key, measure, completer, Y, given, seed)


def report(rows, args):
    """Print the means over the seeds of each case."""
    for case, of_case in grouped(rows, "case").items():
        lines = [
            [model, len(group), *(mean_of(group, name) for name in FIGURES)]
            for model, group in grouped(of_case, "model").items()
        ]
        print("\n" + format_table([case, "runs", *FIGURES], lines))


CASES = ("response", "methyl", "davis", "prism", "ctrp", "gdsc")
FIGURES = (
    "coverage",
    "smallest",
    "largest",
    "correlation",
    "nll",
    "rmse",
    "seconds",
    "cpu_seconds",
)
EXPERIMENT = Experiment(
    doc=__doc__,
    key=("case", "model", "seed"),
    figures=FIGURES,
    run=run,
    report=report,
    flags={"seeds": 1},
    choices={"cases": CASES, "models": MODELS},
    out="intervals.csv",
    needs_data=True,
)

if __name__ == "__main__":
    EXPERIMENT.main()
