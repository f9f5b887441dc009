"""The figures of the documentation, drawn from the committed results.

    python benchmarks/plots.py [--folder docs/_static/benchmarks]

Nothing is measured: every figure reads files of `results/`, which the scripts named in
`docs/benchmarks.rst` write. `ranks` is also written as PNG, for the README.
"""

import argparse
import csv
from pathlib import Path

import matplotlib
import numpy as np
from _halves import CHOOSING
from _models import AT_DEFAULTS
from _report import complete_tables, fold_means, grouped, mean_of, mean_ranks, number
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

RESULTS = Path(__file__).with_name("results")
FOLDER = Path(__file__).parents[1] / "docs" / "_static" / "benchmarks"
# skrfm in every figure, and what it is compared with
OURS, OTHERS = "#0b5394", "#8d99a6"
PALETTE = ("#c27c0e", "#3d7a4e", "#8a4f7d", "#b0413e", "#5b7f95", "#7a6a53")
LABELS = {
    "rfm": "RFM",
    "catboost": "CatBoost",
    "xrfm": "xRFM",
    "hgb": "HistGradientBoosting",
    "rf": "RandomForest",
    "lightgbm": "LightGBM",
    "xgboost": "XGBoost",
    "uciR_kin40k": "kin40k",
    "uciR_protein": "protein",
    "local": "made up, two parts",
}


def read(name):
    """Return the rows of a file of results."""
    with (RESULTS / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def label(name):
    """Return a name as it is written in figures."""
    return LABELS.get(name, name)


def axes_of(width, height, count=1, **options):
    """Return a figure and a row of axes, without lines above and to the right."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False, **options)[0]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(alpha=0.25, linewidth=0.6)
        one.set_axisbelow(True)
    return figure, axes


def bars(axes, values, title, ours):
    """Draw horizontal bars, the first at the top, with their numbers."""
    names, numbers = list(values), list(values.values())
    colours = [OURS if name == ours else OTHERS for name in names]
    axes.barh(names, numbers, color=colours, height=0.65)
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontsize="medium")
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(left=False)
    for row, value in enumerate(numbers):
        axes.annotate(
            f"{value:.2f}",
            (value, row),
            (4, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_xlim(0, 1.15 * max(numbers))


def log_axis(axis, numbers=None):
    """Make an axis logarithmic, with plain numbers at its ticks."""
    axis.axes.set_xscale("log") if axis.axis_name == "x" else axis.axes.set_yscale(
        "log"
    )
    if numbers is not None:
        axis.set_major_locator(FixedLocator(numbers))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
    axis.set_minor_formatter(NullFormatter())


def best_first(values):
    """Return a dictionary sorted by its values."""
    return dict(sorted(values.items(), key=lambda pair: pair[1]))


def ranks_of(rows, figure, sign=1):
    """Return {model: mean rank} over the tables that all models have."""
    means = fold_means([row for row in rows if not row.get("error")], figure)
    models = sorted({model for scores in means.values() for model in scores})
    tables = complete_tables(means, models)
    scores = [[sign * means[table][model] for model in models] for table in tables]
    ranks = zip(models, mean_ranks(scores), strict=True)
    return len(tables), best_first({label(model): rank for model, rank in ranks})


# -- one function for each figure ------------------------------------------------------


def ranks():
    """Mean ranks at the defaults on the reporting half."""
    rows = [row for row in read("tabular") if row["table"] not in CHOOSING]
    rows = [row for row in rows if row["model"] in AT_DEFAULTS]
    figure, (left, right) = axes_of(9, 3.2, 2)
    count, values = ranks_of(rows, "r2")
    bars(left, values, f"{count} regression tables, R²", "RFM")
    count, values = ranks_of(rows, "log_loss", sign=-1)
    bars(right, values, f"{count} classification tables, log-loss", "RFM")
    figure.suptitle("Mean rank at the defaults (1 is best)", x=0.02, ha="left")
    return figure


def uci():
    """Mean ranks by accuracy in the protocol of the RFM paper."""
    kept = ("RFM", "Laplace", "RandomForest", "HistGB")
    rows = [row for row in read("uci") if row["model"] in kept]
    figure, (axes,) = axes_of(6, 2)
    count, values = ranks_of(rows, "accuracy")
    names = {"Laplace": "Laplace kernel", "HistGB": "HistGradientBoosting"}
    values = {names.get(name, name): value for name, value in values.items()}
    bars(axes, values, f"{count} classification sets: mean rank by accuracy", "RFM")
    return figure


def tree():
    """R² of one RFM and of a tree of them by rows."""
    tables = grouped(read("tree"), "table")
    figure, axes = axes_of(10, 2.9, len(tables))
    for one, (table, rows) in zip(axes, tables.items(), strict=True):
        for model, of_model in grouped(rows, "model").items():
            sizes = [int(row["n"]) for row in of_model]
            scores = [number(row, "r2") for row in of_model]
            colour = OURS if model == "RFM" else PALETTE[0]
            one.plot(sizes, scores, "o-", color=colour, label=model, markersize=4)
        log_axis(one.xaxis, (1000, 3000, 10_000, 30_000))
        one.set_title(label(table), loc="left", fontsize="medium")
        one.set_xlabel("rows")
    axes[0].set_ylabel("R²")
    axes[0].legend(frameon=False, loc="lower right")
    return figure


def scale():
    """R² by the number of rows on a made-up table with local structure."""
    rows = [row for row in read("scale") if row["model"] != "xRFM"]
    figure, (left, right) = axes_of(9, 3.2, 2)
    curves = grouped(rows, "model", "leaf")
    colours = iter(PALETTE)
    for (model, leaf), points in curves.items():
        points = sorted(points, key=lambda row: int(row["n"]))
        sizes = [int(row["n"]) for row in points]
        name = f"{model}, leaves of {leaf}" if "RFM" in model else model
        name = name.replace("leaves of default", "defaults")
        ours = model == "XRFM" and leaf == "default"
        style = {"color": OURS if ours else next(colours), "label": name}
        for axes, figure_name in ((left, "r2"), (right, "fit_seconds")):
            numbers = [number(row, figure_name) for row in points]
            axes.plot(sizes, numbers, "o-", markersize=4, **style)
    for axes, name in ((left, "R²"), (right, "seconds of fit")):
        log_axis(axes.xaxis)
        axes.set_xlabel("rows")
        axes.set_ylabel(name)
    log_axis(right.yaxis)
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=3,
        frameon=False,
    )  # fmt: skip
    return figure


def completion():
    """Errors of completed drug screens."""
    rows = [row for row in read("completion") if row["case"] == "methods"]
    screens = {
        "gdsc_962x228": "962 × 228",
        "gdsc_580x170": "580 × 170",
        "gdsc2019_methyl": "561 × 238",
    }
    figure, axes = axes_of(10, 2.9, len(screens), sharey=True)
    order = None
    for one, (name, size) in zip(axes, screens.items(), strict=True):
        models = grouped([row for row in rows if row["name"] == name], "model")
        errors = {model: mean_of(group, "error") for model, group in models.items()}
        order = order or list(best_first(errors))
        errors = {model: errors[model] for model in order}
        bars(one, errors, f"{size}: error of ln IC50", "LinRFMCompleter")
        if one is not axes[0]:
            one.invert_yaxis()
    return figure


TRANSFERS = {
    ("domain", "MNIST"): "USPS → MNIST, accuracy",
    ("corrupted", "noise 0.2"): "clean → noisy digits, accuracy",
    ("screens", "ctrp from prism"): "PRISM → CTRP drug responses, R²",
}


def transfer():
    """Scores of TransferKernel by the rows of the target."""
    cases = grouped(read("transfer"), "case", "variant")
    figure, axes = axes_of(10, 3.1, len(TRANSFERS))
    styles = {
        "none": ("no transfer", OTHERS),
        "source": ("source alone", PALETTE[0]),
        "auto": ("TransferKernel", OURS),
    }
    for one, (case, title) in zip(axes, TRANSFERS.items(), strict=True):
        models = grouped(cases[case], "model")
        for model, (name, colour) in styles.items():
            groups = grouped(models.get(model, []), "size")
            means = {int(n): mean_of(group, "score") for n, group in groups.items()}
            sizes = sorted(means)
            scores = [means[n] for n in sizes]
            one.plot(sizes, scores, "o-", markersize=4, color=colour, label=name)
        one.set_title(title, loc="left", fontsize="medium")
        one.set_xlabel("cells a drug" if "drug" in title else "rows of the target")
        log_axis(one.xaxis, sizes)
    axes[0].set_ylabel("score on unseen rows")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3,
        frameon=False,
    )  # fmt: skip
    return figure


def inpainting():
    """Peak signal-to-noise ratios of filled pixels, means over the images."""
    masks = grouped(read("inpainting"), "mask")
    models = ("CNTKInpainter", "biharmonic", "LinRFMCompleter")
    colours = (OURS, OTHERS, PALETTE[0])
    figure, (axes,) = axes_of(8, 2.9)
    places = np.arange(len(masks))
    for shift, model, colour in zip((-0.27, 0, 0.27), models, colours, strict=True):
        values = [
            mean_of([row for row in rows if row["model"] == model], "psnr")
            for rows in masks.values()
        ]
        axes.bar(places + shift, values, 0.26, color=colour, label=model)
    axes.set_xticks(places, masks)
    axes.set_ylabel("PSNR in dB")
    axes.grid(visible=False, axis="x")
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=3,
        frameon=False,
    )  # fmt: skip
    return figure


FIGURES = (ranks, uci, tree, scale, completion, transfer, inpainting)


def main(argv=None):
    """Write all figures to a folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, metavar="DIR")
    folder = parser.parse_args(argv).folder
    folder.mkdir(parents=True, exist_ok=True)
    # names inside a file that do not change from run to run
    matplotlib.rcParams["svg.hashsalt"] = "skrfm"
    for draw in FIGURES:
        figure = draw()
        # without a date, so that an unchanged figure is an unchanged file
        figure.savefig(folder / f"{draw.__name__}.svg", metadata={"Date": None})
        if draw is ranks:
            figure.savefig(folder / "ranks.png", dpi=160)
        print(folder / f"{draw.__name__}.svg")


if __name__ == "__main__":
    main()
