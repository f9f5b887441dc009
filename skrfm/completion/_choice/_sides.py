"""Features and kernels of both sides of a matrix, in the order of its rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._backend import FloatArray, Table
from ..._tables import to_host
from .._entries import ObservedEntries
from .._input import warn_of_gaps
from .._observed import ObservedIndices
from .._side_features._feature_names import FeatureNames
from .._side_features._labels import labels_of
from .._side_features._rows import FittedRows, order_features
from .._side_features._side_input import SideInput, check_new_features, ordered


@dataclass(frozen=True)
class SideData:
    """What is known of the rows and the columns, as arrays in their order."""

    row_features: FloatArray | None = None
    col_features: FloatArray | None = None
    row_kernel: FloatArray | None = None
    col_kernel: FloatArray | None = None

    @property
    def has_rows(self) -> bool:
        """Whether rows have features or a kernel."""
        return self.row_features is not None or self.row_kernel is not None

    @property
    def has_columns(self) -> bool:
        """Whether columns have features or a kernel."""
        return self.col_features is not None or self.col_kernel is not None

    def of_rows(self) -> dict[str, FloatArray]:
        """Return what is known of the rows, as arguments of NTKMatrixCompleter.fit."""
        given = {"row_features": self.row_features, "row_kernel": self.row_kernel}
        return {name: side for name, side in given.items() if side is not None}

    def transposed(self) -> "SideData":
        """Return the sides of the transposed matrix."""
        return SideData(
            self.col_features, self.row_features, self.col_kernel, self.row_kernel
        )


@dataclass(frozen=True)
class FittedSides:
    """The sides of the matrix in `fit`, and how further rows are matched with it.

    Attributes
    ----------
    data : SideData
    rows : FittedRows
    names : FeatureNames
        Names of the columns of row_features.
    """

    data: SideData
    rows: FittedRows
    names: FeatureNames

    @classmethod
    def read(cls, X: Table, shape: tuple[int, int], **sides: Any) -> "FittedSides":
        """Check the arguments of `fit` and match them with X by label.

        Parameters
        ----------
        X : array-like or sparse matrix or array
        shape : tuple of (int, int)
        **sides : dict
            The arguments row_features, col_features, row_kernel and col_kernel.
        """
        labels = {"row": labels_of(X), "col": labels_of(X, axis=1)}
        arrays: dict[str, Any] = {}
        for axis, (name, count) in enumerate(zip(("row", "col"), shape, strict=True)):
            features, kernel = (
                to_host(sides.get(f"{name}_{kind}")) for kind in ("features", "kernel")
            )
            if isinstance(features, str):
                raise ValueError(
                    f"{name}_features must be an array, got {features!r}: pass the "
                    f"features of each {'column' if axis else 'row'}."
                )
            side = SideInput(
                "col" if axis else "row",
                features=features,
                kernel=kernel,
                labels=labels[name],
                count=count,
            )
            arrays[f"{name}_features"], arrays[f"{name}_kernel"] = ordered(side)
        return cls(
            SideData(**arrays),
            rows=FittedRows(labels["row"], shape[0]),
            names=FeatureNames.read(to_host(sides.get("row_features")), "row_features"),
        )

    def warn_of_gaps(self, entries: ObservedEntries) -> None:
        """Warn of rows and columns that have neither entries nor features."""
        (m, n), data = entries.shape, self.data
        warn_of_gaps(
            ObservedIndices(None, m)
            if data.has_rows
            else ObservedIndices.of(entries.rows, m)[0],
            ObservedIndices(None, n)
            if data.has_columns
            else ObservedIndices.of(entries.cols, n)[0],
        )

    def match(
        self, X: Table, n_rows: int, row_features: Table | None
    ) -> dict[str, np.ndarray]:
        """Return positions or new features of rows, as arguments of Rows."""
        if row_features is not None:
            return {"features": self._new_features(X, n_rows, row_features)}
        if self.data.has_rows:
            return {"positions": self.rows.positions_of(X, n_rows)}
        return {}

    def _new_features(self, X, n_rows, row_features):
        if self.data.row_features is None:
            raise ValueError(
                "row_features is given, but none were passed to fit: fit with "
                "row_features, or leave it out."
            )
        self.names.check(row_features, "MatrixCompleter")
        features = order_features(
            row_features, "row_features", labels=labels_of(X), of="rows of X"
        )
        return check_new_features(features, self.data.row_features.shape[1], n_rows)
