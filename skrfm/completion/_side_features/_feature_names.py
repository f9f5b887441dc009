"""Names of the columns of features: remembered in `fit`, checked in predictions."""

from dataclasses import dataclass
from types import SimpleNamespace

from ..._backend import Table
from ..._sklearn import check_feature_names, feature_names_of, warn
from ._labels import Labels, labels_of, require_distinct_columns


@dataclass(frozen=True)
class FeatureNames:
    """Names of the columns of features.

    Attributes
    ----------
    argument : str
        The argument that the features were passed as.
    names : ndarray of shape (n_features,) or None
        The names; None for an array, and for a data frame whose names are not strings.
    labels : Labels or None
        Labels of the columns, None where they have names or no labels.
    """

    argument: str
    names: Table | None = None
    labels: Labels | None = None

    @classmethod
    def read(cls, features: Table, argument: str) -> "FeatureNames":
        """Return the names of the columns of features."""
        require_distinct_columns(features, argument)
        try:
            names = feature_names_of(features)
        except TypeError as error:
            raise TypeError(f"{argument}: {error}") from None
        labels = labels_of(features, axis=1) if names is None else None
        return cls(argument, names, labels)

    def check(self, features: Table, estimator: str) -> None:
        """Check that features have the same names in the same order.

        As in scikit-learn, there is a warning if only one of both has names. Labels
        that are not strings must not be reordered; other differences between them are
        ignored.

        Parameters
        ----------
        features : array-like or data frame
            Features of rows to predict.
        estimator : str
            The name of the estimator's class.
        """
        new = FeatureNames.read(features, self.argument)
        if self.names is None and new.names is not None:
            warn(
                f"{self.argument} has feature names, but {estimator} was fitted "
                "without feature names"
            )
        elif self.names is not None and new.names is None:
            warn(
                f"{self.argument} does not have valid feature names, but {estimator} "
                "was fitted with feature names"
            )
        elif self.names is not None:
            try:
                fitted = SimpleNamespace(feature_names_in_=self.names)
                check_feature_names(fitted, features, reset=False)
            except ValueError as error:
                raise ValueError(f"{self.argument}: {error}") from None
        elif self._is_reordered(new):
            raise ValueError(
                f"{self.argument}: The feature names should match those that were "
                "passed during fit.\nFeature names must be in the same order as they "
                "were in fit.\n"
            )

    def _is_reordered(self, new):
        """Return whether the same labels come in another order."""
        if self.labels is None or new.labels is None or self.labels.equals(new.labels):
            return False
        fitted, given = self.labels.comparable, new.labels.comparable
        return len(fitted) == len(given) and set(fitted) == set(given)
