"""The search of the …CV estimators: at random, by rounds and folds, and averaged."""

from dataclasses import replace
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import get_scorer_names
from sklearn.utils.validation import check_is_fitted

from ..._search import (
    Columns,
    HoldOut,
    SearchRules,
    Stage,
    halve,
    make_folds,
    select,
)
from ..._sklearn import Interval, StrOptions
from ..._tables import check_n_jobs
from ...kernels import L1Laplace, Laplace
from .._base import BaseRFM
from .._fitted import MachineAverage
from ._scoring import FoldCriterion, parts_of
from ._space import RandomCandidates, parameters_of

# parameters that all candidates share
_SHARED = (
    "max_iter",
    "fit_intercept",
    "center_gradients",
    "max_agop_samples",
    "solver",
)
# parameters that the machines of an average have from the search
_COMMON = (
    "n_centers",
    "centers",
    "categorical_features",
    "scaling",
    "level_statistics",
    "device",
    "n_jobs",
    "random_state",
)


class SearchCV(BaseRFM):
    """The random search, in place of the few candidates of an RFM estimator."""

    #: the class of the estimators in `machines_`
    _machine_class: type[BaseRFM] = BaseRFM

    @staticmethod
    def _unseen_estimator(outputs, targets, weight, *, coding):
        """Return an estimator with these outputs, and the y that it is scored by."""
        raise NotImplementedError

    #: kernels of the first candidates
    _first_kernels = (Laplace(), L1Laplace())

    _parameter_constraints = {
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "n_machines": [Interval(Integral, 1, None, closed="left")],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "time_budget": BaseRFM._parameter_constraints["time_budget"],
        **{name: BaseRFM._parameter_constraints[name] for name in (*_SHARED, *_COMMON)},
        "cv": BaseRFM._parameter_constraints["cv"],
    }

    def __init__(
        self,
        *,
        n_candidates=30,
        n_machines=5,
        scoring=None,
        cv=5,
        time_budget=None,
        categorical_features="from_dtype",
        scaling="clipped",
        level_statistics="auto",
        max_iter=5,
        fit_intercept=True,
        center_gradients=False,
        max_agop_samples="auto",
        n_centers="auto",
        centers="random",
        solver="auto",
        device=None,
        n_jobs=None,
        random_state=None,
    ):
        self.n_candidates = n_candidates
        self.n_machines = n_machines
        self.scoring = scoring
        self.cv = cv
        self.time_budget = time_budget
        self.categorical_features = categorical_features
        self.scaling = scaling
        self.level_statistics = level_statistics
        self.max_iter = max_iter
        self.fit_intercept = fit_intercept
        self.center_gradients = center_gradients
        self.max_agop_samples = max_agop_samples
        self.n_centers = n_centers
        self.centers = centers
        self.solver = solver
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _candidates(self, training, seed):
        table = Columns.of_table(training, self.level_statistics, out_of_fold=True)
        shared = {name: getattr(self, name) for name in _SHARED}
        shared |= {
            "seed": seed,
            "category_sizes": table.category_sizes,
            "discrete_numbers": table.discrete_numbers,
            "weight_unit": training.weight_unit,
            "n_centers": training.n_centers,
            "centers": training.centers,
        }
        columns = {"scaling": table.scalings, "level_statistics": table.statistics}
        self._searched = [name for name, kinds in columns.items() if len(kinds) > 1]
        return RandomCandidates(
            self.n_candidates,
            seed=seed,
            first_kernels=self._first_kernels,
            shared=shared,
            columns=columns,
        )

    def _stages(self, training, n_candidates, *, seed, groups):
        placement = training.placement
        strata = training.targets.strata(placement.backend.to_numpy(training.data.Y))
        folds = make_folds(
            self.cv, strata, keep=training.keep, seed=seed, groups=groups
        )
        return [Stage(HoldOut(folds, check_n_jobs(self.n_jobs, placement)))]

    def _search_rules(self, training, stages):
        criterion = FoldCriterion(
            parts_of(stages[0].judging),
            criterion=self._criterion,
            scoring=self.scoring,
            estimator_of=partial(self._unseen_estimator, coding=training.targets),
            name=type(self).__name__,
        )
        return SearchRules(criterion, halve, self._budget(training))

    def _select(self, choice, criterion):
        """Return the trials of the best average, the best first, and their weights."""
        rows = choice.validation_rows
        return select(
            choice.best_trials,
            lambda out: criterion.mean(out, rows.targets, rows.weight),
            self.n_machines,
        )

    @property
    def machines_(self):
        """The machines whose outputs are averaged, as estimators, the best first."""
        check_is_fitted(self)
        own = self.get_params(deep=False)
        machines = []
        predictor: Any = self._fitted.predictor
        if isinstance(predictor, MachineAverage):
            fits = predictor.fits
        else:
            fits = [replace(self._fitted, results={})]
        for fit in fits:
            machine = self._machine_class().set_params(validation=None)
            names = (own.keys() & machine.get_params(deep=False).keys()) - {"cv"}
            candidate = fit.predictor.first.candidate
            parameters = {name: own[name] for name in names}
            parameters |= self._parameters_of(candidate)
            machine.set_params(**parameters | {"max_iter": candidate.max_iter})
            machines.append(machine._set_fitted(fit))
        return machines

    def _search_results(self, choice, criterion, weights):
        """Return the attributes that describe the search.

        There is a row of `cv_results_` for each candidate at its best round.
        """
        rows = choice.validation_rows
        average_score = criterion.mean(choice.outputs, rows.targets, rows.weight)
        scores = np.array(criterion.scores)  # of the entries of the history, by fold
        means, numbers = scores.mean(axis=1), choice.candidate_numbers
        rows = [
            max(np.flatnonzero(numbers == number), key=lambda i: means[i])
            for number in np.unique(numbers)
        ]
        params = [self._parameters_of(choice.candidates[numbers[row]]) for row in rows]
        cv_results = {
            **{
                f"param_{name}": np.array([p[name] for p in params], dtype=object)
                for name in params[0]
            },
            "params": params,
            "iter": choice.history["iter"][rows],
            **{f"split{k}_test_score": scores[rows, k] for k in range(scores.shape[1])},
            "mean_test_score": means[rows],
            "std_test_score": scores[rows].std(axis=1),
            "rank_test_score": rankdata(-means[rows], method="min").astype(int),
        }
        best = int(np.argmax(means[rows]))
        best_params = self._parameters_of(choice.candidate)
        return {
            "cv_results_": cv_results,
            "best_index_": best,
            "best_score_": float(means[rows][best]),
            "average_score_": average_score,
            "machine_weights_": weights,
            "best_params_": best_params | {"max_iter": int(choice.candidate.max_iter)},
        }

    def _parameters_of(self, candidate):
        """Return a candidate as parameters, with what else is searched."""
        searched = {name: getattr(candidate, name) for name in self._searched}
        return parameters_of(candidate) | searched
