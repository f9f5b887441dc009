"""What the benchmark scripts share: flags, costs, kept figures and new processes.

A script describes an `Experiment`: the key of a row, its figures, the flags, a function
that measures what is missing and a function that prints the rows. Figures are kept in a
CSV file, so that a run that was stopped can be resumed.
"""

import argparse
import csv
import inspect
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, NamedTuple

from _halves import HALVES
from threadpoolctl import threadpool_limits

from skrfm.exceptions import NumericalWarning

RESULTS = Path(__file__).with_name("results")

# -- flags ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Flag:
    """A command-line flag, with the same meaning in every script.

    Attributes
    ----------
    options : dict
        What `argparse` takes: help, type, choices, nargs, metavar.
    default : object
        The value where the flag is not given.
    """

    name: str
    options: dict[str, Any]
    default: Any = None

    def add_to(self, parser):
        """Add the flag to a parser, with its default in the help text."""
        text = self.options["help"]
        if self.default is not None:
            several = isinstance(self.default, (list, tuple))
            shown = " ".join(map(str, self.default)) if several else self.default
            text += f" (default: {shown})".replace("%", "%%")
        parser.add_argument(f"--{self.name}", **self.options | {"help": text})


_NAMES = {"nargs": "+", "metavar": "NAME"}
_COUNT = {"type": int, "metavar": "N"}
_SHARED = {
    "data": {
        "metavar": "DIR",
        "help": "folder of the data sets; without it, those bundled with scikit-learn",
    },
    "tables": {"help": "measure and print only these tables", **_NAMES},
    "half": {
        "choices": HALVES,
        "help": "measure and print only the tables of this half (see _halves.py)",
    },
    "models": {"help": "measure and print only these models", **_NAMES},
    "cases": {"help": "measure and print only these cases", **_NAMES},
    "folds": {"help": "number of train/test splits of each table", **_COUNT},
    "seeds": {"help": "number of repetitions, with the seeds 0, 1, ...", **_COUNT},
    "rows": {"help": "number of training rows, of a real table at most", **_COUNT},
    "device": {"choices": ("cpu", "cuda"), "help": "where skrfm computes"},
    "threads": {"help": "threads of BLAS, of OpenMP and of the models", **_COUNT},
    "out": {
        "metavar": "FILE",
        "type": Path,
        "help": "CSV file that keeps the figures; those in it are not measured again",
    },
    "report": {
        "action": "store_true",
        "help": "measure nothing, print the figures that are kept",
    },
}


# flags of the scripts on the open tables
TABLE_FLAGS = {"data": None, "tables": None, "half": None}


def flag(name, default=None, **options):
    """Return a shared flag, or a flag of one script where `options` describe it.

    `options` such as choices or nargs are added to those of a shared flag.
    """
    options = _SHARED.get(name, {}) | options
    if "choices" in options:
        options.pop("metavar", None)  # the help text lists the choices
    return Flag(name, options, default)


def count_flag(name, default, text):
    """Return a flag of one script that takes a number."""
    return flag(name, default, type=int, metavar="N", help=text)


def make_parser(doc, flags):
    """Return the parser of a script whose docstring is its help text."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for one in flags:
        one.add_to(parser)
    return parser


def parse(parser, flags, argv=None):
    """Return the arguments; `given` holds those of the command line."""
    args = parser.parse_args(argv)
    given = {name: value for name, value in vars(args).items() if value is not None}
    for one in flags:
        name = one.name.replace("-", "_")
        if name not in given:
            setattr(args, name, one.default)
    args.given = given
    return args


# -- costs ----------------------------------------------------------------------------


COSTS = ("seconds", "cpu_seconds")
FIT_COSTS = tuple(f"{step}_{name}" for step in ("fit", "predict") for name in COSTS)


class Cost(NamedTuple):
    """Seconds on the clock, and seconds of the processors."""

    seconds: float
    cpu_seconds: float

    def figures(self, prefix=""):
        """Return the figures of a row, such as fit_seconds and fit_cpu_seconds."""
        return {f"{prefix}{name}": value for name, value in self._asdict().items()}


def _cpu_clock():
    """Return CPU seconds of this process, and of its children that have ended."""
    times = os.times()
    return process_time() + times.children_user + times.children_system


class Clock:
    """Measures the costs since it was made."""

    def __init__(self):
        self._start, self._cpu_start = perf_counter(), _cpu_clock()

    def cost(self):
        """Return the Cost until now."""
        seconds = perf_counter() - self._start
        return Cost(seconds, _cpu_clock() - self._cpu_start)


def timed(function, *args, **kwargs):
    """Call a function; return what it returns, and the Cost."""
    clock = Clock()
    value = function(*args, **kwargs)
    return value, clock.cost()


def least(costs):
    """Return the Cost of the least seconds and of the least CPU seconds."""
    return Cost(*map(min, zip(*costs, strict=True)))


def _memory(field):
    """Return the bytes in a field of the status of this process (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields[field].split()[0]) * 1024


def peak_memory():
    """Return the bytes that this process has held at most (Linux)."""
    return _memory("VmHWM")


def reset_peak_memory():
    """Let the peak of memory start at what is held now (Linux); return that."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


@contextmanager
def limited_threads(count):
    """Limit the threads of this process and of those it starts; None does not."""
    names = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    with threadpool_limits(count):
        if count is not None:
            os.environ.update(dict.fromkeys(names, str(count)))
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


# -- processes ------------------------------------------------------------------------

_CHILD = """
import importlib, json, sys
folder, module, function, arguments = sys.argv[1:]
sys.path.insert(0, folder)
function = getattr(importlib.import_module(module), function)
print(json.dumps(function(*json.loads(arguments))))
"""


class ProcessError(Exception):
    """A new process failed; the message is the end of what it wrote to stderr."""


def in_new_process(function, *arguments, environment=None):
    """Call a module-level function in a new process; return what it returns.

    Arguments and result are those that JSON can hold. `environment` has variables
    that are added to those of this process.
    """
    path = Path(inspect.getfile(function)).resolve()
    call = [str(path.parent), path.stem, function.__name__, json.dumps(arguments)]
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *call],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        raise ProcessError(done.stderr.strip()[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


# -- figures that are kept ------------------------------------------------------------


def figures_or_none(name, function, *arguments):
    """Return the value of `in_new_process`; None, with a message, where that fails."""
    try:
        return in_new_process(function, *arguments)
    except ProcessError as error:
        print(f"{name} failed:\n{error}")
        return None


class Records:
    """Rows of figures by their key, kept in a CSV file.

    A later row of a key replaces an earlier one. Columns that the file lacks are added
    to it when the first new row is, empty in the older rows.

    Parameters
    ----------
    path : Path or None
        The file; None keeps the rows in memory only.
    fields : sequence of str
        The columns.
    key : sequence of str
        The columns that identify a row.
    retry_errors : bool, default=False
        Whether a row with an error counts as missing.
    """

    def __init__(self, path, fields, key, *, retry_errors=False):
        self.path, self.fields, self.key = path, tuple(fields), key
        self.retry_errors = retry_errors
        self._rows, self._header = {}, ()
        if path is not None and path.exists():
            self._read()

    def _read(self):
        """Read the rows of the file."""
        with self.path.open(newline="") as file:
            reader = csv.DictReader(file)
            self._header = tuple(reader.fieldnames or ())
            others = [name for name in self.fields if name not in self._header]
            self.fields = (*self._header, *others)
            blank = dict.fromkeys(self.fields, "")
            for row in reader:
                self._rows[self._key(row)] = blank | row

    def _key(self, row):
        """Return the key of a row."""
        return tuple(str(row[name]) for name in self.key)

    @property
    def rows(self):
        """All rows, in the order of their first appearance."""
        return list(self._rows.values())

    def has(self, key):
        """Return whether the figures of a key are there."""
        row = self._rows.get(self._key(key))
        return row is not None and not (self.retry_errors and row.get("error"))

    def add(self, key, figures):
        """Add a row to the file, and print its figures."""
        values = {**key, **figures}
        row = {name: str(values.get(name, "")) for name in self.fields}
        self._rows[self._key(row)] = row
        shown = {
            k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()
        }
        print(*key.values(), shown, flush=True)
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._header == self.fields:
            self._write([row], "a")
        else:
            self._write(self.rows, "w")

    def _write(self, rows, mode):
        """Write rows to the file, after its header where it is a new one."""
        with self.path.open(mode, newline="") as file:
            writer = csv.DictWriter(file, self.fields, lineterminator="\n")
            if mode == "w":
                writer.writeheader()
                self._header = self.fields
            writer.writerows(rows)

    def once(self, key, measure, *args, **kwargs):
        """Add the figures that a function returns, unless those of the key are there.

        Nothing is added where it returns None.
        """
        if not self.has(key):
            figures = measure(*args, **kwargs)
            if figures is not None:
                self.add(key, figures)


# -- an experiment --------------------------------------------------------------------


@dataclass(frozen=True)
class Experiment:
    """What a benchmark script measures and prints.

    Attributes
    ----------
    doc : str
        Docstring of the script, its help text.
    key, figures : tuple of str
        Columns of the CSV file: those that identify a row, and the others.
    run : callable
        ``run(args, records)`` measures what the records lack.
    report : callable
        ``report(rows, args)`` prints the rows.
    flags : dict
        Defaults of the shared flags that the script has, by name.
    choices : dict
        What the values of shared flags are chosen from, by name; all are the default.
    own_flags : iterable of Flag
        Flags that no other script has.
    out : str or None
        Name of the file in results/, None if rows are kept only with --out.
    threads : int or None
        Default of --threads, None for all that there are.
    needs_data : bool
        Whether --data is needed, except for --report.
    ignored : class
        A warning that is not shown.
    """

    doc: str
    key: tuple[str, ...]
    figures: tuple[str, ...]
    run: Callable
    report: Callable
    flags: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, Iterable[str]] = field(default_factory=dict)
    own_flags: Iterable[Flag] = ()
    out: str | None = None
    threads: int | None = None
    needs_data: bool = False
    ignored: type[Warning] | None = NumericalWarning

    def all_flags(self):
        """Return the flags of the script and those that all scripts have."""
        chosen = {name: list(values) for name, values in self.choices.items()}
        out = None if self.out is None else RESULTS / self.out
        defaults = {"data": None} if self.needs_data else {}
        defaults |= chosen | dict(self.flags) | {"threads": self.threads, "out": out}
        shared = []
        for name, default in defaults.items():
            options = {"choices": chosen[name]} if name in chosen else {}
            if name == "data" and self.needs_data:
                options["help"] = "folder of the data sets, needed except for --report"
            if isinstance(default, (list, tuple)):
                options["nargs"] = "+"
            shared.append(flag(name, default, **options))
        return [*shared, *self.own_flags, flag("report")]

    def parse(self, argv=None):
        """Return the arguments of a command line."""
        flags = self.all_flags()
        parser = make_parser(self.doc, flags)
        args = parse(parser, flags, argv)
        if args.report and args.out is None:
            parser.error("--report needs --out: this script keeps no figures without")
        if self.needs_data and args.data is None and not args.report:
            parser.error("--data is needed, except for --report")
        return args

    def main(self, argv=None):
        """Measure what is missing, and print the report."""
        args = self.parse(argv)
        retry = getattr(args, "retry_errors", False)
        fields = (*self.key, *self.figures)
        records = Records(args.out, fields, self.key, retry_errors=retry)
        if not args.report:
            with warnings.catch_warnings(), limited_threads(args.threads):
                if self.ignored is not None:
                    warnings.simplefilter("ignore", self.ignored)
                self.run(args, records)
        self.report(chosen_rows(records.rows, args), args)


def is_chosen(table, args):
    """Return whether --tables, or otherwise --half, include a table."""
    if args.given.get("tables"):
        return table in args.tables
    half = getattr(args, "half", None)
    return half is None or table in HALVES[half]


def chosen_rows(rows, args):
    """Return the rows that the flags include."""
    given, kept = args.given, rows
    for name, column in (("models", "model"), ("cases", "case")):
        if name in given:
            kept = [
                row for row in kept if row.get(column, given[name][0]) in given[name]
            ]
    for name, column in (("folds", "fold"), ("seeds", "seed")):
        if name in given:
            kept = [row for row in kept if int(row.get(column, 0)) < given[name]]
    return [row for row in kept if is_chosen(row.get("table"), args)]
