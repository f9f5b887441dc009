"""RFM estimators that search their parameters at random, with rounds and folds."""

from ..kernels import NTK
from ..rfm import RFMClassifier, RFMRegressor
from ._scoring import classifier_of, regressor_of
from ._search_cv import SearchCV


class RFMRegressorCV(SearchCV, RFMRegressor):
    """Kernel ridge regression with a learned feature metric, its parameters searched.

    Random kernels, bandwidths, ridges and kinds of metric are fitted side by side in
    folds, round by round. After each round but the first, which is before any metric,
    the worse half of the candidates is given up, down to four, and so is one without a
    better score for two rounds. Two more heats follow, of candidates near the best
    three. The best candidate at its best round is fitted again on all rows, and so are
    the few others whose outputs, averaged with its own, score best [1]_.

    The first twelve candidates are the kernels and the bandwidth of `RFMRegressor`, and
    ``NTK(bias=0.5)``, with ridges of 1, 0.1, 0.01 and 0.001. Others, up to 60 % of all,
    are drawn at random: kernels are those of the Lp distance, ``LpqLaplace`` with p in
    quarters from q to 2 and a diagonal metric, in four cases of five, else
    ``GeneralizedLaplace`` with a diagonal or a full one; exponents are uniform from 0.7
    to 1.4, bandwidths log-uniform from 0.3 to 30 median distances, and ridges from 1e-6
    to 10. The last 40 % are those of the two heats, within the same limits. Candidates
    of one distance share its computation before a metric is learned.

    Parameters
    ----------
    n_candidates : int, default=30
        Number of candidates.
    n_machines : int, default=5
        How many of them the model averages at most: the best one, and again and again,
        up to twelve shares, the one of the best twelve that betters the score of the
        average most. Predictions take so many times as long; 1 takes the best alone.
    scoring : str, callable or None, default=None
        A scorer of scikit-learn; None is R².
    cv : int, splitter or iterable, default=5
        Number of shuffled folds (at most one per row), a splitter, or pairs of train
        and test row numbers.
    time_budget : float, default=None
        Seconds after which no further round of the search is begun; the fit to all rows
        follows. What was reached then depends on the machine, and so does the model.
    categorical_features : array-like of {bool, int, str}, "from_dtype" or None, \
            default="from_dtype"
        As in `RFMRegressor`.
    scaling : {"auto", "clipped", "quantile", "standard"} or None, \
            default="clipped"
        As in `RFMRegressor`; with ``"auto"`` candidates have one or the other.
    max_iter : int, default=5
        Largest number of rounds in which the metric is learned anew.
    fit_intercept : bool, default=True
        Whether the weighted mean of the targets is taken out before the fit and added
        to the predictions.
    center_gradients : bool, default=False
        Whether the mean gradient is subtracted before the average of outer products.
    max_agop_samples : int or None, default=20_000
        Average the outer products over a random subsample of at most so many rows.
    solver : {"auto", "cholesky", "eigh", "pcg", "eigenpro"}, default="auto"
        As in `RFMRegressor`.
    device : {"cpu", "cuda", None}, default=None
        As in `RFMRegressor`.
    n_jobs : int or None, default=None
        Number of folds that are fitted at the same time, in threads.
    random_state : int, RandomState or None, default=None
        Seeds candidates, folds and subsamples.

    Attributes
    ----------
    machines_ : list of RFMRegressor
        The machines whose outputs are averaged, the best first. Attributes of one
        machine, as `metric_`, are those of the best on the search itself.
    machine_weights_ : list of float
        Their shares in the average; they sum to 1.
    average_score_ : float
        Mean score of the folds of the average; at least `best_score_`, and optimistic,
        for it was sought.
    best_params_ : dict
        Parameters of an `RFMRegressor` that is the best machine, with
        ``validation=None``.
    best_score_ : float
        Mean score of the folds of the best candidate at its best round.
    best_index_ : int
        Its place in `cv_results_`.
    cv_results_ : dict
        As of `GridSearchCV`, a row for each candidate at its best round, "iter".

    See Also
    --------
    RFMRegressor : With all other attributes, and methods. The standard deviation of an
        average is that of the mixture of its machines.

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
    >>> len(model.cv_results_["params"]), bool(model.best_score_ > 0.8)
    (6, True)
    """

    _parameter_constraints = SearchCV._parameter_constraints
    _first_kernels = (*SearchCV._first_kernels, NTK(bias=0.5))
    _machine_class = RFMRegressor
    _unseen_estimator = staticmethod(regressor_of)


class RFMClassifierCV(SearchCV, RFMClassifier):
    """Kernel classification with a learned feature metric, its parameters searched.

    As `RFMRegressorCV`: random kernels, bandwidths, ridges and kinds of metric are
    fitted side by side in folds, round by round, and the worse half of them is given up
    after each round; then come two heats of others near the best. The best candidate at
    its best round is fitted again on all rows, and so are the few others whose outputs,
    averaged with its own, score best [1]_.

    Parameters
    ----------
    n_candidates : int, default=30
        Number of candidates.
    n_machines : int, default=5
        How many of them the model averages at most: the best one, and again and again,
        up to twelve shares, the one of the best twelve that betters the score of the
        average most. Predictions take so many times as long; 1 takes the best alone.
    scoring : str, callable or None, default=None
        A scorer of scikit-learn; None is minus the log-loss.
    cv : int, splitter or iterable, default=5
        Number of shuffled stratified folds (at most one per row of a class), a
        splitter, or pairs of train and test row numbers.
    time_budget : float, default=None
        Seconds after which no further round of the search is begun; the fit to all rows
        follows. What was reached then depends on the machine, and so does the model.
    categorical_features : array-like of {bool, int, str}, "from_dtype" or None, \
            default="from_dtype"
        As in `RFMClassifier`.
    scaling : {"auto", "clipped", "quantile", "standard"} or None, default="auto"
        As in `RFMClassifier`; with ``"auto"`` candidates have one or the other.
    max_iter : int, default=5
        Largest number of rounds in which the metric is learned anew.
    fit_intercept : bool, default=True
        Whether the weighted mean of the targets is taken out before the fit and added
        to the predictions.
    class_weight : dict, "balanced" or None, default=None
        Factors on the sample weights of each class.
    center_gradients : bool, default=False
        Whether the mean gradient is subtracted before the average of outer products.
    max_agop_samples : int or None, default=20_000
        Average the outer products over a random subsample of at most so many rows.
    solver : {"auto", "cholesky", "eigh", "pcg", "eigenpro"}, default="auto"
        As in `RFMClassifier`.
    device : {"cpu", "cuda", None}, default=None
        As in `RFMClassifier`.
    n_jobs : int or None, default=None
        Number of folds that are fitted at the same time, in threads.
    random_state : int, RandomState or None, default=None
        Seeds candidates, folds and subsamples.

    Attributes
    ----------
    machines_ : list of RFMClassifier
        The machines whose outputs are averaged, the best first. Attributes of one
        machine, as `metric_`, are those of the best on the search itself.
    machine_weights_ : list of float
        Their shares in the average; they sum to 1.
    average_score_ : float
        Mean score of the folds of the average; at least `best_score_`, and optimistic,
        for it was sought.
    best_params_ : dict
        Parameters of an `RFMClassifier` that is the best machine, with
        ``validation=None``.
    best_score_ : float
        Mean score of the folds of the best candidate at its best round.
    best_index_ : int
        Its place in `cv_results_`.
    cv_results_ : dict
        As of `GridSearchCV`, a row for each candidate at its best round, "iter".

    See Also
    --------
    RFMClassifier : With all other attributes, and methods.

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
    >>> model.score(X, y) > 0.95
    True
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
        max_iter=5,
        fit_intercept=True,
        class_weight=None,
        center_gradients=False,
        max_agop_samples=20_000,
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
            max_iter=max_iter,
            fit_intercept=fit_intercept,
            center_gradients=center_gradients,
            max_agop_samples=max_agop_samples,
            solver=solver,
            device=device,
            n_jobs=n_jobs,
            random_state=random_state,
        )
        self.class_weight = class_weight
