"""Modules and call depth of a default RFMRegressor().fit on a small table.

    python benchmarks/fit_trace.py [--rows 200] [--columns 6]

A first fit, which is not traced, compiles and fills caches. Counted are the files of
skrfm whose functions are called, Numba's too where Python sees them, and the frames of
these files on the stack at its deepest.
"""

import sys
import threading
from pathlib import Path

from _experiment import count_flag, flag, make_parser, parse
from sklearn.datasets import make_friedman1

import skrfm
from skrfm import RFMRegressor

ROOT = str(Path(skrfm.__file__).parent) + "/"


def trace(function, *args, **kwargs):
    """Call a function, and trace what it calls in skrfm.

    Returns
    -------
    modules : list of str
        The files of skrfm that it passes through, sorted.
    stack : list of str
        The qualified names of the functions on the deepest stack, the outermost first.
    """
    modules, deepest = set(), []

    def profile(frame, event, _):
        path = frame.f_code.co_filename
        if event != "call" or not path.startswith(ROOT):
            return
        modules.add(path.removeprefix(ROOT))
        stack = stack_in_skrfm(frame)
        if len(stack) > len(deepest):
            deepest[:] = stack

    before = sys.getprofile(), threading.getprofile()
    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        function(*args, **kwargs)
    finally:
        sys.setprofile(before[0])
        threading.setprofile(before[1])
    return sorted(modules), deepest


def stack_in_skrfm(frame):
    """Return the qualified names of the functions of skrfm on the stack of a frame."""
    names = []
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(ROOT):
            names.insert(0, code.co_qualname)
        frame = frame.f_back
    return names


def trace_fit(n_rows=200, n_columns=6):
    """Return the modules and the deepest stack of a default fit, as `trace` does."""
    X, y = make_friedman1(n_rows, n_features=n_columns, random_state=0)
    RFMRegressor(random_state=0).fit(X, y)
    return trace(RFMRegressor(random_state=0).fit, X, y)


def main():
    """Print the modules and the deepest stack."""
    flags = [
        flag("rows", 200),
        count_flag("columns", 6, "number of columns"),
    ]
    args = parse(make_parser(__doc__, flags), flags)
    modules, stack = trace_fit(args.rows, args.columns)
    print(f"{len(modules)} modules\n")
    print("\n".join(modules))
    print(f"\ncall depth {len(stack)}\n")
    print("\n".join(stack))


if __name__ == "__main__":
    main()
