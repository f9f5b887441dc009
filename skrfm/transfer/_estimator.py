"""TransferKernel: a model of one task as a start for another."""

import numpy as np
from sklearn.base import (
    BaseEstimator,
    MetaEstimatorMixin,
    _fit_context,
    clone,
    is_classifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from .._sklearn import (
    HasMethods,
    StrOptions,
    check_sample_weight,
    clone_parametrized,
    restored_on_error,
)
from .._tables import (
    DEVICES,
    HostScoreMixin,
    InnerDeviceMixin,
    outer_placement_of,
    to_host,
)
from ..rfm import RFMClassifier, RFMRegressor
from ._methods import METHODS, Rows, compare, fit_models, make_model
from ._source import (
    RESPONSES,
    Balance,
    Responses,
    coded_outputs,
    raw_scores,
    warn_of_constant,
    warn_of_shared_rows,
)
from ._target import Task, residual_regressor, supports_weights

# with fewer rows nothing can be compared
_LEAST_ROWS = 3


def _is_fitted(estimator):
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def _target_has(name):
    def check(transfer):
        if getattr(transfer, "method_", None) in ("translation", "both"):
            return transfer._classifies()
        getattr(transfer._target(), name)
        return True

    return check


class TransferKernel(
    InnerDeviceMixin, HostScoreMixin, MetaEstimatorMixin, BaseEstimator
):
    """Transfer learning: a model of a source task helps with a target task.

    The source is any fitted estimator. On the target rows it is used in one of these
    ways:

    - "projection": the target model is fitted on the scores of the source;
    - "concat": on the features and the scores;
    - "translation": a regressor is fitted on what the source leaves over, and added to
      what it says. The outputs must be the same: those of a regressor, or classes that
      the source has all;
    - "both": translation of a projection;
    - "none": the target model alone.

    By default that is chosen by what it does on target rows that a fit has not seen.

    Parameters
    ----------
    source_estimator : estimator, default=None
        The source: fitted, or to be fitted on `X_source` and `y_source`. None, without
        those, is no transfer; with them, the target estimator's kind.
    target_estimator : estimator, default=None
        The model of the target. None is an `RFMClassifier` or `RFMRegressor`, as the
        source is, with ``scaling=None``: scores stand beside columns as they are.
    method : {"auto", "outputs", "none", "projection", "concat", "translation", \
            "both"}, default="auto"
        "auto" compares squared errors (for classes, log-losses) on rows that are left
        out in turn, and takes the best method that is better than "none", and than
        "translation" if that is, by more than a standard error of the difference.
        "outputs" is "translation" where the outputs match, else "concat", without any
        comparison.
    cv : int, splitter or iterable, default=5
        Number of folds, stratified if all classes have as many rows; with few rows each
        is left out by itself.
    feature_scale : {"balance", None}, default="balance"
        Whether the scores get the total variance of the features.
    response : {"auto", "decision_function", "predict_proba", "predict_log_proba", \
            "predict"}, default="auto"
        The method of the source whose results are features of the target. "auto" is
        the first of "decision_function", "predict_proba" and "predict" that there is.
    device : {"cpu", "cuda", None}, default=None
        Where the target's model is computed, if it has a parameter `device`: ``"cuda"``
        on a GPU, by CuPy. None is the device of `target_estimator`, or follows arrays
        of CuPy. Results are such arrays for such rows.
    random_state : int, RandomState instance or None, default=None
        Seeds the folds, and the default target.

    Attributes
    ----------
    method_ : str
        The method that was taken.
    source_estimator_ : estimator
        The fitted source, None where there is none.
    target_estimator_ : estimator
        The target's model as it was before the fit.
    cv_results_ : dict
        "method", "mean_loss", and "mean_gain" and "gain_error", the mean difference to
        "none" and its standard error; empty where nothing was compared.
    classes_ : ndarray of shape (n_classes,)
        The classes, of a classifier.
    n_features_in_ : int
        Number of columns.

    References
    ----------
    A. Radhakrishnan, M. Ruiz Luyten, N. Prasad and C. Uhler, "Transfer learning with
    kernel methods", Nature Communications 14, 2023, doi:10.1038/s41467-023-41215-8.

    Examples
    --------
    >>> import numpy as np
    >>> from skrfm import RFMRegressor, TransferKernel
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 5))
    >>> source = RFMRegressor(random_state=0).fit(X, np.sin(2 * X[:, 0]))
    >>> X_new = rng.normal(size=(120, 5))
    >>> y_new = np.sin(2 * X_new[:, 0]) + 0.5 * X_new[:, 1]
    >>> model = TransferKernel(source, random_state=0).fit(X_new[:20], y_new[:20])
    >>> alone = RFMRegressor(random_state=0).fit(X_new[:20], y_new[:20])
    >>> model.score(X_new[20:], y_new[20:]) > alone.score(X_new[20:], y_new[20:])
    True
    """

    _parameter_constraints = {
        "source_estimator": [HasMethods(["fit", "predict"]), None],
        "target_estimator": [HasMethods(["fit", "predict"]), None],
        "method": [StrOptions({"auto", "outputs", *METHODS})],
        "cv": ["cv_object"],
        "feature_scale": [StrOptions({"balance"}), None],
        "response": [StrOptions({"auto", *RESPONSES})],
        "device": [StrOptions(set(DEVICES)), None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        source_estimator=None,
        target_estimator=None,
        *,
        method="auto",
        cv=5,
        feature_scale="balance",
        response="auto",
        device=None,
        random_state=None,
    ):
        self.source_estimator = source_estimator
        self.target_estimator = target_estimator
        self.method = method
        self.cv = cv
        self.feature_scale = feature_scale
        self.response = response
        self.device = device
        self.random_state = random_state

    def __sklearn_clone__(self):
        """Share a fitted source with clones, as if it were frozen."""
        twin = clone_parametrized(self, safe=False)
        source = self.source_estimator
        if source is not None and _is_fitted(source):
            twin.source_estimator = source
        return twin

    def _target(self):
        """Return the model of the target, unfitted."""
        if self.target_estimator is not None:
            return self.target_estimator
        source = self.source_estimator
        classifies = source is not None and is_classifier(source)
        kind = RFMClassifier if classifies else RFMRegressor
        return kind(scaling=None, random_state=self.random_state)

    def _target_on(self, placement):
        """Return the model of the target, to be computed at a Placement."""
        target = self._target()
        device = "cuda" if placement.on_gpu else self.device
        if device is None or "device" not in target.get_params(deep=False):
            return target
        return clone(target).set_params(device=device)

    def _classifies(self):
        return is_classifier(self._target())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        target = get_tags(self._target())
        for name in ("estimator_type", "classifier_tags", "regressor_tags"):
            setattr(tags, name, getattr(target, name))
        tags.target_tags.required = True
        multi = target.target_tags.multi_output and not self._classifies()
        tags.target_tags.multi_output = multi
        return tags

    # fitted source estimators are not to be fitted again: what is nested is checked
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None, *, X_source=None, y_source=None):
        """Fit the target task.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target rows, with the columns of the source.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        X_source : array-like of shape (n_source_samples, n_features), default=None
            Source rows; the source is fitted on them, and nowhere else.
        y_source : array-like of shape (n_source_samples,), default=None
            Their targets.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with restored_on_error(self):
            placement = outer_placement_of(self.device, X)
            X, y, sample_weight = placement.read(X), to_host(y), to_host(sample_weight)
            target, given = self._target_on(placement), X
            classifies = is_classifier(target)
            X, y = validate_data(
                self,
                X,
                y,
                dtype=[np.float64, np.float32],
                multi_output=not classifies,
                y_numeric=not classifies,
                ensure_min_samples=2,
            )
            weight = self._weight(sample_weight, X, target)
            keep = np.ones(len(y), dtype=bool) if weight is None else weight > 0
            if classifies:
                self._set_classes(y[keep])
            self.source_estimator_ = self._source(X_source, y_source, X, placement)
            self.target_estimator_, self._single_output = target, y.ndim == 1
            rows, y = self._source_says(given, X, y, weight), y[keep]
            weight = None if weight is None else weight[keep]
            self._fit(rows.take(keep), y, weight, keep)
        return self

    def _set_classes(self, y):
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(
                "y has one class only: a classifier needs two classes or more."
            )

    def _weight(self, sample_weight, X, target):
        if sample_weight is None:
            return None
        if not supports_weights(target):
            raise ValueError(
                f"{type(target).__name__}.fit takes no sample_weight: leave it out, or "
                "pass a target_estimator that takes weights."
            )
        return check_sample_weight(
            sample_weight, X, dtype=X.dtype, ensure_non_negative=True
        )

    def _source(self, X_source, y_source, X, placement):
        """Return the fitted source, or None."""
        source = self.source_estimator
        if (X_source is None) != (y_source is None):
            raise ValueError("Pass X_source and y_source together, or neither.")
        if X_source is not None:
            if isinstance(source, FrozenEstimator):
                raise ValueError(
                    "source_estimator is frozen: leave X_source and y_source out."
                )
            source = clone(self._target_on(placement) if source is None else source)
            X_source, y_source = to_host(X_source), to_host(y_source)
            source = source.fit(X_source, y_source)
            warn_of_shared_rows(np.asarray(X_source), X, stacklevel=5)
        elif source is not None and not _is_fitted(source):
            raise ValueError(
                "source_estimator is not fitted: fit it on the source task before, or "
                "pass X_source and y_source to fit."
            )
        known = getattr(source, "n_features_in_", X.shape[1])
        if known != X.shape[1]:
            raise ValueError(
                f"The source was fitted on {known} columns and X has {X.shape[1]}: "
                "both tasks need the same columns."
            )
        return source

    def _source_says(self, given, X, y, weight):
        """Return the rows with what the source says; learn how scores are scaled."""
        self._n_outputs = 1 if y.ndim == 1 else y.shape[1]
        source = self.source_estimator_
        if source is None:
            return Rows.without_source(X)
        responses = Responses(source, given, X)
        scores = raw_scores(responses, self.response)
        self._balance = Balance(scores, X, weight, self.feature_scale)
        if not len(self._balance.kept):
            warn_of_constant(stacklevel=5)
        return self._rows(X, responses)

    def _rows(self, X, responses):
        """Return rows with what the source says of them."""
        F = self._balance(raw_scores(responses, self.response)).astype(X.dtype)
        classes = self.classes_ if is_classifier(self.target_estimator_) else None
        return Rows(X, F, coded_outputs(responses, classes, self._n_outputs))

    def _fit(self, rows, y, weight, keep):
        """Choose a method, and fit it."""
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        classes = self.classes_ if is_classifier(self.target_estimator_) else None
        task = Task(self.target_estimator_, classes, self.cv, seed, keep)
        self.cv_results_ = {}
        methods = self._applicable(task, rows)
        chosen = self._given(task, rows, methods)
        if chosen is None and len(methods) > 1 and len(y) >= _LEAST_ROWS:
            self._compare(task, rows, y, weight, methods)
            return
        self.method_ = chosen or "none"
        model = make_model(task, self.method_)
        # the default target is judged on the folds of `cv`
        leave_out = self.target_estimator is None
        self._model = model.fit(task, rows, y, weight, leave_out=leave_out)

    def _applicable(self, task, rows):
        """Return the methods that can be used."""
        methods = ["none"]
        if rows.F.shape[1]:
            methods += ["projection", "concat"]
        corrected = residual_regressor(task.target) is not None
        if corrected and rows.S is not None:
            methods.append("translation")
        if corrected and rows.F.shape[1]:
            methods.append("both")
        return methods

    def _given(self, task, rows, methods):
        """Return the method where no comparison is asked for, else None."""
        if self.method == "auto":
            return None
        if self.method == "outputs":
            ways = ("translation", "concat", "none")
            return next(method for method in ways if method in methods)
        if self.method in methods:
            return self.method
        if self.source_estimator_ is not None and not rows.F.shape[1]:
            return "none"  # of which a warning has told
        raise ValueError(self._why_not(task, rows, methods))

    def _why_not(self, task, rows, methods):
        works = f"Methods that work here: {', '.join(methods)}."
        if self.source_estimator_ is None:
            return f'method="{self.method}" needs a source_estimator. {works}'
        if residual_regressor(task.target) is None:
            kind = type(task.target).__name__
            return (
                f'method="{self.method}" needs a regressor of residual scores, which '
                f"is known for RFMClassifier and not for {kind}. {works}"
            )
        return (
            f'method="{self.method}" needs a source with the outputs of the target '
            f"(as many, or all its classes). {works}"
        )

    def _compare(self, task, rows, y, weight, methods):
        """Fit all methods; take the one that is clearly better on unseen rows."""
        models = fit_models(task, methods, rows, y, weight)
        losses = np.array([task.losses(model.unseen, y) for model in models])
        judged = np.isfinite(losses).all(axis=0)
        weight = np.ones(len(y)) if weight is None else weight.astype(np.float64)
        fair = task.fair(y)[judged]
        best, results = compare(losses[:, judged], weight[judged], methods, fair)
        self.cv_results_ = {"method": np.array(methods), **results}
        self.method_, self._model = methods[best], models[best]

    def _new_rows(self, given):
        """Return new rows with what the source says of them, and their Placement."""
        check_is_fitted(self)
        placement = outer_placement_of(self.device, given)
        given = placement.read(given)
        X = validate_data(self, given, dtype=[np.float64, np.float32], reset=False)
        if self.source_estimator_ is None:
            return Rows.without_source(X), placement
        return self._rows(X, Responses(self.source_estimator_, given, X)), placement

    def _outputs(self, X):
        rows, placement = self._new_rows(X)
        return self._model.outputs(rows), placement

    def predict(self, X):
        """Predict targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        outputs, placement = self._outputs(X)
        if is_classifier(self.target_estimator_):
            return placement.labels_to_caller(self.classes_[outputs.argmax(axis=1)])
        return placement.to_caller(outputs[:, 0] if self._single_output else outputs)

    def _inner_models(self):
        """Return the fitted models of the target."""
        return self._model.models()

    @available_if(_target_has("predict_proba"))
    def predict_proba(self, X):
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        outputs, placement = self._outputs(X)
        return placement.to_caller(outputs)

    @available_if(_target_has("decision_function"))
    def decision_function(self, X):
        """Return the scores of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) for two classes, else (n_samples, n_classes)
        """
        rows, placement = self._new_rows(X)
        return placement.to_caller(self._model.decision_function(rows))
