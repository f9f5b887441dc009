"""The scripts of the figures can be started, and print those that are kept."""

import importlib
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
REPORTS = [
    name for name in SCRIPTS if '"--report"' in (FOLDER / f"{name}.py").read_text()
]


@pytest.fixture(autouse=True)
def folder(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_starts(name):
    try:
        assert importlib.import_module(name).__doc__
    except ModuleNotFoundError as error:
        if error.name != "torch":  # of the scripts that only compare with peers
            raise
        pytest.skip(f"{error.name} is not installed")


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_prints_the_rows_that_are_kept(name, monkeypatch, capsys):
    script = FOLDER / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--report"])
    runpy.run_path(str(script), run_name="__main__")
    assert len(capsys.readouterr().out.splitlines()) > 3
