"""The README is short, reads anywhere, and its example runs as it stands."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text("utf-8")


def test_the_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(code, {})
    score, *importances = capsys.readouterr().out.splitlines()
    assert float(score) > 0.4
    assert {line.split()[0] for line in importances[:2]} == {"bmi", "s5"}


def test_it_is_short():
    assert len(TEXT.splitlines()) <= 120


def test_links_and_pictures_do_not_depend_on_where_it_is_read():
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert len(links) > 8
    assert all(link.startswith("https://") for link in links)
    raw = "https://raw.githubusercontent.com/skrfm/skrfm/main/"
    pictures = [link.removeprefix(raw) for link in links if link.startswith(raw)]
    assert pictures and all((ROOT / picture).exists() for picture in pictures)
