"""The structure of the package: layers, imports that point down, sizes."""

import ast
from pathlib import Path

import pytest

import skrfm

ROOT = Path(skrfm.__file__).parent

# from the bottom to the top; a room imports from itself and from the layers below
LAYERS = [
    {"exceptions"},
    {"_sklearn"},
    {"_jit"},
    {"_backend"},
    {"_tables"},
    {"kernels", "solvers"},
    {"agop"},
    {"_recursion"},
    {"_search"},
    {"rfm", "lin_rfm", "conv_rfm", "completion"},
    {"xrfm", "transfer"},
    {"features"},
    {"inspection"},
    {"skrfm"},
    {"__main__"},
]
LAYER_OF = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}

MODULES = sorted(ROOT.rglob("*.py"))


def name_of(path):
    """Return the dotted name of a module of the package, without "skrfm."."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def imports_of(path):
    """Return the modules of the package that a module imports from."""
    package = name_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            absolute = [alias.name for alias in node.names]
            assert not any(name.split(".")[0] == "skrfm" for name in absolute), path
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        package_of_import = package[: len(package) - node.level + 1]
        base = ".".join([*package_of_import, *filter(None, [node.module])])
        for alias in node.names:
            module = f"{base}.{alias.name}".strip(".")
            found.add(module if module in NAMES else base)
    return found


def room_of(name):
    return name.split(".")[0] or "skrfm"


def test_every_room_has_a_layer():
    assert {room_of(name) for name in NAMES} == set(LAYER_OF)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path):
    room = room_of(name_of(path))
    for module in imports_of(path):
        other = room_of(module)
        below = LAYER_OF[other] < LAYER_OF[room]
        assert other == room or below, f"{name_of(path)} imports {module}"


def test_no_module_imports_itself_in_a_circle():
    graph = {name_of(path): imports_of(path) for path in MODULES}
    graph.pop("")  # its imports are for type checkers, and lazy
    done = set()

    def visit(name, path):
        assert name not in path, " -> ".join([*path, name])
        if name in done:
            return
        for module in sorted(graph.get(name, ())):
            visit(module, [*path, name])
        done.add(name)

    for name in sorted(graph):
        visit(name, [])


def test_the_listing_of_the_package_is_short():
    # what holds no code is not counted: caches, and the mark of types
    no_code = {"__pycache__", "py.typed"}
    names = [path for path in ROOT.iterdir() if path.name not in no_code]
    assert len(names) <= 20


# -- sizes ----------------------------------------------------------------------------

MAX_FILE_LINES, MAX_FUNCTION_LINES = 450, 45


def code_lines(function):
    """Return the number of lines of a function without its docstring."""
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    header = function.body[0].lineno - function.lineno
    return header + (body[-1].end_lineno - body[0].lineno + 1 if body else 0)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE_LINES
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    long = {
        node.name: code_lines(node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, functions) and code_lines(node) > MAX_FUNCTION_LINES
    }
    # constructors of scikit-learn's estimators store their parameters line by line
    long.pop("__init__", None)
    assert not long
