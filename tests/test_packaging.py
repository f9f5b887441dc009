"""Metadata, pinned tools, and the files that a distribution has to hold."""

import re
from configparser import ConfigParser
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = ["CONTRIBUTING.md", "README.md", "docs/architecture.rst"]


@pytest.fixture(scope="module")
def config():
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements(config, extra):
    return config["options.extras_require"][extra].split()


def test_the_package_has_its_sources_of_gpu_code_and_a_mark_of_its_types():
    package = files("skrfm")
    assert package.joinpath("py.typed").is_file()
    names = {path.name for path in package.joinpath("_jit", "_cuda").iterdir()}
    assert {"entries.cu", "images.cu", "pairs.cu"} <= names


def test_tools_are_pinned_alike(config):
    pins = [line for line in requirements(config, "test") if "==" in line]
    names = sorted(pin.split("==")[0] for pin in pins)
    assert names == ["codespell", "pyright", "ruff"]
    hooks = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    hooked = set(re.findall(r"[a-z]+==[\d.]+", hooks))
    assert len(hooked) == 2 and hooked <= set(pins)


def test_the_recipe_for_conda_needs_what_the_package_needs(config):
    recipe = (ROOT / ".ci" / "conda-forge" / "recipe.yaml").read_text("utf-8")
    run = recipe.partition("  run:\n")[2].partition("\ntests:")[0]
    found = {line.strip(" -").replace(" ", "") for line in run.splitlines()}
    needed = set(config["options"]["install_requires"].split())
    assert found - {""} == needed | {"python>=${{python_min}}"}
    minimum = config["options"]["python_requires"].removeprefix(">=")
    assert f'python_min: "{minimum}"' in recipe
    (setuptools,) = re.findall(r"setuptools ?>=\d+", recipe)
    assert setuptools.replace(" ", "") in (ROOT / "pyproject.toml").read_text("utf-8")


def test_links_of_the_metadata(config):
    links = config["metadata"]["project_urls"].strip().splitlines()
    names = [link.split(" = ")[0] for link in links]
    assert names == ["Documentation", "Changelog", "Source", "Tracker"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_that_a_document_names_exist(document):
    text = (ROOT / document).read_text("utf-8")
    names = re.findall(r"`((?:skrfm|tests|benchmarks|docs)/[\w./]*)`", text)
    missing = {name for name in names if not (ROOT / name).exists()}
    if not (ROOT / "skrfm").exists():  # the tests of a wheel
        missing = {name for name in missing if not name.startswith("skrfm/")}
    assert not missing
