"""The check of links between the pages of the documentation finds what is broken."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "docs" / "check_links.py"


def check(folder):
    """Return the exit code of the check, and what it prints."""
    command = [sys.executable, SCRIPT, folder]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines()


def test_links_to_files_folders_and_anchors(tmp_path):
    (tmp_path / "guide").mkdir()
    (tmp_path / "logo.svg").write_text("<svg/>")
    (tmp_path / "guide" / "index.html").write_text('<h1 id="top">Guide</h1>')
    (tmp_path / "index.html").write_text(
        '<a name="here"></a> <a href="#here">a</a> <a href="guide/#top">b</a>'
        '<a href="guide/index.html">c</a> <a href="https://nowhere.invalid/x">d</a>'
        '<img src="logo.svg">'
    )
    assert check(tmp_path) == (0, [])
    with (tmp_path / "guide" / "index.html").open("a") as page:
        page.write('<a href="../index.html#gone"></a> <img src="../gone.svg">')
        page.write('<a href="#bottom"></a>')
    code, lines = check(tmp_path)
    assert code == 1
    assert lines == [
        "guide/index.html: #bottom",
        "guide/index.html: ../gone.svg",
        "guide/index.html: ../index.html#gone",
    ]
    assert check(tmp_path / "guide" / "none")[0] == 1
