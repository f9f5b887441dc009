"""The command line: from CSV files to a completed screen, a ranking and a report."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from skrfm.__main__ import hide, main


def made_up_screen(n_rows=24, n_cols=14, seed=0):
    """Return a screen in which rows have features, and their features."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n_rows, 4))
    full = np.tanh(features @ rng.normal(size=(4, n_cols))) + rng.normal(size=n_cols)
    full += 0.05 * rng.normal(size=full.shape)
    rows = [f"drug {k}" for k in range(n_rows)]
    screen = pd.DataFrame(full, rows, [f"cell {k}" for k in range(n_cols)])
    screen = screen.where(rng.random(full.shape) < 0.6)
    screen.index.name = "compound"
    table = pd.DataFrame(features, rows, ["a", "b", "c", "d"])
    table["kind"] = np.where(features[:, 0] > 0, "acid", "base")
    table.iloc[3, 1] = np.nan
    return screen, table


@pytest.fixture
def files(tmp_path):
    screen, table = made_up_screen()
    screen.to_csv(tmp_path / "screen.csv")
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "rows.csv")
    return tmp_path, screen


def run(*args):
    return main(["complete", *map(str, args)])


@pytest.mark.parametrize("separator", [",", "tab"])
def test_three_files(files, separator, capsys):
    folder, screen = files
    if separator == "tab":
        screen.to_csv(folder / "screen.csv", sep="\t")
        features = ()
    else:
        features = "--row-features", folder / "rows.csv"
    code = run(
        folder / "screen.csv",
        *features,
        *("--rank-untested", 7, "--separator", separator, "-o", folder / "out"),
    )
    assert code == 0 and "R² of hidden entries" in capsys.readouterr().out
    sep = "\t" if separator == "tab" else ","
    completed = pd.read_csv(folder / "out" / "completed.csv", sep=sep, index_col=0)
    assert completed.index.name == "compound"
    assert list(completed.columns) == list(screen.columns)
    assert completed.notna().all(axis=None)
    known = screen.notna().to_numpy()
    assert_allclose(completed.to_numpy()[known], screen.to_numpy()[known], rtol=1e-6)
    ranked = pd.read_csv(folder / "out" / "ranked.csv", sep=sep)
    assert len(ranked) == 7 and (ranked["std"] > 0).all()
    assert ranked["mean"].is_monotonic_decreasing
    for row, column in zip(ranked["row"], ranked["column"], strict=True):
        assert np.isnan(screen.loc[row, column])
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert "data:image/png;base64" in page and "R²" in page
    assert ("row features" in page) == bool(features)


def test_small_numbers_first_and_no_pictures(files, monkeypatch):
    folder, _ = files
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run(folder / "screen.csv", "--smallest", "-o", folder) == 0
    ranked = pd.read_csv(folder / "ranked.csv")
    assert len(ranked) == 50 and ranked["mean"].is_monotonic_increasing
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "extra <code>plot</code>" in page and "data:image" not in page


# a screen without an empty cell
FULL = "name,a,b\n" + "".join(f"{i},{i}.5,{i * i}\n" for i in range(20))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("drug 2,", "drug 1,", 1), "several lines"),
        (lambda text: text.replace("\ndrug 5,", "\ndrug 5,much", 1), "'drug 5'.*'much"),
        (lambda text: text.replace(",", ";"), "--separator"),
        (lambda text: "\n".join(text.split("\n")[:2]), "at least 20 are needed"),
        (lambda text: "", "cannot be read"),
        (lambda text: text.replace("cell 3", "cell 2", 1), "several columns.*'cell 2'"),
        (lambda text: FULL, "number in each cell"),
    ],
)
def test_a_bad_screen(change, message, files, capsys):
    folder, _ = files
    path = folder / "screen.csv"
    path.write_text(change(path.read_text()))
    assert run(path, "-o", folder / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("skrfm: ")
    assert pd.Series(line).str.contains(message).all()
    assert not (folder / "out").exists()


@pytest.mark.parametrize("number", ["0", "-3", "2.5", "all"])
def test_a_number_of_pairs_that_cannot_be_ranked(number, files, capsys):
    folder, _ = files
    with pytest.raises(SystemExit):
        run(folder / "screen.csv", f"--rank-untested={number}", "-o", folder / "out")
    message = f"--rank-untested: '{number}' is not an integer above 0"
    assert message in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_bad_features(files, capsys):
    folder, _ = files
    path = folder / "rows.csv"
    path.write_text("\n".join(path.read_text().split("\n")[:-2]))
    args = folder / "screen.csv", "--row-features", path, "-o", folder / "out"
    assert run(*args) == 2
    assert "no line for 1 of the 24 rows" in capsys.readouterr().err
    pd.DataFrame({"a": 1.0}, made_up_screen()[0].index).to_csv(path)
    assert run(*args) == 2
    assert "no column differs" in capsys.readouterr().err


def test_no_file(tmp_path, capsys):
    assert run(tmp_path / "nothing.csv") == 2
    assert "nothing.csv cannot be read" in capsys.readouterr().err


def test_hidden_entries_leave_half_of_each_row_and_column():
    screen, _ = made_up_screen(seed=1)
    shown, rows, cols = hide(screen, 0)
    known = screen.notna().to_numpy()
    assert known[rows, cols].all() and len(rows) == pytest.approx(
        known.sum() / 10, abs=1
    )
    assert shown.isna().to_numpy()[rows, cols].all()
    for axis in (0, 1):
        assert (2 * shown.notna().sum(axis=axis) >= screen.notna().sum(axis=axis)).all()


def test_help_without_loading_estimators():
    code = """
import runpy, sys
try:
    runpy.run_module("skrfm", run_name="__main__")
except SystemExit:
    print({"sklearn", "numba"} & set(sys.modules))
"""
    command = [sys.executable, "-c", code, "complete", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--row-features" in done.stdout
    assert done.stdout.splitlines()[-1] == "set()"
