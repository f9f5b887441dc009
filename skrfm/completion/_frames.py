"""Data frames: the labels of rows and columns, and results that keep them."""

from .._sklearn import output_container


def index_of(X, axis=0):
    """Return the labels of the rows or columns of a data frame, None of an array."""
    if not hasattr(X, "iloc"):
        return None
    index = (X.index, X.columns)[axis]
    return index if index.is_unique else None


def as_given(completer, X, completed):
    """Return a completed X as a data frame with the labels of X, if X is one.

    Not so where `set_output` asks for some other kind. Names that the completer was not
    fitted with are not those of its columns.
    """
    if output_container(completer) != "default":
        return completed
    frame = hasattr(X, "iloc")
    if not frame and not hasattr(X, "with_columns"):  # pandas and polars have one
        return completed
    columns = X.columns
    strange = not hasattr(completer, "feature_names_in_")
    if strange and all(isinstance(name, str) for name in columns):
        columns = completer.get_feature_names_out()
    if frame:
        return type(X)(completed, index=X.index, columns=columns)
    return type(X)(completed, schema=list(columns))
