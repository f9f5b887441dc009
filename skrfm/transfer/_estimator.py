"""TransferKernel: a model of one task improves a model of another."""

from typing import Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    MetaEstimatorMixin,
    _fit_context,
    is_classifier,
)
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from .._backend import FloatArray, Table, Vector
from .._sklearn import (
    HasMethods,
    StrOptions,
    check_sample_weight,
    clone,
    clone_parametrized,
    restored_on_error,
    warn,
)
from .._tables import (
    DEVICES,
    HostScoreMixin,
    InnerDeviceMixin,
    outer_placement_of,
    to_host,
)
from ..rfm import RFMClassifier, RFMRegressor
from ._choice import choose_model, possible_methods, requested_method
from ._methods import METHODS, make_model
from ._rows import (
    TableForm,
    columns_named_on_error,
    float_dtype,
    read_rows,
    read_training,
)
from ._source import RESPONSES, fit_features, fit_source, is_fitted
from ._target import Task, supports_weights

# With fewer rows than this, methods cannot be compared.
_MIN_COMPARED_ROWS = 3
_NO_SOURCE = (
    "There is no source, so the model is target_estimator alone: pass "
    "source_estimator, or X_source and y_source to fit. method='none' means this "
    "without a warning."
)


def _target_has(name):
    """Return the check of `available_if` for a method of classifiers."""

    def check(transfer):
        if getattr(transfer, "method_", None) in ("translation", "both"):
            return transfer._classifies()
        getattr(transfer._target(), name)
        return True

    return check


class TransferKernel(
    InnerDeviceMixin, HostScoreMixin, MetaEstimatorMixin, BaseEstimator
):
    """Transfer learning: a model of a source task improves a model of a target task.

    The source is any fitted estimator. It is used on the target rows by one of these
    methods:

    - "projection": the target model is fitted to the scores of the source;
    - "concat": the target model is fitted to the features and the scores;
    - "translation": a regressor is fitted to the residuals of the source, and the
      predictions of both are added. The outputs must match: as many numbers, or a
      source that has all classes of the target;
    - "both": translation of a projection;
    - "none": the target model alone.

    By default the method is chosen by its losses on target rows that a fit has not
    seen. Categories and missing values go to source and target as they are, if both
    take them. A target with a parameter `categorical_features` finds its columns in
    "concat" too, where scores are further columns; scores alone are numbers.

    Parameters
    ----------
    source_estimator : estimator, default=None
        The source: fitted, or to be fitted to `X_source` and `y_source`. None is no
        transfer, or with those an estimator of the kind of the target.
    target_estimator : estimator, default=None
        The model of the target. None is an `RFMClassifier` or `RFMRegressor`, as the
        source is, with ``scaling=None``, so that scores and features keep their scales.
    method : {"auto", "outputs", "none", "projection", "concat", "translation", \
            "both"}, default="auto"
        "auto" compares squared errors (for classes, log-losses) by cross-validation. It
        takes the best method that is better than "none", and than "translation" if that
        is, by more than a standard error of the difference. "outputs" is "translation"
        where the outputs match, else "concat", without a comparison.
    cv : int, splitter or iterable, default=5
        Number of shuffled folds, stratified if each class has enough rows; with few
        rows each is left out by itself. Or a splitter, or pairs of train and test row
        numbers; for groups of rows these pairs,
        ``cv=list(GroupKFold().split(X, y, groups))``.
    feature_scale : {"balance", None}, default="balance"
        Whether the scores are scaled to the total variance of the features.
    response : {"auto", "decision_function", "predict_proba", "predict_log_proba", \
            "predict"}, default="auto"
        The method of the source whose results are the scores. "auto" is the first that
        the source has of "decision_function", "predict_proba" and "predict".
    device : {"cpu", "cuda", None}, default=None
        Where the model of the target is computed, if it has a parameter `device`:
        ``"cuda"`` on a GPU, by CuPy. None is the device of `target_estimator`, or the
        GPU where X is an array of CuPy. Predictions are arrays of CuPy for such rows,
        of NumPy otherwise.
    random_state : int, RandomState or None, default=None
        Seeds folds, and the default model of the target.

    Attributes
    ----------
    method_ : str
        The method that was taken.
    source_estimator_ : estimator
        The fitted source; None where there is none.
    target_estimator_ : estimator
        The unfitted model of the target.
    cv_results_ : dict
        "method", "mean_loss", and "mean_gain" and "gain_error", the mean difference to
        "none" and its standard error; empty where nothing was compared.
    classes_ : ndarray of shape (n_classes,)
        Class labels, of a classifier.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X has names that are all strings.

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
    >>> round(model.score(X_new[20:], y_new[20:]), 2)
    0.99
    >>> round(alone.score(X_new[20:], y_new[20:]), 2)
    0.8
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
        """Return a clone with the same source object if that is fitted."""
        copy: Any = clone_parametrized(self, safe=False)
        source = self.source_estimator
        if source is not None and is_fitted(source):
            copy.source_estimator = source
        return copy

    def _target(self):
        """Return the unfitted model of the target."""
        if self.target_estimator is not None:
            return self.target_estimator
        source = self.source_estimator
        classifies = source is not None and is_classifier(source)
        kind: Any = RFMClassifier if classifies else RFMRegressor
        return kind(scaling=None, random_state=self.random_state)

    def _target_on(self, placement):
        """Return the unfitted model of the target, on the device of a Placement."""
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
        models = [self._target()]
        models += [] if self.source_estimator is None else [self.source_estimator]
        tags.input_tags.allow_nan = all(
            get_tags(model).input_tags.allow_nan for model in models
        )
        multi = target.target_tags.multi_output and not self._classifies()
        tags.target_tags.multi_output = multi
        return tags

    # the estimators are the user's, so their own fits must validate their parameters
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Table,
        y: Vector,
        sample_weight: Vector | None = None,
        *,
        X_source: Table | None = None,
        y_source: Vector | None = None,
    ):
        """Fit the target task.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target rows, with the columns of the source. A data frame reaches source
            and target as it is, so its categories and missing values may be what both
            can take; columns with names are matched to those of the source by name.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        X_source : array-like of shape (n_source_samples, n_features), default=None
            Source rows, with the columns of X: labels of data frames must be the same,
            those that are strings in any order. The source is fitted to them alone.
        y_source : array-like of shape (n_source_samples,), default=None
            Their targets.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with restored_on_error(self):
            placement = outer_placement_of(self.device, X)
            self._fit(
                placement.read(X),
                to_host(y),
                to_host(sample_weight),
                target=self._target_on(placement),
                X_source=X_source,
                y_source=y_source,
            )
        return self

    def _fit(self, X, y, sample_weight, *, target, X_source, y_source):
        """Fit to a table on the host, and set the fitted attributes."""
        classifies = is_classifier(target)
        X, y = read_training(self, X, y, classifies=classifies)
        weight = _check_weight(sample_weight, X, target)
        keep = np.ones(len(y), dtype=bool) if weight is None else weight > 0
        classes = _find_classes(y[keep]) if classifies else None
        source = self.source_estimator
        if source is None and X_source is not None:
            source = target
        with columns_named_on_error(X):
            source = fit_source(source, X_source, y_source, X)
            if source is None and self.method in ("auto", "outputs"):
                warn(_NO_SOURCE)
            features, rows = fit_features(
                source,
                X,
                weight,
                response=self.response,
                feature_scale=self.feature_scale,
                classes=classes,
                n_outputs=1 if y.ndim == 1 else y.shape[1],
            )
            seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
            task = Task(
                estimator=target, classes=classes, cv=self.cv, seed=seed, keep=keep
            )
            weight = None if weight is None else weight[keep]
            self._fit_method(task, rows.take(keep), y[keep], weight, source=source)
        self._features, self._single_output = features, y.ndim == 1
        self._form = TableForm.of(X)
        self.source_estimator_, self.target_estimator_ = source, target
        if classes is not None:
            self.classes_ = classes

    def _fit_method(self, task, rows, y, weight, *, source):
        """Choose a method, and fit its model."""
        methods = possible_methods(task.estimator, rows)
        method = requested_method(
            self.method, methods, estimator=task.estimator, source=source, rows=rows
        )
        if method is None and len(methods) > 1 and len(y) >= _MIN_COMPARED_ROWS:
            chosen = choose_model(task, methods, rows, y, weight)
            self._model, self.method_, self.cv_results_ = chosen
            return
        self.cv_results_ = {}
        self.method_ = "none" if method is None else method
        model = make_model(self.method_, task.classes)
        # the parameters of the default target are chosen on the folds of `cv`
        leave_out = self.target_estimator is None
        self._model = model.fit(task, rows, y, weight, leave_out=leave_out)

    def _read_rows(self, X):
        """Return new rows as TransferRows, and their Placement."""
        check_is_fitted(self)
        placement = outer_placement_of(self.device, X)
        X = read_rows(self, placement.read(X), self._form)
        return self._features.transform(X), placement

    def _outputs(self, X):
        """Return the outputs (m, c) at new rows, and their Placement."""
        rows, placement = self._read_rows(X)
        return self._model.outputs(rows), placement

    def predict(self, X: Table) -> np.ndarray:
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
    def predict_proba(self, X: Table) -> FloatArray:
        """Predict class probabilities.

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
    def decision_function(self, X: Table) -> FloatArray:
        """Return the scores of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) for two classes, else (n_samples, n_classes)
        """
        rows, placement = self._read_rows(X)
        return placement.to_caller(self._model.decision_function(rows))


def _find_classes(y):
    """Return the classes of labels (n,), at least two."""
    check_classification_targets(y)
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError(
            "y has one class only: a classifier needs two classes or more."
        )
    return classes


def _check_weight(sample_weight, X, target):
    """Return the weights of rows for a target model, or None."""
    if sample_weight is None:
        return None
    if not supports_weights(target):
        raise ValueError(
            f"{type(target).__name__}.fit takes no sample_weight: leave it out, or "
            "pass a target_estimator that takes weights."
        )
    return check_sample_weight(
        sample_weight, X, dtype=float_dtype(X), ensure_non_negative=True
    )
