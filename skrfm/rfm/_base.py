"""What the kernel RFM estimators share: the fit, predictions and transform."""

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, _fit_context, is_classifier
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import check_random_state

from .._backend import Table, Vector, own_threads
from .._recursion import Start, learns_anew, run
from .._search import (
    Budget,
    Calibration,
    Columns,
    RegressionCriterion,
    Search,
    SearchRules,
    Stage,
    ValidationSet,
    by_path,
    drop_worse,
    make_candidates,
    make_stages,
    most_runs,
    select,
    unscored_history,
    warn_of_ridge,
    weighted_sum,
)
from .._sklearn import (
    Checkpoint,
    Progress,
    restored_on_error,
    splitter_router,
)
from .._tables import (
    NumericTargets,
    check_n_jobs,
    search_rows,
    to_host,
    validate_or_stream,
    validate_validation_set,
)
from ._constraints import PARAMETER_CONSTRAINTS
from ._fitted import Fit, KernelMachine, MachineAverage, warn_of_trouble
from ._fitted_mixin import FittedMixin


class BaseRFM(FittedMixin, CallbackSupportMixin, BaseEstimator):
    """The recursion as an estimator; a subclass codes the targets."""

    _parameter_constraints = PARAMETER_CONSTRAINTS

    def __init__(
        self,
        *,
        categorical_features="from_dtype",
        scaling="clipped",
        level_statistics="auto",
        kernel="auto",
        bandwidth="3*median",
        alpha="auto",
        alphas="auto",
        metric_type="auto",
        n_components=None,
        max_iter=10,
        validation="auto",
        cv=5,
        validation_fraction=0.2,
        n_machines=3,
        time_budget=None,
        fit_intercept=True,
        center_gradients=False,
        max_agop_samples="auto",
        n_centers="auto",
        centers="random",
        memory_budget=None,
        solver="auto",
        device=None,
        checkpoint_dir=None,
        n_jobs=None,
        random_state=None,
    ):
        self.categorical_features = categorical_features
        self.scaling = scaling
        self.level_statistics = level_statistics
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
        self.n_machines = n_machines
        self.time_budget = time_budget
        self.fit_intercept = fit_intercept
        self.center_gradients = center_gradients
        self.max_agop_samples = max_agop_samples
        self.n_centers = n_centers
        self.centers = centers
        self.memory_budget = memory_budget
        self.solver = solver
        self.device = device
        self.checkpoint_dir = checkpoint_dir
        self.n_jobs = n_jobs
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        tags.input_tags.allow_nan = True
        tags.target_tags.multi_output = self._multi_output
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    # -- what a subclass defines --------------------------------------------------

    #: how outputs on validation rows are scored
    _criterion = RegressionCriterion()
    #: whether outputs on validation rows are needed even where nothing is open
    _needs_outputs = False
    #: whether y may have several columns
    _multi_output = False
    #: rows at most that rounds before the last are fitted to, where nothing is chosen
    #: among the rounds; None for all
    _early_rows: int | None = None

    def _fit_targets(self, y, weight):
        """Return the coding of the targets."""
        return NumericTargets.fit(y, weight, centred=self.fit_intercept)

    def _calibrate(self, outputs, validation_rows):
        """Return the calibration of outputs on validation rows."""
        return Calibration()

    # -- fit ----------------------------------------------------------------------

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Table,
        y: Vector | None = None,
        sample_weight: Vector | None = None,
        *,
        X_val: Table | None = None,
        y_val: Vector | None = None,
        sample_weight_val: Vector | None = None,
        groups: Vector | None = None,
    ):
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or what is read in batches
            Training rows, dense: numbers, NaN where they are missing, and categories.
            A `pyarrow.dataset.Dataset`, a `polars.LazyFrame`, a data frame or an array
            of Dask, and an iterable of batches ``(X, y)`` or ``(X, y, sample_weight)``
            that starts again whenever it is iterated, are read in batches; with
            `n_centers`, arrays, memory maps and data frames of over 100 000 rows, too.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), str, list of str
            Targets; a classifier takes (n_samples,) labels only. The names of columns
            where X is a data set, a lazy frame or a data frame of Dask; None for an
            iterable.
        sample_weight : array-like of shape (n_samples,) or str, default=None
            Weights, or the name of their column, as for y. Whole numbers are counts: a
            row of weight k is as good as k equal rows, one of weight 0 is left out. Of
            other weights only the ratios count where the ridge is chosen
            (``alpha="auto"``): `alphas` are multiplied by the mean weight. A given
            ridge is divided by the weight of each row.
        X_val : array-like of shape (n_val, n_features), default=None
            Validation rows to choose the round, the ridge and the kernel on, in place
            of those that `validation` would set aside. The model is not fitted to them.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), default=None
            Their targets.
        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights.
        groups : array-like of shape (n_samples,), default=None
            Labels of the rows for a splitter `cv` that takes them, as ``GroupKFold()``.
            Meta-estimators pass them on with scikit-learn's metadata routing.

        Returns
        -------
        self : object
            The fitted estimator.
        """
        with restored_on_error(self):
            training = validate_or_stream(
                self, X, y, sample_weight, fit_targets=self._fit_targets
            )
            validation_data = validate_validation_set(
                self, training, X_val, y_val, sample_weight_val
            )
            given = {"X": X, "y": y, "metadata": {"sample_weight": sample_weight}}
            self._fit(training, validation_data, given, groups=to_host(groups))
        return self

    def get_metadata_routing(self):
        """Return what `fit` takes, and what it passes to the splitter `cv`.

        Returns
        -------
        routing : MetadataRouter
        """
        return splitter_router(self, self.cv)

    def _fit(self, training, validation_data, given, *, groups):
        """Choose, fit, and set the fitted attributes."""
        data, backend = training.data, training.placement.backend
        candidates, stages = self._plan(training, validation_data, groups)

        def attributes_of(fitted):
            machine = KernelMachine.from_round(fitted, training)
            return self._make_fit(training, machine).attributes()

        n_runs = self.n_machines + most_runs(stages, candidates)
        progress = Progress(self, n_runs, attributes_of, given)
        checkpoint = Checkpoint.of_fit(
            self, data.sample, data.n_rows, validation_data, groups
        )
        with own_threads(data.X.shape[0] if backend.threads else 0):
            if not stages:
                candidate = candidates.first[0]
                fitted, fit = self._fit_candidate(
                    training, candidate, progress, checkpoint
                )
            else:
                rules = self._search_rules(training, stages)
                choice = checkpoint.get("choice")
                if choice is None:
                    search = Search(
                        candidates, stages, rules, backend=backend, progress=progress
                    )
                    choice = search.run(data.sample)
                    if data.blocks is not None:
                        choice = replace(choice, model=None)
                    checkpoint.save("choice", choice)
                warn_of_ridge(choice, candidates.given_alphas)
                fitted, fit = self._fit_choice(
                    training, choice, rules, progress, checkpoint
                )
        checkpoint.remove()
        self._set_fitted(fit)
        warn_of_trouble(fitted, data)
        progress.end(fit.attributes())
        backend.release()

    def _plan(self, training, validation_data=None, groups=None):
        """Return the Candidates of the search and its stages."""
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        candidates = self._candidates(training, seed)
        if validation_data is not None:
            return candidates, [Stage(ValidationSet(validation_data), climbs=True)]
        stages = self._stages(training, candidates.count, seed=seed, groups=groups)
        return candidates, stages

    def _set_fitted(self, fit):
        """Set the attributes of a Fit; return the estimator."""
        for name, value in fit.attributes().items():
            setattr(self, name, value)
        return self

    def _candidates(self, training, seed):
        """Return the Candidates of the search."""
        out_of_fold = self.validation not in ("loo", None)
        columns = Columns.of_table(
            training, self.level_statistics, out_of_fold=out_of_fold
        )
        return make_candidates(
            self._parameters(training),
            columns,
            seed=seed,
            weight_unit=training.weight_unit,
            # the R² of regressors gained nothing on the choosing half of the tables
            same_exponents=is_classifier(self),
        )

    def _parameters(self, training):
        """Return the parameters, with what the table decides in place of "auto"."""
        params = self.get_params(deep=False)
        backend = training.placement.backend
        itemsize = backend.xp.finfo(training.data.X.dtype).bits // 8
        return params | {
            "n_centers": training.n_centers,
            "centers": training.centers,
            "early_rows": self._early_rows,
            "search_rows": search_rows(self.memory_budget, itemsize),
        }

    def _stages(self, training, n_candidates, *, seed, groups):
        """Return the stages of the search, none where nothing is open."""
        placement, data = training.placement, training.data
        n_jobs = check_n_jobs(self.n_jobs, placement)
        return make_stages(
            self._parameters(training) | {"n_jobs": n_jobs},
            n_candidates=n_candidates,
            strata=training.targets.strata(placement.backend.to_numpy(data.Y)),
            keep=training.keep,
            seed=seed,
            groups=groups,
            few=data.X.shape[0] <= placement.backend.direct_rows(data.X),
            needs_outputs=self._needs_outputs,
        )

    def _search_rules(self, training, stages):
        """Return how candidates are scored, and when they end."""
        return SearchRules(self._criterion, drop_worse, self._budget(training))

    def _budget(self, training):
        """Return the Budget of seconds from now on, or None."""
        if self.time_budget is None:
            return None
        n_rows, fewer = training.data.n_rows, self.n_centers == "auto"
        return Budget(self.time_budget, n_rows, may_take_fewer=fewer)

    def _fit_choice(self, training, choice, rules, progress, checkpoint):
        """Return the best Round, fitted to all rows, and the Fit of the average."""
        trials, weights = self._select(choice, rules.criterion)
        rounds = self._fit_trials(
            training, choice, trials, rules.budget, progress, checkpoint
        )
        trials, weights = trials[: len(rounds)], weights[: len(rounds)]
        weights = [weight / sum(weights) for weight in weights]
        fits = [
            self._fit_of_trial(training, choice, trial, fitted)
            for trial, fitted in zip(trials, rounds, strict=True)
        ]
        outputs = weighted_sum(weights, [trial.outputs for trial in trials])
        choice = replace(choice, outputs=outputs)
        results = self._search_results(choice, rules.criterion, weights)
        average = MachineAverage.of(fits, weights)
        fit = self._make_fit(training, average, choice=choice, results=results)
        return rounds[0], fit

    def _fit_trials(self, training, choice, trials, budget, progress, checkpoint):
        """Return Rounds on all rows: of the best trial, of others if time is left."""
        rounds = []
        anew = learns_anew(training.n_centers, training.data.n_rows)
        for number, trial in enumerate(trials):
            start = None if anew else trial.start
            if rounds and budget is not None:
                seconds = budget.seconds_of_fit(trial.candidate, start or Start())
                if not budget.allows(seconds):
                    break
            if not rounds and choice.model is not None:
                rounds.append(choice.model)
            else:
                fitted = self._fit_all(
                    training,
                    trial.candidate,
                    progress,
                    checkpoint.part(f"machine {number}: "),
                    start,
                    budget,
                )
                rounds.append(fitted)
        return rounds

    def _select(self, choice, criterion):
        """Return the trials of the best average, the best first, and their weights.

        They differ in the kernel, the kind of metric or the scaling.
        """
        trials = [best[0] for best in by_path(choice.best_trials).values()]
        most = self.n_machines if choice.model is None else 1
        rows = choice.validation_rows
        return select(
            trials,
            lambda out: criterion.score(out, rows.targets, rows.weight)[0],
            most,
        )

    def _search_results(self, choice, criterion, weights):
        """Return further attributes that describe the search."""
        return {"machine_weights_": weights}

    def _fit_of_trial(self, training, choice, trial, fitted):
        """Return the Fit of a single machine of the average."""
        rows = training.data.n_rows
        history = unscored_history(fitted.candidate, fitted.number, rows=rows)
        choice = replace(choice, outputs=trial.outputs, history=history)
        machine = KernelMachine.from_round(fitted, training)
        return self._make_fit(training, machine, choice=choice)

    def _fit_candidate(self, training, candidate, progress, checkpoint):
        """Return the last Round of a candidate that nothing is compared with."""
        budget = self._budget(training)
        fitted = self._fit_all(training, candidate, progress, checkpoint, budget=budget)
        machine = KernelMachine.from_round(fitted, training)
        rows = training.data.n_rows
        history = unscored_history(candidate, fitted.number, rows=rows)
        results = {"machine_weights_": [1.0]}
        return fitted, self._make_fit(
            training, machine, history=history, results=results
        )

    def _fit_all(
        self, training, candidate, progress, checkpoint, start=None, budget=None
    ) -> Any:
        """Return the last Round, fitted to all rows, that a Budget has time for."""
        fitted: Any = checkpoint.get("fitted")
        if fitted is not None:
            return fitted
        start, adapt = checkpoint.get("start", start), None
        if budget is not None:
            candidate = budget.with_time_for(candidate, start or Start())
            adapt = budget.adapt
        rounds = run(training.data, candidate, training.placement.backend, start, adapt)
        run_task = progress.open("fit", candidate.max_iter + 1)
        for fitted in run_task.watch(rounds, budget):  # holds one round at a time
            if not fitted.last:
                checkpoint.save("start", fitted.next_start)
        checkpoint.save("fitted", fitted)
        return fitted

    def _make_fit(
        self, training, predictor, *, choice=None, history=None, results=None
    ):
        """Return the Fit of a predictor, with what a choice tells of it.

        `results` are further attributes of the estimator, by name.
        """
        calibration, unseen, rivals = Calibration(), None, ()
        if choice is not None:
            history, rivals = choice.history, tuple(choice.rivals)
            calibration = self._calibrate(choice.outputs, choice.validation_rows)
            if training.data.blocks is None:
                unseen = choice.outputs_of_rows(training.data.n_rows)
        if unseen is not None:
            placement = training.placement
            unseen = placement.backend.asarray(unseen, training.data.X.dtype)
            unseen = training.targets.decode(unseen, placement.backend)
            unseen = placement.to_caller(unseen)
        return Fit(
            predictor=predictor,
            coding=training.coding,
            targets=training.targets,
            history=history,
            calibration=calibration,
            unseen_outputs=unseen,
            results=results or {},
            rivals=rivals,
        )
