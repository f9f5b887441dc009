"""CPU seconds of the first minutes: importing skrfm, and the first fit.

    python benchmarks/import_time.py [--repeats 5]

Each line is a statement in new processes, after one that is not counted and that fills
the file caches; the lines take turns. Printed are medians. Imports are measured beside
the packages that any fit needs, and in processes that have imported scikit-learn, or
all that a fit needs. The first fit has an empty cache of compiled code, so it compiles;
the second fit of the same process does not, and the first one of another process reads
what was compiled from the cache.
"""

import os
import subprocess
import sys
from statistics import median
from tempfile import TemporaryDirectory

from _experiment import count_flag, make_parser, parse
from _report import format_table

NEEDED = "import sklearn.linear_model, numba, scipy.linalg"
PUBLIC = "from skrfm import RFMRegressor"
DATA = f"""
from sklearn.datasets import load_diabetes
{PUBLIC}
X, y = load_diabetes(return_X_y=True, as_frame=True)
"""
FIT = "RFMRegressor(random_state=0).fit(X, y)"
EMPTY, FULL = "empty", "full"
# What is printed: (what the process has done before, what is measured, its cache).
MEASURED = {
    NEEDED: ("pass", NEEDED, FULL),
    "import skrfm": ("pass", "import skrfm", FULL),
    PUBLIC: ("pass", PUBLIC, FULL),
    f"{PUBLIC}, after import sklearn": ("import sklearn", PUBLIC, FULL),
    f"{PUBLIC}, after the first line": (NEEDED, PUBLIC, FULL),
    "first fit, with an empty cache": (DATA, FIT, EMPTY),
    "first fit, with compiled code in the cache": (DATA, FIT, FULL),
    "second fit": (f"{DATA}\n{FIT}", FIT, FULL),
}
PROGRAM = """
{before}
from time import process_time
start = process_time()
{statement}
print(process_time() - start)
"""


def cpu_seconds(before, statement, cache):
    """Return the CPU seconds of a statement in a new process, after another one."""
    program = PROGRAM.format(before=before, statement=statement)
    with TemporaryDirectory() as folder:
        environment = dict(os.environ)
        if cache == EMPTY:
            environment["NUMBA_CACHE_DIR"] = folder
        done = subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            env=environment,
        )
    return float(done.stdout)


def median_seconds(repeats):
    """Return ``{name: median CPU seconds}``."""
    seconds = {name: [] for name in MEASURED}
    for _ in range(repeats + 1):
        for name, found in seconds.items():
            found.append(cpu_seconds(*MEASURED[name]))
    return {name: median(found[1:]) for name, found in seconds.items()}


def main():
    """Print the medians."""
    repeats = count_flag("repeats", 5, "processes of each line")
    args = parse(make_parser(__doc__, [repeats]), [repeats])
    lines = [[name, value] for name, value in median_seconds(args.repeats).items()]
    print(format_table(["statement", "CPU s"], lines))


if __name__ == "__main__":
    main()
