"""scikit-learn's progress bar, with an error that names the extra it needs."""

from sklearn import callback


class ProgressBar(callback.ProgressBar):
    """Progress bars in a terminal while an estimator is fitted.

    This is :class:`sklearn.callback.ProgressBar`. It differs where the package rich is
    missing: the error names the extra of this package that installs it.

    Parameters
    ----------
    max_propagation_depth : int or None, default=1
        How many levels of estimators within estimators have bars of their own. 0 draws
        that of the outermost estimator only, None those of all levels.

    Raises
    ------
    ImportError
        If rich is not installed.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skrfm import RFMRegressor
    >>> from skrfm.inspection import ProgressBar
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = RFMRegressor(kernel="laplace", alpha=0.1, max_iter=2, validation=None)
    >>> model = model.set_callbacks(ProgressBar()).fit(X[:100], y[:100])
    RFMRegressor - fit ... 100% ...
      RFMRegressor - fit #0 ... 100% ...
    """

    def __init__(self, max_propagation_depth=1):
        try:
            super().__init__(max_propagation_depth)
        except ImportError as error:
            raise ImportError(
                "ProgressBar needs the package rich, which is not installed. The extra "
                '`progress` installs it: python -m pip install "skrfm[progress]"'
            ) from error
