"""The command line: ``python -m skrfm complete screen.csv``; it needs pandas."""

import argparse
import base64
import html
import io
import sys
from pathlib import Path

import numpy as np

from . import __version__

# The share of the entries that the reported error is measured on, and the fewest of a
# screen.
_HIDDEN_SHARE, _LEAST_ENTRIES = 0.1, 20
# Half of an interval of ninety percent of a normal distribution.
_WIDTH_OF_90 = 1.645
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Completion of {name}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  body {{ font: 16px/1.5 sans-serif; max-width: 52rem; margin: 2rem auto;
         padding: 0 1rem; color: #222; }}
  table {{ border-collapse: collapse; }}
  td, th {{ padding: .2rem .8rem; border: solid #ddd; border-width: 0 0 1px; }}
  td {{ text-align: right; }}
  img {{ max-width: 100%; }}
</style>
<h1>Completion of {name}</h1>
<p>{shape}</p>
<h2>How accurate it is</h2>
<p>{accuracy}</p>
{pictures}
<h2>What was chosen</h2>
<p>{choice}</p>
{methods}
<h2>Untested pairs, the {order} first</h2>
{ranked}
<p>Made by skrfm {version}.</p>
</html>
"""


class FileError(Exception):
    """A file that cannot be used; its text says what to change."""


# -- files ----------------------------------------------------------------------------


def read(path: Path, separator: str):
    """Return a file as a data frame, indexed by its first column."""
    import pandas as pd

    try:
        frame = pd.read_csv(path, sep=separator, index_col=0)
    except (OSError, ValueError) as error:  # the errors of the parser are ValueErrors
        raise FileError(f"{path} cannot be read: {error}") from error
    if frame.empty:
        raise FileError(
            f"{path} needs a first line with the names of the columns, and lines with "
            f"a name and a cell for each. Cells separated by other than {separator!r} "
            "need --separator."
        )
    frame.index, frame.columns = frame.index.map(str), frame.columns.map(str)
    repeated = frame.index[frame.index.duplicated()]
    if len(repeated):
        raise FileError(
            f"{path} has several lines with the name {repeated[0]!r}: give each a name "
            "of its own, or average them first."
        )
    return frame


def read_screen(path: Path, separator: str):
    """Return the frame of a screen, NaN where a pair is not tested."""
    import pandas as pd

    frame = read(path, separator)
    # pandas renames repeated columns, so they are looked for in the line itself
    line = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str).iloc[0, 1:]
    repeated = line[line.duplicated() & line.notna()]
    if len(repeated):
        raise FileError(
            f"{path} has several columns with the name {repeated.iloc[0]!r}: give each "
            "a name of its own, or average them first."
        )
    numbers = frame.apply(pd.to_numeric, errors="coerce").astype(float)
    wrong = np.argwhere((numbers.isna() & frame.notna()) | np.isinf(numbers))
    if len(wrong):
        i, j = wrong[0]
        raise FileError(
            f"{path}, line of {frame.index[i]!r}, column {frame.columns[j]!r}: "
            f"{frame.iat[i, j]!r} is not a finite number. Leave the cell empty if the "
            "pair is not tested."
        )
    n_observed = np.count_nonzero(numbers.notna())
    if n_observed < _LEAST_ENTRIES:
        raise FileError(
            f"{path} has {n_observed} entries; at least {_LEAST_ENTRIES} are needed."
        )
    if n_observed == numbers.size:
        raise FileError(
            f"{path} has a number in each cell, so there is nothing to complete: leave "
            "cells of pairs that are not tested empty."
        )
    return numbers


def read_features(path: Path | None, names, separator: str, of: str):
    """Return features of some names, standardised; None without a file.

    Columns of text become indicators, and empty cells means.
    """
    import pandas as pd

    if path is None:
        return None
    frame = read(path, separator)
    missing = names.difference(frame.index)
    if len(missing):
        raise FileError(
            f"{path} has no line for {len(missing)} of the {len(names)} {of} of the "
            f"screen, among them {missing[0]!r}: its first column has names of {of}."
        )
    frame = pd.get_dummies(frame.loc[names]).astype(float)
    frame = (frame - frame.mean()).fillna(0.0)
    spread = frame.std(ddof=0)
    if not (spread > 0).any():
        raise FileError(f"{path}: no column differs between the {of} of the screen.")
    return frame.loc[:, spread > 0] / spread[spread > 0]


# -- the report -----------------------------------------------------------------------


def pictures_of(truth, mean, std) -> str:
    """Return pictures of predictions of hidden entries, as HTML."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return "<p>Pictures need matplotlib, the extra <code>plot</code> of skrfm.</p>"
    from sklearn.metrics import PredictionErrorDisplay

    from .inspection import CoverageDisplay

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    PredictionErrorDisplay(y_true=truth, y_pred=mean).plot(
        left, kind="actual_vs_predicted", scatter_kwargs={"alpha": 0.4, "s": 12}
    )
    left.set(xlabel="prediction", ylabel="hidden entry")
    CoverageDisplay.from_predictions(truth, mean, std, ax=right)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<img alt="Hidden entries" src="data:image/png;base64,{data}">'


def report(args, screen, model, held_out, ranked) -> str:
    """Return the page about a completion."""
    import pandas as pd

    truth, mean, std = held_out
    n_rows, n_cols = screen.shape
    n_observed = np.count_nonzero(screen.notna())
    error = np.sqrt(np.mean((truth - mean) ** 2))
    inside = np.mean(np.abs(truth - mean) <= _WIDTH_OF_90 * std)
    methods = pd.DataFrame(
        {
            "R²": model.cv_results_["mean_test_score"],
            "weight": [
                model.weights_.get(name, np.nan if name == "average" else 0.0)
                for name in model.cv_results_["param_method"]
            ],
        },
        index=list(model.cv_results_["param_method"]),
    )
    return _PAGE.format(
        name=html.escape(args.screen.name),
        shape=f"{n_rows} rows and {n_cols} columns, of whose pairs {n_observed} "
        f"({n_observed / screen.size:.0%}) are tested.",
        accuracy=f"{len(truth)} of the tested pairs were hidden, and predicted from "
        f"the others: R² {r2_of(truth, mean):.3f}, correlation "
        f"{np.corrcoef(truth, mean)[0, 1]:.3f}, root mean squared error {error:.4g} "
        f"where the standard deviation is {truth.std():.4g}. {inside:.0%} are inside "
        "of their intervals of 90 %.",
        pictures=pictures_of(truth, mean, std),
        choice=f"Completed by: {html.escape(model.method_)}. R² is that of all "
        "entries, hidden in turn.",
        methods=methods.to_html(na_rep="", float_format="{:.3f}".format),
        order="smallest" if args.smallest else "largest",
        ranked=ranked.to_html(index=False, float_format="{:.4g}".format),
        version=__version__,
    )


# -- the command ----------------------------------------------------------------------


def hide(screen, seed: int):
    """Return a screen with some entries hidden, and the rows and columns of these.

    Rows and columns keep half of their entries.
    """
    known, rng = screen.notna().to_numpy(), np.random.default_rng(seed)
    spare = known.sum(axis=1) // 2, known.sum(axis=0) // 2
    pairs, hidden = np.argwhere(known), []
    for i, j in rng.permutation(pairs)[: round(2 * _HIDDEN_SHARE * len(pairs))]:
        if spare[0][i] and spare[1][j] and len(hidden) < _HIDDEN_SHARE * len(pairs):
            spare[0][i] -= 1
            spare[1][j] -= 1
            hidden.append((i, j))
    rows, cols = np.array(hidden).reshape(-1, 2).T
    values = screen.to_numpy(copy=True)
    values[rows, cols] = np.nan
    return type(screen)(values, screen.index, screen.columns), rows, cols


def r2_of(truth, mean) -> float:
    """Return R² of predictions."""
    return 1 - np.sum((truth - mean) ** 2) / np.sum((truth - truth.mean()) ** 2)


def complete(args: argparse.Namespace) -> str:
    """Complete a screen, write the three files, and return a line about them."""
    screen = read_screen(args.screen, args.separator)
    sep, rows, columns = args.separator, screen.index, screen.columns
    sides = {
        "row_features": read_features(args.row_features, rows, sep, "rows"),
        "col_features": read_features(args.col_features, columns, sep, "columns"),
    }
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{args.output} cannot be made: {error}") from error
    # here, so that help and complaints about files come without a wait
    from .completion import MatrixCompleter, rank_untested

    shown, rows, cols = hide(screen, args.seed)
    model = MatrixCompleter(random_state=args.seed).fit(shown, **sides)
    held_out = (
        screen.to_numpy()[rows, cols],
        *model.predict_entries(rows, cols, return_std=True),
    )
    model = MatrixCompleter(random_state=args.seed).set_output(transform="pandas")
    completed = model.fit_transform(screen, **sides)
    ranked = rank_untested(
        model,
        screen,
        n_pairs=args.rank_untested,
        by=args.by,
        largest=not args.smallest,
    )
    frames = {"completed.csv": completed, "ranked.csv": ranked.set_index("row")}
    for name, frame in frames.items():
        frame.to_csv(args.output / name, sep=args.separator, float_format="%.7g")
    page = report(args, screen, model, held_out, ranked)
    (args.output / "report.html").write_text(page, encoding="utf-8")
    r2 = r2_of(*held_out[:2])
    return (
        f"Completed by: {model.method_} (R² of hidden entries {r2:.3f}). "
        f"{args.output} has completed.csv, ranked.csv and report.html."
    )


def positive(text: str) -> int:
    """Return a number above 0 that is an argument."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer above 0")
    return int(text)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m skrfm", description="Kernel machines that learn features."
    )
    parser.add_argument("--version", action="version", version=f"skrfm {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser(
        "complete",
        help="complete a screen and rank its untested pairs",
        description="Complete a screen: a CSV file whose first line has the names of "
        "the columns, and whose lines have a name and a number for each column, empty "
        "where the pair is not tested. Writes completed.csv, ranked.csv with standard "
        "deviations, and report.html.",
    )
    add = command.add_argument
    add("screen", type=Path, help="the CSV file of the screen")
    add("--row-features", type=Path, metavar="FILE", help="a CSV file, a line a row")
    add("--col-features", type=Path, metavar="FILE", help="the same for the columns")
    add(
        "--rank-untested",
        type=positive,
        default=50,
        metavar="N",
        help="pairs (default: 50)",
    )
    add("--by", choices=["mean", "lower_bound", "expected_improvement"], default="mean")
    add("--smallest", action="store_true", help="small numbers are good ones")
    add("--separator", default=",", help="between cells, or tab (default: a comma)")
    add("--seed", type=int, default=0, help="of the hidden entries (default: 0)")
    add("-o", "--output", type=Path, default=Path("completed"), metavar="FOLDER")
    return parser


def main(argv=None) -> int:
    """Run a command; return 0, or 2 for files that cannot be used."""
    args = make_parser().parse_args(argv)
    args.separator = {"tab": "\t"}.get(args.separator, args.separator)
    try:
        print(complete(args))
    except FileError as error:
        print(f"skrfm: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"skrfm: the command needs {error.name}: install it.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
