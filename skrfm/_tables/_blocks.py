"""All rows of a table that is not held in memory, in blocks."""

from collections.abc import Callable, Iterator
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

    def __iter__(self) -> Iterator[Any]:
        for batch in self.source.batches(self.size):
            block = reduce(lambda value, step: step(value), self.steps, batch)
            if block.X.shape[0]:
                yield block

    def sum(self, function: Callable[[Any], tuple[Array, ...]]) -> tuple[Array, ...]:
        """Return the sums, over the blocks, of the arrays that a function returns."""
        total = ()
        for block in self:
            parts = function(block)
            total = (
                tuple(a + b for a, b in zip(total, parts, strict=True))
                if total
                else parts
            )
        return total
