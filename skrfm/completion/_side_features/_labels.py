"""Labels of rows and columns: how rows of one table are matched with another's."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from ..._backend import IntArray, Table
from ..._sklearn import is_missing

# how many labels a message names
_NAMED = 5


@dataclass(frozen=True)
class Labels:
    """Labels of the rows or columns of a data frame.

    Attributes
    ----------
    values : list
        The labels in order; tuples where they have several levels.
    default : bool
        Whether they only count the rows or columns from 0, as where a data frame is
        made without labels.
    """

    values: list[Hashable]
    default: bool

    @property
    def problem(self) -> str:
        """What keeps rows from being matched by these labels, "" if nothing does."""
        missing = [label for label in self.values if has_missing(label)]
        if missing:
            return f"missing labels ({named(missing)})"
        repeated = repeated_in(self.values)
        return f"repeated labels ({named(repeated)})" if repeated else ""

    @property
    def are_integers(self) -> bool:
        """Whether all labels are integers."""
        return all(isinstance(label, int) for label in self.values)

    @property
    def comparable(self) -> list[Hashable]:
        """The labels, missing ones replaced by what is equal to itself."""
        return [
            (None, repr(label)) if has_missing(label) else label
            for label in self.values
        ]

    def equals(self, other: "Labels") -> bool:
        """Return whether both have the same labels in the same order."""
        return self.comparable == other.comparable

    def select(self, positions: IntArray) -> "Labels":
        """Return some of the labels."""
        return Labels([self.values[i] for i in positions], self.default)


def labels_of(X: Table, axis: int = 0) -> Labels | None:
    """Return the labels of the rows or columns of a data frame, None for an array.

    Rows of a polars data frame have no labels, and columns that polars named itself
    count as columns without labels.
    """
    if hasattr(X, "iloc"):
        index = getattr(X, ("index", "columns")[axis], None)
        return None if index is None else Labels(index.tolist(), _is_range(index))
    if axis == 1 and hasattr(X, "with_columns"):
        names = list(X.columns)
        unnamed = all(name == f"column_{i}" for i, name in enumerate(names))
        return Labels(names, unnamed)
    return None


def _is_range(index):
    """Return whether an index is the range from 0 that pandas gives unlabelled rows."""
    step, start = getattr(index, "step", None), getattr(index, "start", None)
    return isinstance(step, int) and (start, step) == (0, 1)


def positions_by_label(
    wanted: Labels | None, labels: Labels | None, *, name: str, of: str, axis="row"
) -> IntArray | None:
    """Return the position in a table of each wanted label, None to match by position.

    Parameters
    ----------
    wanted : Labels or None
        Labels of the rows or columns that those of the table are matched with.
    labels : Labels or None
        Labels of the rows or columns of the table.
    name : str
        The argument that the table was passed as.
    of : str
        What has the wanted labels, such as "rows of X".
    axis : {"row", "column"}, default="row"
        What is matched in the table.

    Raises
    ------
    ValueError
        If both sides have labels that are repeated or missing, or if the table does
        not have all wanted labels.
    """
    require_usable(wanted, labels, name=name, of=of, axis=axis)
    positions, unknown = match(wanted, labels)
    if labels is not None and unknown:
        raise ValueError(
            f"{name} has no {axis} {named(unknown)}, but the {of} have"
            f"{_types(unknown, labels.values)}: rename the {axis}s of {name} so that "
            f"they have all the labels of the {of}, or pass {name}.to_numpy() to match "
            f"{axis}s by position."
        )
    return positions


def require_usable(
    wanted: Labels | None, labels: Labels | None, *, name: str, of: str, axis="row"
) -> None:
    """Raise ValueError if both sides have labels, and some are repeated or missing.

    The parameters are those of `positions_by_label`.
    """
    if wanted is None or labels is None or wanted.default or labels.default:
        return
    for owner, side in (f"{axis}s of {name}", labels), (of, wanted):
        if side.problem:
            raise ValueError(
                f"The {axis}s of {name} cannot be matched with the {of} by label: the "
                f"{owner} have {side.problem}. Give each a label of its own, or pass "
                f"{name}.to_numpy() to match {axis}s by position."
            )


def match(
    wanted: Labels | None, labels: Labels | None
) -> tuple[IntArray | None, list[Hashable]]:
    """Return positions of the wanted labels (-1 if unknown), and unknown labels.

    The positions are None where rows are matched by position: if either side has no
    labels, if both have default ones, or if one side has default labels and the labels
    of the other are not from the same range.
    """
    if wanted is None or labels is None or (wanted.default and labels.default):
        return None, []
    one_default = wanted.default or labels.default
    if one_default and (wanted.problem or labels.problem):
        return None, []
    positions, unknown = look_up(wanted.values, labels.values)
    if one_default and len(unknown) == len(positions):
        return None, []
    return positions, unknown


def look_up(
    wanted: Sequence[Hashable], labels: Sequence[Hashable]
) -> tuple[IntArray, list[Hashable]]:
    """Return the position of each wanted label (-1 if unknown), and unknown labels."""
    position_of = {label: position for position, label in enumerate(labels)}
    positions = np.array([position_of.get(label, -1) for label in wanted], dtype=int)
    unknown = [label for label in wanted if label not in position_of]
    return positions, list(dict.fromkeys(unknown))


def repeated_in(labels: Sequence[Hashable]) -> list[Hashable]:
    """Return the labels that occur more than once."""
    seen: set[Hashable] = set()
    repeated = [label for label in labels if label in seen or seen.add(label)]
    return list(dict.fromkeys(repeated))


def require_distinct_columns(table: Table, name: str) -> None:
    """Raise ValueError if columns of a data frame have the same name."""
    columns = labels_of(table, axis=1)
    repeated = [] if columns is None else repeated_in(columns.values)
    if repeated:
        raise ValueError(
            f"{name} has more than one column {named(repeated)}: give each a name of "
            f"its own, or pass {name}.to_numpy()."
        )


def named(labels: Sequence[Any]) -> str:
    """Return a few labels for a message."""
    more = ", …" if len(labels) > _NAMED else ""
    return ", ".join(repr(label) for label in islice(labels, _NAMED)) + more


def has_missing(label: Any) -> bool:
    """Return whether a label, or a level of it, is missing."""
    levels = label if isinstance(label, tuple) else (label,)
    return any(is_missing(level) for level in levels)


def _types(unknown, labels):
    """Return a remark for a message where labels on both sides differ in type."""
    wanted, given = (
        {type(label).__name__ for label in side} for side in (unknown, labels)
    )
    if not wanted.isdisjoint(given) or not given:
        return ""
    types = [" or ".join(sorted(names)) for names in (wanted, given)]
    return f" (labels of type {types[0]}, not {types[1]})"
