"""RecursiveFeatures: any estimator on rows that its own gradients have reweighted."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import (
    BaseEstimator,
    MetaEstimatorMixin,
    _fit_context,
    is_classifier,
)
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metadata_routing import MethodMapping, process_routing
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import has_fit_parameter

from .._backend import Table, Vector
from .._search import make_folds, mean_excess
from .._sklearn import (
    FitTasks,
    HasMethods,
    Interval,
    RealNotInt,
    StrOptions,
    check_method_params,
    restored_on_error,
    routing_enabled,
    splitter_router,
)
from .._tables import HostScoreMixin, to_host, validate_numbers, validate_weight
from ._gradients import RESPONSE_METHODS, GradientOptions, has_part, is_tree
from ._mapped import FLOATS, MappedMixin
from ._maps import MapRule
from ._rounds import Recursion, Rows, simplest_of_best


class RecursiveFeatures(
    HostScoreMixin, MappedMixin, MetaEstimatorMixin, CallbackSupportMixin, BaseEstimator
):
    """Any estimator on features that are learned from its own gradients.

    What a Recursive Feature Machine does with kernel ridge regression [1]_, with any
    regressor or classifier of numbers: it is fitted, its average gradient outer product
    (AGOP) tells along which directions its predictions vary, rows are reweighted
    accordingly, and it is fitted again. Gradients have a closed form or are differences
    of predictions, see `skrfm.inspection.agop`.

    The number of these rounds is chosen by cross-validation, with a metric that is
    learned inside each fold. Among the choices is no round at all, which is the
    estimator as it is.

    Parameters
    ----------
    estimator : estimator
        The regressor or classifier. For columns of different units, pass a pipeline
        that scales them, or put the scaler before this estimator.
    max_iter : int, default=2
        The largest number of times that rows are reweighted.
    metric_type : {"auto", "full", "diag"}, default="auto"
        Whether the metric is a full matrix or a diagonal one, which weights columns.
        ``"auto"`` chooses with the number of rounds; for ``mode="concat"``, and without
        validation, it is full.
    n_components : int, float or None, default=None
        Truncates the metric to that many leading eigenvectors, or to as many as make up
        that share of its trace.
    mode : {"auto", "scale", "concat"}, default="auto"
        What the estimator is fitted to: ``"scale"`` is rows times the square root of
        the metric, with the total variance that they had; ``"concat"`` is the columns
        and, beside them, the positions of rows along the leading eigenvectors of the
        metric. Decision trees do not see a scale, but split along such directions, so
        ``"auto"`` is ``"concat"`` for trees and ensembles of them, else ``"scale"``.
    response_method : {"auto", "predict_proba", "decision_function", "predict"}, \
            default="auto"
        What is differentiated. ``"auto"`` is ``"predict"`` of a regressor, and of a
        classifier ``"predict_proba"``, or ``"decision_function"`` if there is none.
    step : float, array-like of float or "auto", default="auto"
        The steps of differences, in standard deviations of each column; differences
        over several steps are averaged. ``"auto"`` follows the kind of estimator.
    max_agop_samples : int or None, default=500
        The largest number of rows, drawn at random, over which outer products are
        averaged. None takes all rows.
    validation : {"cv"} or None, default="cv"
        How the number of rounds and the kind of metric are chosen. ``"cv"`` compares
        out-of-fold losses: squared errors of a regressor, squared errors of the
        probabilities of a classifier, or whether it errs if it has no probabilities.
        The simplest choice is taken whose mean loss is within one standard error of the
        difference to the best: no reweighting before a few rounds, and a diagonal
        metric before a full one. None makes `max_iter` rounds.
    cv : int, splitter or iterable, default=3
        Number of shuffled folds (stratified for a classifier), a splitter, or pairs of
        train and test row numbers.
    n_jobs : int or None, default=None
        Number of folds that are fitted at the same time.
    random_state : int, RandomState or None, default=None
        Seeds folds, and the rows of averages. The estimator has a seed of its own.

    Attributes
    ----------
    estimator_ : estimator
        The estimator, fitted to the rows that `transform` returns.
    best_iter_ : int
        The number of times that rows were reweighted; 0 is the estimator as it is.
    metric_type_ : {"none", "full", "diag"}
        The kind of metric that was taken.
    components_ : ndarray of shape (n_features_out, n_features)
        The matrix that rows are multiplied by.
    agop_ : ndarray of shape (n_features, n_features)
        The AGOP of the fitted model.
    feature_importances_ : ndarray of shape (n_features,)
        The share of each column in the trace of the AGOP, with columns in units of
        their standard deviation.
    history_ : dict of ndarrays
        Columns ``metric_type``, ``iter``, ``mean_loss``, and ``mean_excess`` and
        ``excess_error``, the mean difference to the best and its standard error, of all
        that was compared; empty without validation.
    n_iter_ : int
        Number of rounds of reweighting of the longest fit, at least 1.
    classes_ : ndarray of shape (n_classes,)
        Class labels, of a classifier.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X has names that are all strings.

    See Also
    --------
    RFMRegressor : The recursion with a kernel machine, which needs no other estimator.
    skrfm.inspection.agop : The AGOP of any fitted estimator.

    Notes
    -----
    Like `GridSearchCV` and `TransferKernel` this is one class, a regressor or a
    classifier as its estimator is.

    A fit takes ``(1 + cv) * (1 + max_iter)`` fits of the estimator, twice as many with
    two kinds of metric. Differences take two predictions for each column, step and row
    of an average.

    References
    ----------
    .. [1] A. Radhakrishnan, D. Beaglehole, P. Pandit, M. Belkin, "Mechanism for feature
       learning in neural networks and backpropagation-free machine learning models",
       Science 383, 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsRegressor
    >>> from skrfm import RecursiveFeatures
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 8))
    >>> y = np.sin(X[:, 0] + X[:, 1])
    >>> train, test = slice(0, 500), slice(500, None)
    >>> alone = KNeighborsRegressor(10).fit(X[train], y[train])
    >>> round(alone.score(X[test], y[test]), 2)
    0.69
    >>> model = RecursiveFeatures(KNeighborsRegressor(10), random_state=0)
    >>> model = model.fit(X[train], y[train])
    >>> round(model.score(X[test], y[test]), 2)
    0.98
    >>> model.feature_importances_.round(1)
    array([0.5, 0.5, 0. , 0. , 0. , 0. , 0. , 0. ])
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict"])],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "metric_type": [StrOptions({"auto", "full", "diag"})],
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            None,
        ],
        "mode": [StrOptions({"auto", "scale", "concat"})],
        "response_method": [StrOptions({"auto", *RESPONSE_METHODS})],
        "step": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
            "array-like",
        ],
        "max_agop_samples": [Interval(Integral, 1, None, closed="left"), None],
        "validation": [StrOptions({"cv"}), None],
        "cv": ["cv_object"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator,
        *,
        max_iter=2,
        metric_type="auto",
        n_components=None,
        mode="auto",
        response_method="auto",
        step="auto",
        max_agop_samples=500,
        validation="cv",
        cv=3,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.max_iter = max_iter
        self.metric_type = metric_type
        self.n_components = n_components
        self.mode = mode
        self.response_method = response_method
        self.step = step
        self.max_agop_samples = max_agop_samples
        self.validation = validation
        self.cv = cv
        self.n_jobs = n_jobs
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        for name in ("estimator_type", "classifier_tags", "regressor_tags"):
            setattr(tags, name, getattr(inner, name))
        tags.target_tags = inner.target_tags
        tags.target_tags.required = True
        tags.input_tags.positive_only = inner.input_tags.positive_only
        tags.non_deterministic = inner.non_deterministic
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def get_metadata_routing(self):
        """Return what `fit` takes, and passes to the estimator and to the splitter.

        Returns
        -------
        routing : MetadataRouter
        """
        router = splitter_router(self, self.cv)
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return router.add(estimator=self.estimator, method_mapping=mapping)

    # the estimator is the user's, so its own fit must validate its parameters
    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Table,
        y: Vector,
        sample_weight: Vector | None = None,
        *,
        groups: Vector | None = None,
        **fit_params,
    ):
        """Choose the number of rounds, and fit the estimator to reweighted rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows of numbers.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, of the averages and of the losses, and of the fits of the
            estimator, which must take them. Rows of weight 0 are left out.
        groups : array-like of shape (n_samples,), default=None
            Labels of the rows for a splitter `cv` that takes them, as ``GroupKFold()``.
        **fit_params : dict
            Further arguments of the `fit` of the estimator. Those with one item for
            each row are split as the rows are.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with restored_on_error(self):
            metadata = {"sample_weight": sample_weight}
            tasks = FitTasks.of_fit(self, X=X, y=y, metadata=metadata)
            rows, keep, groups = self._read(X, y, sample_weight, groups, fit_params)
            self._fit(rows, keep, groups, tasks)
            tasks.end(vars(self))
        return self

    def _read(self, X, y, sample_weight, groups, fit_params):
        """Return the Rows of positive weight, which they are, and their groups."""
        if not isinstance(self.step, str):
            steps = np.asarray(self.step)
            if not (steps.size > 0 and (steps > 0).all()):
                raise ValueError(f"step must be positive, got {self.step!r}.")
        classifies, tags = is_classifier(self.estimator), get_tags(self.estimator)
        multi_output = tags.target_tags.multi_output or (
            tags.classifier_tags is not None and tags.classifier_tags.multi_label
        )
        X, y = validate_numbers(
            self,
            to_host(X),
            to_host(y),
            **FLOATS,
            multi_output=multi_output,
            y_numeric=not classifies,
            ensure_min_samples=2,
        )
        if classifies:
            check_classification_targets(y)
        sample_weight = to_host(sample_weight)
        params, groups = self._route(sample_weight, to_host(groups), fit_params)
        weight = validate_weight(sample_weight, X)
        keep = weight > 0
        rows = Rows(X, y, weight, check_method_params(X, params))
        return rows if keep.all() else rows.take(np.flatnonzero(keep)), keep, groups

    def _route(self, sample_weight, groups, fit_params):
        """Return the arguments of the estimator's `fit`, and the splitter's groups."""
        given = {"sample_weight": sample_weight, "groups": groups}
        given = {name: value for name, value in given.items() if value is not None}
        if routing_enabled():
            routed = process_routing(self, "fit", **given, **fit_params)
            split = routed.get("splitter", {}).get("split", {})
            return routed.estimator.fit, split.get("groups")
        if sample_weight is not None:
            if not has_fit_parameter(self.estimator, "sample_weight"):
                raise ValueError(
                    f"{type(self.estimator).__name__}.fit takes no sample_weight: "
                    "leave it out, or pass an estimator that takes weights."
                )
            fit_params = {"sample_weight": sample_weight, **fit_params}
        return fit_params, groups

    def _fit(self, rows, keep, groups, tasks):
        """Choose, fit, and set the fitted attributes."""
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        recursion = self._recursion(seed)
        kind, number = recursion.rules[0].metric_type, self.max_iter
        self.history_ = {}
        if self.validation is not None and self.max_iter > 0:
            kind, number = self._choose(recursion, rows, keep, groups, tasks)
        recursion = recursion.only(kind, number)
        with tasks.open("fit", number + 1) as task:
            rounds = recursion.run(rows)
            while True:
                with task.open("round") as round_task:
                    fitted = next(rounds, None)
                if fitted is None:
                    break
                last = fitted
                if round_task.stop or fitted.number == number:
                    break
        self.estimator_, self._map = last.estimator, last.map
        self.components_ = last.map.matrix
        self.best_iter_, self.metric_type_ = last.number, last.metric_type
        self.n_iter_ = max(1, last.number, *self.history_.get("iter", ()))
        self.agop_ = recursion.agop(last, rows)
        shares = np.diagonal(self.agop_) * np.diagonal(rows.covariance())
        total = shares.sum()
        self.feature_importances_ = shares / total if total > 0 else shares
        if is_classifier(self.estimator_):
            self.classes_ = self.estimator_.classes_

    def _recursion(self, seed):
        """Return the Recursion of the parameters."""
        mode = self.mode
        if mode == "auto":
            mode = "concat" if has_part(self.estimator, is_tree) else "scale"
        if mode == "concat" and self.metric_type == "diag":
            raise ValueError(
                'metric_type="diag" has no directions beside the columns: pass "full", '
                'or mode="scale".'
            )
        kinds = (self.metric_type,)
        if self.metric_type == "auto":
            both = mode == "scale" and self.validation is not None
            kinds = ("diag", "full") if both else ("full",)
        options = GradientOptions(
            response_method=self.response_method,
            step=self.step,
            max_samples=self.max_agop_samples,
        )
        return Recursion(
            estimator=self.estimator,
            rules=tuple(MapRule(mode, kind, self.n_components) for kind in kinds),
            max_iter=self.max_iter,
            options=options,
            seed=seed,
        )

    def _choose(self, recursion, rows, keep, groups, tasks):
        """Return the kind of metric and the number of rounds; set `history_`."""
        n, strata, scale = len(rows.X), np.zeros(len(rows.X)), 1.0
        if is_classifier(self.estimator) and rows.y.ndim == 1:
            strata = np.unique(rows.y, return_inverse=True)[1]
        elif not is_classifier(self.estimator):
            y = rows.y.reshape(n, -1)
            scale = float(y.var(axis=0).sum()) or 1.0
        folds = make_folds(
            self.cv, strata, keep=keep, seed=recursion.seed, groups=groups
        )
        parallel = Parallel(n_jobs=self.n_jobs, return_as="generator")
        found: Any = parallel(
            delayed(recursion.fold_losses)(rows, train, test, scale)
            for train, test in folds
        )
        table, times = np.zeros((len(recursion.candidates), n)), np.zeros(n)
        for _, test in folds:
            with tasks.open("fold"):
                table[:, test] += next(found)
            times[test] += 1
        scored = times > 0
        table, weight = table[:, scored] / times[scored], rows.weight[scored]
        best = simplest_of_best(table, weight, mean_excess)
        self.history_ = _history(recursion.candidates, table, weight)
        return recursion.candidates[best]


def _history(candidates, table, weight):
    """Return what was compared, in columns."""
    best = int(np.argmin(table @ weight))
    pairs = [mean_excess(own, table[best], weight) for own in table]
    excess, error = (np.array(column) for column in zip(*pairs, strict=True))
    return {
        "metric_type": np.array([kind for kind, _ in candidates]),
        "iter": np.array([number for _, number in candidates]),
        "mean_loss": table @ weight / weight.sum(),
        "mean_excess": excess,
        "excess_error": error,
    }
