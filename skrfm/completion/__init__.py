"""Matrix completion."""

from ._entry_regressor import EntryRegressor
from ._lin_rfm import LinRFMCompleter

__all__ = ["EntryRegressor", "LinRFMCompleter"]
