"""RFM estimators that search their parameters at random, with rounds and folds."""

from ...kernels import NTK
from .._classifier import RFMClassifier
from .._regressor import RFMRegressor
from ._scoring import classifier_of, regressor_of
from ._search_cv import SearchCV


class RFMRegressorCV(SearchCV, RFMRegressor):
    """RFM regression with a random search over kernels and parameters, and averaging.

    Candidates with random kernels, bandwidths, ridges and types of metric are fitted in
    folds, round by round. After each round except round 0, which has no metric, the
    worse half of them ends, down to four, and so does a candidate without a better
    score for two rounds. Two more batches follow, of candidates near the best three.
    The best candidate is fitted to all rows with its best number of rounds, and so are
    the few others whose outputs, averaged with its own, score best [1]_.

    The first twelve candidates have the kernels and the bandwidth of `RFMRegressor`, or
    ``NTK(bias=0.5)``, and ridges of 1, 0.1, 0.01 and 0.001. Further ones, up to 60 % of
    all, are drawn at random: four of five have a kernel of the Lp distance,
    ``LpqLaplace`` with p in quarters from q to 2 and a diagonal metric, the others
    ``GeneralizedLaplace`` with a diagonal or a full metric. Exponents are uniform from
    0.7 to 1.4, bandwidths log-uniform from 0.3 to 30 median distances, and ridges from
    1e-6 to 10. The last 40 % are the two batches near the best, within the same limits.

    Parameters
    ----------
    n_candidates : int, default=30
        Number of candidates.
    n_machines : int, default=5
        The largest number of candidates that the model averages. The average starts
        with the best candidate; then, up to twelve times, the one of the best twelve is
        added that improves the score of the average most. Predictions take
        proportionally longer; 1 keeps the best candidate alone.
    scoring : str, callable or None, default=None
        A scorer of scikit-learn; None is R².
    cv : int, splitter or iterable, default=5
        Number of shuffled folds (at most one per row), a splitter, or pairs of train
        and test row numbers.
    time_budget : float, default=None
        Seconds for the search and the fits to all rows, which a forecast from the
        rounds so far leaves time for. The best model so far is taken; it then depends
        on the speed of the computer.
    categorical_features : array-like of {bool, int, str}, "from_dtype" or None, \
            default="from_dtype"
        As in `RFMRegressor`.
    scaling : {"auto", "clipped", "quantile", "standard"} or None, \
            default="clipped"
        As in `RFMRegressor`; with ``"auto"`` each candidate has one of the two.
    level_statistics : {"auto", "targets", "targets+numbers"} or None, default="auto"
        As in `RFMRegressor`; with ``"auto"`` each candidate has one of them, or none.
    max_iter : int, default=5
        The largest number of updates of the metric.
    fit_intercept : bool, default=True
        Whether the weighted mean of the targets is subtracted before the fit and added
        to the predictions.
    center_gradients : bool, default=False
        Whether the mean gradient is subtracted before the average of outer products.
    max_agop_samples : int, "auto" or None, default="auto"
        The largest number of rows, drawn at random, over which outer products are
        averaged. ``"auto"`` is as many as give 4000 gradients of outputs, at least ten
        gradients for each column, and at least 500 rows. None takes all rows.
    n_centers : int, "auto" or None, default="auto"
        As in `RFMRegressor`; the same for all candidates. The search then runs on a
        sample of 100 000 rows, if there are more.
    centers : {"random", "kmeans"} or array-like of shape (n_centers, n_features), \
            default="random"
        As in `RFMRegressor`.
    solver : {"auto", "cholesky", "eigh", "pcg", "eigenpro"} or EigenPro, default="auto"
        As in `RFMRegressor`.
    device : {"cpu", "cuda", None}, default=None
        As in `RFMRegressor`.
    n_jobs : int or None, default=None
        Number of folds that are fitted at the same time, in threads. Each fit uses
        the threads that BLAS may use, whatever `n_jobs` is. On a GPU folds are fitted
        one after the other.
    random_state : int, RandomState or None, default=None
        Seed of candidates, folds and subsamples.

    Attributes
    ----------
    machines_ : list of RFMRegressor
        The kernel machines whose outputs are averaged, as fitted estimators, the best
        first. Attributes of a single machine, such as `metric_`, are those of the best.
    machine_weights_ : list of float
        The weights of the machines in the average, which sum to 1.
    average_score_ : float
        Mean score of the average over the folds: at least `best_score_`, and
        optimistic, because the average was selected by it.
    best_params_ : dict
        Parameters of the best machine as an `RFMRegressor` with ``validation=None``.
    best_score_ : float
        Mean score of the best candidate over the folds, at its best round.
    best_index_ : int
        Index of the best candidate in `cv_results_`.
    cv_results_ : dict
        As of `GridSearchCV`, with one row for each candidate at its best round,
        ``"iter"``.

    See Also
    --------
    RFMRegressor : A single machine; its other attributes and methods are here as well.
        The standard deviation of an average is that of the mixture of its machines.

    References
    ----------
    .. [1] R. Caruana, A. Niculescu-Mizil, G. Crew, A. Ksikes, "Ensemble selection from
       libraries of models", ICML 2004.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from skrfm import RFMRegressorCV
    >>> X, y = make_friedman1(150, n_features=6, random_state=0)
    >>> model = RFMRegressorCV(n_candidates=6, cv=3, random_state=0).fit(X, y)
    >>> model.best_params_["kernel"], round(model.best_score_, 1)
    (L1Laplace(), 0.9)
    """

    _parameter_constraints = SearchCV._parameter_constraints
    _first_kernels = (*SearchCV._first_kernels, NTK(bias=0.5))
    _machine_class = RFMRegressor
    _unseen_estimator = staticmethod(regressor_of)


class RFMClassifierCV(SearchCV, RFMClassifier):
    """RFM classification with a random search over parameters, and averaging.

    As in `RFMRegressorCV`, candidates with random kernels, bandwidths, ridges and types
    of metric are fitted in folds, round by round, and the worse half of them ends after
    each round; two batches of candidates near the best follow. The best candidate is
    fitted to all rows with its best number of rounds, and so are the few others whose
    outputs, averaged with its own, score best [1]_.

    Parameters
    ----------
    n_candidates : int, default=30
        Number of candidates.
    n_machines : int, default=5
        The largest number of candidates that the model averages. The average starts
        with the best candidate; then, up to twelve times, the one of the best twelve is
        added that improves the score of the average most. Predictions take
        proportionally longer; 1 keeps the best candidate alone.
    scoring : str, callable or None, default=None
        A scorer of scikit-learn; None is minus the log-loss.
    cv : int, splitter or iterable, default=5
        Number of shuffled stratified folds (at most one per row of a class), a
        splitter, or pairs of train and test row numbers.
    time_budget : float, default=None
        Seconds for the search and the fits to all rows, which a forecast from the
        rounds so far leaves time for. The best model so far is taken; it then depends
        on the speed of the computer.
    categorical_features : array-like of {bool, int, str}, "from_dtype" or None, \
            default="from_dtype"
        As in `RFMClassifier`.
    scaling : {"auto", "clipped", "quantile", "standard"} or None, default="auto"
        As in `RFMClassifier`; with ``"auto"`` each candidate has one of the two.
    level_statistics : {"auto", "targets", "targets+numbers"} or None, default="auto"
        As in `RFMRegressor`; with ``"auto"`` each candidate has one of them, or none.
    max_iter : int, default=5
        The largest number of updates of the metric.
    fit_intercept : bool, default=True
        Whether the weighted mean of the targets is subtracted before the fit and added
        to the predictions.
    class_weight : dict, "balanced" or None, default=None
        Factors on the sample weights of each class.
    center_gradients : bool, default=False
        Whether the mean gradient is subtracted before the average of outer products.
    max_agop_samples : int, "auto" or None, default="auto"
        The largest number of rows, drawn at random, over which outer products are
        averaged. ``"auto"`` is as many as give 4000 gradients of outputs, at least ten
        gradients for each column, and at least 500 rows. None takes all rows.
    n_centers : int, "auto" or None, default="auto"
        As in `RFMClassifier`; the same for all candidates. The search then runs on a
        sample of 100 000 rows, if there are more.
    centers : {"random", "kmeans"} or array-like of shape (n_centers, n_features), \
            default="random"
        As in `RFMClassifier`.
    solver : {"auto", "cholesky", "eigh", "pcg", "eigenpro"} or EigenPro, default="auto"
        As in `RFMClassifier`.
    device : {"cpu", "cuda", None}, default=None
        As in `RFMClassifier`.
    n_jobs : int or None, default=None
        Number of folds that are fitted at the same time, in threads. Each fit uses
        the threads that BLAS may use, whatever `n_jobs` is. On a GPU folds are fitted
        one after the other.
    random_state : int, RandomState or None, default=None
        Seed of candidates, folds and subsamples.

    Attributes
    ----------
    machines_ : list of RFMClassifier
        The kernel machines whose outputs are averaged, as fitted estimators, the best
        first. Attributes of a single machine, such as `metric_`, are those of the best.
    machine_weights_ : list of float
        The weights of the machines in the average, which sum to 1.
    average_score_ : float
        Mean score of the average over the folds: at least `best_score_`, and
        optimistic, because the average was selected by it.
    best_params_ : dict
        Parameters of the best machine as an `RFMClassifier` with ``validation=None``.
    best_score_ : float
        Mean score of the best candidate over the folds, at its best round.
    best_index_ : int
        Index of the best candidate in `cv_results_`.
    cv_results_ : dict
        As of `GridSearchCV`, with one row for each candidate at its best round,
        ``"iter"``.

    See Also
    --------
    RFMClassifier : A single machine; its other attributes and methods are here as well.

    References
    ----------
    .. [1] R. Caruana, A. Niculescu-Mizil, G. Crew, A. Ksikes, "Ensemble selection from
       libraries of models", ICML 2004.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skrfm import RFMClassifierCV
    >>> X, y = load_iris(return_X_y=True)
    >>> model = RFMClassifierCV(n_candidates=6, cv=3, random_state=0).fit(X, y)
    >>> round(-model.best_score_, 2)  # the log-loss
    0.09
    """

    _parameter_constraints = {
        **SearchCV._parameter_constraints,
        "class_weight": RFMClassifier._parameter_constraints["class_weight"],
    }
    _machine_class = RFMClassifier
    _unseen_estimator = staticmethod(classifier_of)

    def __init__(
        self,
        *,
        n_candidates=30,
        n_machines=5,
        scoring=None,
        cv=5,
        time_budget=None,
        categorical_features="from_dtype",
        scaling="auto",
        level_statistics="auto",
        max_iter=5,
        fit_intercept=True,
        class_weight=None,
        center_gradients=False,
        max_agop_samples="auto",
        n_centers="auto",
        centers="random",
        solver="auto",
        device=None,
        n_jobs=None,
        random_state=None,
    ):
        super().__init__(
            n_candidates=n_candidates,
            n_machines=n_machines,
            scoring=scoring,
            cv=cv,
            time_budget=time_budget,
            categorical_features=categorical_features,
            scaling=scaling,
            level_statistics=level_statistics,
            max_iter=max_iter,
            fit_intercept=fit_intercept,
            center_gradients=center_gradients,
            max_agop_samples=max_agop_samples,
            n_centers=n_centers,
            centers=centers,
            solver=solver,
            device=device,
            n_jobs=n_jobs,
            random_state=random_state,
        )
        self.class_weight = class_weight
