"""Data frames: results that keep the labels of rows and columns."""

from typing import Any

from .._backend import FloatArray, Table
from .._sklearn import output_container


def as_given(completer: Any, X: Table, completed: FloatArray) -> Table:
    """Return a completed X as a data frame with the labels of X, if X is one.

    Return the array if `set_output` asks for another container. The columns keep the
    names of X only if the completer was fitted with names, or if some are not strings.
    """
    if output_container(completer) != "default":
        return completed
    is_pandas = hasattr(X, "iloc")
    is_polars = not is_pandas and hasattr(X, "with_columns")
    if not is_pandas and not is_polars:
        return completed
    columns = X.columns
    fitted_with_names = hasattr(completer, "feature_names_in_")
    if not fitted_with_names and all(isinstance(name, str) for name in columns):
        columns = completer.get_feature_names_out()
    if is_pandas:
        return type(X)(completed, index=X.index, columns=columns)
    return type(X)(completed, schema=list(columns))
