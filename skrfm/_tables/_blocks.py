"""All rows of a table that is not held in memory, in blocks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from .._backend import Array
from ._sources import Source


@dataclass(frozen=True)
class RowBlocks:
    """Data of consecutive rows at a time, which are read anew for every pass.

    Attributes
    ----------
    source : Source
    n_rows : int
        The number of rows of positive weight.
    size : int
        Rows that are read at a time, about.
    steps : tuple of callables
        The first makes Data of a Batch, each other one Data of the Data before.
    """

    source: Source
    n_rows: int
    size: int
    steps: tuple[Callable[[Any], Any], ...]

    def then(self, step):
        """Return the same with one more step at the end."""
        return replace(self, steps=(*self.steps, step))

    def sum(self, function: Callable[[Any], tuple[Array, ...]]) -> tuple[Array, ...]:
        """Return the sums, over the blocks, of the arrays that a function returns."""
        parts = self.source.map(SumOfBlocks(self.steps, function), self.size)
        return add(part for part in parts if part)


@dataclass(frozen=True)
class SumOfBlocks:
    """The sums of a function over the blocks of one part of the rows.

    Attributes
    ----------
    steps : tuple of callables
        From a Batch to the block that the function takes.
    function : callable
    """

    steps: tuple[Callable[[Any], Any], ...]
    function: Callable[[Any], tuple[Array, ...]]

    def __call__(self, batches: Iterable[Any], number: int) -> tuple[Array, ...]:
        blocks = (
            reduce(lambda value, step: step(value), self.steps, batch)
            for batch in batches
        )
        return add(self.function(block) for block in blocks if block.X.shape[0])


def add(terms: Iterable[tuple[Array, ...]]) -> tuple[Array, ...]:
    """Return the sums of tuples of arrays; nothing where there are no terms."""
    total = ()
    for term in terms:
        total = (
            tuple(a + b for a, b in zip(total, term, strict=True)) if total else term
        )
    return total
