"""Benchmark scripts: help texts, reports of the kept figures, and what they share."""

import csv
import importlib
import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
REPORTS = sorted(path.stem for path in (FOLDER / "results").glob("*.csv"))
# rows of other flags: the script and the models
FURTHER = {
    "tuned": ("tabular", "rfm_tuned", "catboost_tuned", "lightgbm_tuned"),
    "calibration_10000": ("calibration", "default"),
}
REPORTS = [name for name in REPORTS if name not in FURTHER]


@pytest.fixture(autouse=True)
def folder(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


def run_script(name, monkeypatch, *arguments):
    """Run a script as the main program of this process."""
    script = FOLDER / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(script), *arguments])
    runpy.run_path(str(script), run_name="__main__")


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_describes_a_script_and_all_of_its_flags(name, monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        run_script(name, monkeypatch, "--help")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    module = importlib.import_module(name)
    assert module.__doc__.splitlines()[0] in text
    if hasattr(module, "EXPERIMENT"):
        flags = module.EXPERIMENT.all_flags()
        assert {"threads", "out", "report"} <= {flag.name for flag in flags}
        assert all(flag.options["help"] for flag in flags)


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_prints_the_rows_that_are_kept(name, monkeypatch, capsys):
    run_script(name, monkeypatch, "--report")
    assert len(capsys.readouterr().out.splitlines()) > 3


@pytest.mark.parametrize("name", FURTHER)
def test_rows_of_other_flags_are_reported(name, monkeypatch, capsys):
    script, *models = FURTHER[name]
    kept = str(FOLDER / "results" / f"{name}.csv")
    run_script(script, monkeypatch, "--report", "--out", kept, "--models", *models)
    out = capsys.readouterr().out
    assert all(model in out for model in models)


def test_plots_draws_every_figure_of_the_documentation(tmp_path, monkeypatch):
    run_script("plots", monkeypatch, "--folder", str(tmp_path))
    page = (FOLDER.parent / "docs" / "benchmarks.rst").read_text("utf-8")
    named = set(re.findall(r"_static/benchmarks/(\w+\.svg)", page))
    drawn = {path.name for path in tmp_path.glob("*.svg")}
    kept = {path.name for path in (FOLDER.parent / "docs/_static/benchmarks").iterdir()}
    assert named == drawn
    assert kept == drawn | {"ranks.png"}


@pytest.fixture(scope="module")
def ranks_at_defaults():
    """The number of tables and the ranks of the models, by score."""
    sys.path.insert(0, str(FOLDER))
    tabular, plots = (importlib.import_module(name) for name in ("tabular", "plots"))
    sys.path.remove(str(FOLDER))
    rows = [row for row in plots.read("tabular") if row["table"] not in plots.CHOOSING]
    rows = [row for row in rows if row["model"] in tabular.AT_DEFAULTS]
    signs = {"r2": 1, "accuracy": 1, "log_loss": -1}
    return {score: plots.ranks_of(rows, score, sign) for score, sign in signs.items()}


def page_of(name):
    """Return the text of a page, with single spaces."""
    return " ".join((FOLDER.parent / name).read_text("utf-8").split())


def test_the_table_of_ranks_has_those_of_the_kept_rows(ranks_at_defaults):
    page = page_of("docs/benchmarks.rst").partition("* - mean rank by - ")[2]
    full_names = {"HistGB": "HistGradientBoosting", "Random Forest": "RandomForest"}
    models = page.partition(" * - ")[0].split(" - ")
    models = [full_names.get(name, name) for name in models]
    for label, score in (
        ("R²", "r2"),
        ("accuracy", "accuracy"),
        ("log-loss", "log_loss"),
    ):
        count, ranks = ranks_at_defaults[score]
        line = re.search(rf"\* - {label}, (\d+) tables((?: - [\d.*]+)+)", page)
        shown = line[2].replace("*", "").split(" - ")[1:]
        assert int(line[1]) == count
        assert dict(zip(models, shown, strict=True)) == {
            model: f"{rank:.1f}" for model, rank in ranks.items()
        }


def test_the_ranks_in_texts_are_those_of_the_kept_rows(ranks_at_defaults):
    (_, by_r2), (_, by_loss) = (ranks_at_defaults[s] for s in ("r2", "log_loss"))
    ours, theirs = f"{by_r2['RFM']:.1f}", f"{by_r2['CatBoost']:.1f}"
    losses = f"{by_loss['CatBoost']:.1f} of seven; RFM {by_loss['RFM']:.1f}"
    for page, phrase in (
        ("README.md", f"by R² is {ours} among seven models, CatBoost's is {theirs};"),
        ("docs/index.rst", f"Mean rank {ours} among seven models by R² on 12 held-out"),
        ("docs/comparison.rst", f"mean rank by R² is {ours}, CatBoost's {theirs}."),
        ("docs/comparison.rst", f"the best mean rank ({losses})."),
    ):
        assert phrase in page_of(page)


def test_the_readme_has_every_script_and_commands_that_parse():
    text = (FOLDER / "README.md").read_text()
    commands = re.findall(r"`([a-z_]+)\.py( [^`]*)?`", text)
    assert {name for name, _ in commands} >= set(SCRIPTS)
    for name, arguments in commands:
        module = importlib.import_module(name)
        if hasattr(module, "EXPERIMENT"):
            module.EXPERIMENT.parse(shlex.split(arguments))


def test_records_are_resumed_and_columns_are_added_to_old_files(tmp_path, capsys):
    experiment = importlib.import_module("_experiment")
    path = tmp_path / "figures.csv"
    path.write_text("table,score,kept\nwine,0.5,x\n")
    fields = "table", "score", "cpu_seconds"
    records = experiment.Records(path, fields, ("table",))
    for table in ("wine", "digits"):
        records.once({"table": table}, lambda: {"score": 0.25, "cpu_seconds": 2.0})
    assert "digits {'score': 0.25, 'cpu_seconds': 2.0}" in capsys.readouterr().out
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == experiment.Records(path, fields, ("table",)).rows
    assert rows == [
        {"table": "wine", "score": "0.5", "kept": "x", "cpu_seconds": ""},
        {"table": "digits", "score": "0.25", "kept": "", "cpu_seconds": "2.0"},
    ]


def test_a_new_process_returns_figures_or_its_error():
    experiment = importlib.import_module("_experiment")
    importlib.import_module("_halves")
    assert experiment.in_new_process(experiment.peak_memory) > 0
    with pytest.raises(experiment.ProcessError, match="unexpected keyword|argument"):
        experiment.in_new_process(experiment.peak_memory, 1)


def test_a_fit_passes_through_few_modules_and_calls():
    modules, stack = importlib.import_module("fit_trace").trace_fit(200, 5)
    assert "rfm/_base.py" in modules
    assert stack[0].endswith(".fit")
    assert 1 < len(modules) <= 28
    assert 1 < len(stack) <= 16


@pytest.fixture(scope="module")
def small_table():
    """A Table of two classes, of few rows."""
    sys.path.insert(0, str(FOLDER))
    tables = importlib.import_module("_tables")
    sys.path.remove(str(FOLDER))
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3)).astype(np.float32)
    y = (X[:, 0] + 0.3 * rng.normal(size=80) > 0).astype(int)
    return tables.Table(
        name="small",
        task="clf",
        X_train=X[:60],
        y_train=y[:60],
        X_test=X[60:],
        y_test=y[60:],
        raw_train=X[:60],
        raw_test=X[60:],
        categorical=None,
    )


def test_calibration_measures_the_outputs_on_validation_rows(small_table):
    calibration = importlib.import_module("calibration")
    losses, cost = calibration.measure("default", small_table)
    assert set(losses) == set(calibration.OPTIONS)
    assert all(np.isfinite(loss) for loss in losses.values())
    assert cost.seconds > 0


def test_defaults_measures_the_rounds_of_a_candidate(small_table):
    defaults = importlib.import_module("defaults")
    kernel, diagonal = defaults.KERNELS["l2"]
    candidate = defaults.Candidate(kernel, 0.1, "2.0*median", diagonal=diagonal)
    problem = defaults.Problem.from_table(small_table)
    rounds = list(defaults.measure(problem, candidate))
    assert [number for number, _, _ in rounds] == list(range(len(rounds)))
    assert np.isfinite(rounds).all()


def test_private_names_that_scripts_replace_exist():
    search, splits = map(importlib.import_module, ("search", "splits"))
    assert issubclass(search.UnsharedDistances, search._prepared.Distances)
    assert splits._leaves.DIRECTIONS >= max(splits.RULES.values())
