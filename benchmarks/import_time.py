"""CPU seconds of importing skrfm, beside the packages that any fit needs.

    python benchmarks/import_time.py [--repeats 5]

Each import is run in new processes, after one that is not counted and that fills the
file caches; the imports take turns. Printed are medians. The last line imports skrfm in
a process that holds what a fit needs already: the difference of two processes that
take seconds would be lost in their noise.
"""

import subprocess
import sys
from statistics import median

from _experiment import count_flag, make_parser, parse
from _report import format_table

NEEDED = "import sklearn.linear_model, numba, scipy.linalg"
PUBLIC = "from skrfm import RFMRegressor"
# What is printed: (what the process has imported before, what is measured).
MEASURED = {
    NEEDED: ("pass", NEEDED),
    "import skrfm": ("pass", "import skrfm"),
    PUBLIC: ("pass", PUBLIC),
    f"{PUBLIC}, after the first line": (NEEDED, PUBLIC),
}
PROGRAM = """
{before}
from time import process_time
start = process_time()
{statement}
print(process_time() - start)
"""


def cpu_seconds(before, statement):
    """Return the CPU seconds of a statement in a new process, after another one."""
    program = PROGRAM.format(before=before, statement=statement)
    command = [sys.executable, "-c", program]
    return float(subprocess.run(command, check=True, capture_output=True).stdout)


def median_seconds(repeats):
    """Return ``{name: median CPU seconds}``."""
    seconds = {name: [] for name in MEASURED}
    for _ in range(repeats + 1):
        for name, found in seconds.items():
            found.append(cpu_seconds(*MEASURED[name]))
    return {name: median(found[1:]) for name, found in seconds.items()}


def main():
    """Print the medians."""
    repeats = count_flag("repeats", 5, "processes of each import")
    args = parse(make_parser(__doc__, [repeats]), [repeats])
    lines = [[name, value] for name, value in median_seconds(args.repeats).items()]
    print(format_table(["statement", "CPU s"], lines))


if __name__ == "__main__":
    main()
