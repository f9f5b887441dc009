"""CPU seconds of importing skrfm, beside the packages that any fit needs.

    python benchmarks/import_time.py [--repeats 5]

Each import is run in new processes, after one that is not counted and that fills the
file caches; the imports take turns. Printed are medians of user and system seconds,
less what an empty process takes, and the differences to what any fit needs.
"""

import os
import subprocess
import sys
from statistics import median

from _experiment import count_flag, make_parser, parse
from _report import format_table

NEEDED = "import sklearn.linear_model, numba, scipy.linalg"
STATEMENTS = ("pass", NEEDED, "import skrfm", "from skrfm import RFMRegressor")


def cpu_seconds(statement):
    """Return the user and system seconds of a new process that runs a statement."""
    process = subprocess.Popen([sys.executable, "-c", statement])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{statement!r} failed")
    return usage.ru_utime + usage.ru_stime


def median_seconds(repeats):
    """Return ``{statement: median CPU seconds}``."""
    seconds = {statement: [] for statement in STATEMENTS}
    for _ in range(repeats + 1):
        for statement, found in seconds.items():
            found.append(cpu_seconds(statement))
    return {statement: median(found[1:]) for statement, found in seconds.items()}


def main():
    """Print the medians and their differences."""
    repeats = count_flag("repeats", 5, "processes of each import")
    args = parse(make_parser(__doc__, [repeats]), [repeats])
    medians = median_seconds(args.repeats)
    empty, needed = medians.pop("pass"), medians[NEEDED]
    lines = [[name, value - empty, value - needed] for name, value in medians.items()]
    print(f"an empty process: {empty:.3f} CPU s\n")
    print(format_table(["statement", "CPU s", "beyond what a fit needs"], lines))


if __name__ == "__main__":
    main()
