"""What the solvers need of the entries of a matrix, on the CPU or a GPU."""

from typing import Any, Protocol, Self

import numpy as np

from .._backend import Array, BoolArray, FloatArray, IntArray


class Entries(Protocol):
    """The entries (i, j) of a matrix, as the solvers use them: on the CPU or a GPU.

    Entries are sorted by row and column. S denotes the sparse matrix of some values at
    the entries; L (m, k) and R (n, k) are dense factors, with rows L_i and R_j.
    """

    shape: tuple[int, int]
    values: Array
    weight: Array
    rows: Array

    @property
    def cols(self) -> Array:
        """The column of each entry."""
        ...

    def __len__(self) -> int:
        """Return the number of entries."""
        ...

    def asarray(self, a: np.ndarray) -> Array:
        """Return a NumPy array as an array of the library of `values`."""
        ...

    def to_numpy(self, a: Array) -> FloatArray:
        """Return an array of the library of `values` as a NumPy array."""
        ...

    def row_counts(self) -> IntArray:
        """Return the number of entries in each row, as a NumPy array."""
        ...

    def draw_hidden(self, share: float, random_state: np.random.RandomState) -> Any:
        """Return the boolean NumPy mask of a random share of the entries."""
        ...

    def select(self, mask: BoolArray) -> Self:
        """Return the entries where a boolean NumPy mask is True."""
        ...

    def with_values(self, values: Array) -> Self:
        """Return entries with other values at the same positions."""
        ...

    def column_means(self) -> Array:
        """Return the weighted means (n,) of the columns."""
        ...

    def subtract(self, means: Array) -> Self:
        """Return the entries minus a mean for each column."""
        ...

    def transposed(self) -> Self:
        """Return the entries of the transposed matrix."""
        ...

    def dense(self) -> Array:
        """Return the matrix (m, n), with zeros where no entry is observed."""
        ...

    def row_maxima(self, values: Array) -> Array:
        """Return the largest of positive values in each row, 0 for empty rows."""
        ...

    def by_column(self, values: Array) -> Array:
        """Return values in the order of columns, then rows."""
        ...

    def products(self, L: Array, R: Array) -> Array:
        """Return L_i · R_j at the entries."""
        ...

    def row_sums(self, values: Array, R: Array) -> Array:
        """Return S @ R (m, k)."""
        ...

    def column_sums(self, values: Array, L: Array) -> Array:
        """Return S.T @ L (n, k)."""
        ...

    def sums_by_column(self, values: Array, L: Array) -> Array:
        """Return `column_sums` of values in the order of `by_column`."""
        ...

    def normal_row_sums(
        self, weight: Array, L: Array, R: Array, columns: slice
    ) -> Array:
        """Return S @ R[:, columns], S with the values weight · (L_i · R_j)."""
        ...

    def normal_column_sums(
        self, weight: Array, L: Array, R: Array, columns: slice
    ) -> Array:
        """Return S.T @ L[:, columns] for that S, with weights by column."""
        ...

    def row_solves(self, V: Array, penalty: Array, weight: Array) -> Array:
        """Return z_i = argmin Σ_j weight_ij (value_ij − V_j · z)² + Σ penalty z²."""
        ...

    def dual_solves(self, P: Array, noise: Array) -> Array:
        """Return (P_ii + diag(noise_i))⁻¹ values_i of each row, at the entries.

        P_ii is the metric P (n, n) between the columns observed in row i.
        """
        ...

    def on_host(self) -> Any:
        """Return the entries in the memory of the CPU, as ObservedEntries."""
        ...
