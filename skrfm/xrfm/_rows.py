"""The rows that a tree is grown on and its leaves are fitted to: in memory or in files.

A table in memory is its own sample. Of a larger one the sample is in memory: splits are
found on it, and one pass over the table routes all rows to files, some for each leaf.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .._backend import BoolArray, FloatArray
from .._tables import rows_of_block

# The share of the rows of a sample is so many times what is needed on average, so that
# there are enough.
_MORE_KEYS = 1.1


@dataclass(frozen=True)
class LeafData:
    """Rows and targets as leaves are fitted to them.

    Attributes
    ----------
    X : ndarray of shape (n, n_columns)
        Scaled numbers, then codes of categories.
    y : ndarray of shape (n,) or (n, n_outputs)
        Numbers, or the numbers of the classes.
    weight : ndarray of shape (n,)
    """

    X: FloatArray
    y: np.ndarray
    weight: FloatArray

    def __len__(self):
        return len(self.X)

    @property
    def arrays(self):
        """The arrays of the rows."""
        return self.X, self.y, self.weight

    def subset(self, rows):
        """Return the data of some rows."""
        return LeafData(self.X[rows], self.y[rows], self.weight[rows])


def join(parts: Iterable[LeafData]) -> LeafData:
    """Return the rows of several parts, one after the other."""
    columns = zip(*(part.arrays for part in parts), strict=True)
    return LeafData(*(np.concatenate(column) for column in columns))


def subsample(n_rows, size, *, seed):
    """Return at most `size` of the indices of so many rows, sorted."""
    if n_rows <= size:
        return np.arange(n_rows)
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(n_rows, size, replace=False))


class Cell(Protocol):
    """The rows of a leaf."""

    def __len__(self) -> int:
        """Return their number."""
        ...

    def subset(self, rows) -> LeafData:
        """Return some of them."""
        ...

    def load(self) -> LeafData:
        """Return all of them."""
        ...

    def remove(self):
        """Remove what was written of them, after the fit."""
        ...


@dataclass(frozen=True)
class HeldCell:
    """Some rows of a table in memory.

    Attributes
    ----------
    data : LeafData
    rows : ndarray of int
        Their indices.
    """

    data: LeafData
    rows: np.ndarray

    def __len__(self):
        return len(self.rows)

    def subset(self, rows):
        """Return some of them."""
        return self.data.subset(self.rows[rows])

    def load(self):
        """Return all of them."""
        return self.data.subset(self.rows)

    def remove(self):
        """Do nothing: the table belongs to others."""


@dataclass(frozen=True)
class FiledCell:
    """Rows in three files: X, targets and weights, row after row, as their bytes.

    Attributes
    ----------
    stem : Path
        The path of the files without their endings.
    n_rows : int
    kinds : tuple of (dtype, tuple of int)
        The dtype of each array, and the shape of its rows.
    most_held : int
        More rows than these are mapped, and read where they are needed.
    """

    stem: Path
    n_rows: int
    kinds: tuple[tuple[Any, tuple[int, ...]], ...]
    most_held: float = np.inf

    def __len__(self):
        return self.n_rows

    def mapped(self):
        """Return the rows as memory maps."""
        maps: list[Any] = [
            np.memmap(path, dtype, "r", shape=(self.n_rows, *shape))
            for path, (dtype, shape) in zip(self._paths, self.kinds, strict=True)
        ]
        return LeafData(*maps)

    @property
    def _paths(self):
        return paths_of(self.stem)

    def subset(self, rows):
        """Return some of them, in memory."""
        part = self.mapped().subset(rows)
        return LeafData(*(np.array(a) for a in part.arrays))

    def load(self):
        """Return all of them: in memory, or mapped if they are many."""
        if self.n_rows > self.most_held:
            return self.mapped()
        return LeafData(
            *(
                np.fromfile(path, dtype).reshape(self.n_rows, *shape)
                for path, (dtype, shape) in zip(self._paths, self.kinds, strict=True)
            )
        )

    def batches(self):
        """Yield all of them, so many at a time."""
        size = int(max(1, min(rows_of_block(*self.kinds[0][1]), self.most_held)))
        for start in range(0, self.n_rows, size):
            yield self.subset(slice(start, start + size))

    def remove(self):
        """Remove the files."""
        for path in self._paths:
            path.unlink(missing_ok=True)


def paths_of(stem):
    """Return the paths of the files of X, the targets and the weights."""
    return [stem.with_name(f"{stem.name}.{kind}") for kind in ("X", "y", "weight")]


class CellWriter:
    """Appends rows to the files of a cell.

    Parameters
    ----------
    stem : Path
    most_held : int
        See `FiledCell`.
    """

    def __init__(self, stem, most_held):
        self._stem, self._most_held = stem, most_held
        self._n_rows, self._kinds = 0, ()
        for path in paths_of(stem):
            path.write_bytes(b"")

    def append(self, data):
        """Write some rows at the end."""
        self._n_rows += len(data)
        self._kinds = tuple((a.dtype, a.shape[1:]) for a in data.arrays)
        # opened for each batch: a process may hold some hundred open files only
        for path, array in zip(paths_of(self._stem), data.arrays, strict=True):
            with path.open("ab") as file:
                np.ascontiguousarray(array).tofile(file)

    def cell(self):
        """Return the rows that were written."""
        return FiledCell(self._stem, self._n_rows, self._kinds, self._most_held)


@dataclass(frozen=True)
class Drawn:
    """Some rows of a table: those of a cell, and a sample of one side of a split.

    Attributes
    ----------
    data : LeafData
    cell : ndarray of int
        Which of them are in the cell.
    side : ndarray of int
        Which are on the side.
    sample : ndarray of int
        Those of the side that were drawn, whether they are in the cell or not.
    """

    data: LeafData
    cell: np.ndarray
    side: np.ndarray
    sample: np.ndarray


#: whether rows are in a cell, and on the side of a split
Where = Callable[[FloatArray], tuple[BoolArray, BoolArray]]


class HeldRows:
    """A table in memory.

    Parameters
    ----------
    data : LeafData
    """

    def __init__(self, data: LeafData):
        self.sample, self.n_rows = data, len(data)

    def draw(self, where: Where, most: int, seed: int) -> Drawn:
        """Return all rows, and those of a cell and of a side."""
        cell, side = map(np.flatnonzero, where(self.sample.X))
        return Drawn(self.sample, cell, side, side)


class StreamedRows:
    """A table that is read in batches, anew for each pass.

    Parameters
    ----------
    sample : LeafData
        A sample of the rows, in memory.
    n_rows : int
        The number of all rows.
    read : callable
        Returns an iterator of LeafData, in the order of the table.
    folder : Path
        Where files of leaves are written.
    most_held : int
        The number of rows that memory has room for.
    """

    def __init__(
        self,
        sample: LeafData,
        n_rows: int,
        read: Callable[[], Iterator[LeafData]],
        folder: Path,
        most_held: int,
    ):
        self.sample, self.n_rows = sample, n_rows
        self.batches, self.folder, self.most_held = read, folder, most_held

    def draw(self, where: Where, most: int, seed: int) -> Drawn:
        """Return the rows of a cell, and about `most` of those on a side."""
        most = min(most, self.most_held)
        _, side_of_sample = where(self.sample.X)
        n_side = max(1.0, self.n_rows * side_of_sample.mean())
        share = min(1.0, _MORE_KEYS * most / n_side)
        rng, parts, masks = np.random.default_rng(seed), [], []
        for data in self.batches():
            cell, side = where(data.X)
            sample = side & (rng.random(len(data)) < share)
            rows = np.flatnonzero(cell | sample)
            parts.append(data.subset(rows))
            masks.append(np.stack([cell, side, sample])[:, rows])
        cell, side, sample = np.concatenate(masks, axis=1)
        return Drawn(join(parts), *map(np.flatnonzero, (cell, side, sample)))
