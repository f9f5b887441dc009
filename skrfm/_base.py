"""What the kernel RFM estimators share: validation, the fit, transform and features."""

from collections import deque
from numbers import Integral, Real

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ._atomic import unchanged_by_errors
from ._backend import own_threads
from ._compat import Interval, RealNotInt, StrOptions
from ._device import DEVICES, warn_of_jobs
from ._fitted import MovableMixin, fitted_attributes, warn_of_trouble
from ._progress import Progress
from ._recursion import run
from ._search import choose, drop_ridges, history_of
from ._setup import make_candidates, make_judging
from ._table import SCALINGS
from ._validation import (
    encode_rows,
    validate_rows,
    validate_training,
    validate_validation_set,
)
from .kernels import Kernel
from .solvers import SOLVERS


class BaseRFM(
    MovableMixin,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """The recursion as an estimator; a subclass codes the targets."""

    _parameter_constraints = {
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "scaling": [StrOptions(set(SCALINGS)), None],
        "kernel": [str, Kernel],
        "bandwidth": [Interval(Real, 0, None, closed="neither"), str],
        "alpha": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "alphas": ["array-like"],
        "metric_type": [StrOptions({"auto", "full", "diag"})],
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            None,
        ],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "validation": [StrOptions({"auto", "cv", "loo", "holdout"}), None],
        "cv": ["cv_object"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "fit_intercept": ["boolean"],
        "center_gradients": ["boolean"],
        "max_agop_samples": [Interval(Integral, 1, None, closed="left"), None],
        "solver": [StrOptions({"auto", *SOLVERS})],
        "device": [StrOptions(set(DEVICES)), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        categorical_features="from_dtype",
        scaling="clipped",
        kernel="auto",
        bandwidth="3*median",
        alpha="auto",
        alphas=(1e-3, 1e-2, 1e-1, 1.0),
        metric_type="auto",
        n_components=None,
        max_iter=5,
        validation="auto",
        cv=5,
        validation_fraction=0.2,
        fit_intercept=True,
        center_gradients=False,
        max_agop_samples=20_000,
        solver="auto",
        device=None,
        n_jobs=None,
        random_state=None,
    ):
        self.categorical_features = categorical_features
        self.scaling = scaling
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.alpha = alpha
        self.alphas = alphas
        self.metric_type = metric_type
        self.n_components = n_components
        self.max_iter = max_iter
        self.validation = validation
        self.cv = cv
        self.validation_fraction = validation_fraction
        self.fit_intercept = fit_intercept
        self.center_gradients = center_gradients
        self.max_agop_samples = max_agop_samples
        self.solver = solver
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    # -- what a subclass defines --------------------------------------------------

    #: how outputs on unseen rows are scored
    _criterion = None
    #: whether unseen outputs are needed even where nothing is to be chosen
    _calibrates = False
    #: how many machines may be fitted to all rows in the end
    _most_machines = 1
    #: whether y may have several columns
    _multi_output = False

    def _encode(self, y, weight):
        """Learn from the targets; return them coded, (n, c), and the final weights."""
        raise NotImplementedError

    def _encode_more(self, y, weight):
        """Return further targets and weights, coded as those of `_encode`."""
        raise NotImplementedError

    def _labels(self, Y):
        """Return what the splits are stratified by, from coded targets."""
        return np.zeros(len(Y))

    def _learn_from(self, choice):
        """Set further attributes from the outputs on unseen rows."""

    def _fit_others(self, choice, model, data, backend, progress):
        """Fit what else there is to be beside the model."""

    # -- fit ----------------------------------------------------------------------

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X,
        y,
        sample_weight=None,
        *,
        X_val=None,
        y_val=None,
        sample_weight_val=None,
    ):
        """Fit the machine.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, dense: numbers, NaN where they are missing, and categories.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets; a classifier takes (n_samples,) labels only.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights; a row of weight k counts as k rows, one of weight 0 as none.
        X_val : array-like of shape (n_val, n_features), default=None
            Rows to choose round, ridge and kernel on, in place of those that
            `validation` would set aside. The model is not refitted on them.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), default=None
            Their targets.
        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with unchanged_by_errors(self):
            return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)

    def _fit(self, X, y, sample_weight, X_val, y_val, sample_weight_val):
        data, keep, place = validate_training(self, X, y, sample_weight)
        validation_set = validate_validation_set(
            self, X_val, y_val, sample_weight_val, place
        )
        backend = place.backend
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        encoder = self._encoder
        candidates = self._candidates(seed, encoder.widths, encoder.scalings)
        labels = self._labels(backend.to_numpy(data.Y))
        n_jobs = warn_of_jobs(self.n_jobs, place, stacklevel=6)
        few = len(labels) <= backend.direct_rows(data.X)
        judging = validation_set or self._judging(
            candidates.count, labels, keep, seed, n_jobs, few
        )
        n_runs = self._most_machines + (candidates.count if judging else 0)
        progress = Progress(
            self,
            n_runs,
            lambda model: self._attributes(model, data, place, encoder),
            {"X": X, "y": y, "metadata": {"sample_weight": sample_weight}},
        )
        with own_threads(data.X.shape[0] if backend.threads else 0):
            model = self._choose_and_fit(data, candidates, judging, backend, progress)
        if self._unseen_outputs is not None:
            unseen = backend.asarray(self._unseen_outputs, data.X.dtype)
            self._unseen_outputs = place.give(unseen)
        attributes = self._attributes(model, data, place, encoder)
        for name, value in attributes.items():
            setattr(self, name, value)
        # stacklevel: the line that calls fit, past its two decorators
        warn_of_trouble(model, data, stacklevel=6)
        progress.end(attributes)
        backend.release()
        return self

    def _attributes(self, model, data, place, encoder):
        return fitted_attributes(
            model, data, place, encoder, single_output=self._single_output
        )

    def _candidates(self, seed, widths, scalings):
        """Return what there is to choose from."""
        return make_candidates(self.get_params(deep=False), seed, widths, scalings)

    def _judging(self, n_candidates, labels, keep, seed, n_jobs, few):
        """Return how they are judged, or None where nothing is open."""
        params = self.get_params(deep=False) | {"n_jobs": n_jobs}
        what, calibrate = (n_candidates, labels, keep, seed), self._calibrates
        return make_judging(params, *what, few=few, calibrate=calibrate)

    def _search(self, data, candidates, judging, *where):
        """Return the Choice among the candidates."""
        criterion = self._criterion
        return choose(data, candidates, judging, criterion, *where, drop_ridges)

    def _choose_and_fit(self, data, candidates, judging, backend, progress):
        """Return the final Round; what the choice tells is set on the way."""
        recipe, model, self._unseen_outputs = candidates.first[0], None, None
        if judging is not None:
            choice = self._search(data, candidates, judging, backend, progress)
            recipe, model = choice.recipe, choice.model
            self.history_ = choice.history
            self._unseen_outputs = choice.outputs_of_rows(data.X.shape[0])
            self._learn_from(choice)
        if model is None:
            model = self._fit_all(data, recipe, backend, progress)
        if judging is None:
            self.history_ = history_of(recipe, model.number)
        else:
            self._fit_others(choice, model, data, backend, progress)
        self.n_iter_ = max(1, int(self.history_["iter"].max()))
        return model

    def _fit_all(self, data, recipe, backend, progress):
        """Return the last Round of a recipe on all rows."""
        rounds = run(data, recipe, backend)
        watched = progress.open("fit", recipe.max_iter + 1).watch(rounds)
        return deque(watched, maxlen=1).pop()  # none but the last is held

    # -- after fit ----------------------------------------------------------------

    def _read_rows(self, X, method):
        """Return new rows, not encoded, and their Place, after the usual checks."""
        check_is_fitted(self)
        return validate_rows(self, X, method)

    def _validate_rows(self, X, method):
        """Return new rows as the kernel has them, and their Place."""
        X, place = self._read_rows(X, method)
        return encode_rows(self, X, place), place

    def _map(self, X, place):
        """Return rows as the kernel sees them: centred and mapped by the metric."""
        backend, center = place.backend, place.bring(self._center)
        X = backend.asarray(X, center.dtype) - center
        return backend.rows(X @ place.bring(self.components_).T)

    def _outputs(self, X, method):
        """Return the outputs (m, c) at new rows, and their Place."""
        X, place = self._read_rows(X, method)
        with own_threads(self.X_fit_.shape[0] if place.backend.threads else 0):
            return self._kernel_outputs(X, place), place

    def _kernel_outputs(self, X, place):
        """Return the outputs (m, c) of the kernel machine at rows that were read."""
        X = encode_rows(self, X, place)
        backend, coef = place.backend, place.bring(self.dual_coef_)
        if coef.ndim == 1:
            coef = backend.xp.reshape(coef, (-1, 1))
        out = backend.cross_dot(
            self.kernel_,
            self._map(X, place),
            place.bring(self._mapped_fit),
            self.bandwidth_,
            coef,
            self._widths,
        )
        intercept = self.intercept_
        out += intercept if isinstance(intercept, float) else place.bring(intercept)
        return out

    def transform(self, X):
        """Map rows by the square root of the metric.

        The rows are those that the kernel has, as in `X_fit_`, times `components_.T`.
        Euclidean distances of the mapped rows are distances in the learned metric.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components)
        """
        X, place = self._validate_rows(X, "transform")
        components = place.backend.asarray(self.components_, X.dtype)
        return place.give(X @ components.T)
