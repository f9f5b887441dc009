"""The search of the …CV estimators: at random, by rounds and folds, and averaged."""

from dataclasses import replace
from numbers import Integral, Real
from time import perf_counter

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import get_scorer_names

from ._averaging import AveragingMixin, select
from ._base import BaseRFM
from ._compat import Interval, StrOptions
from ._folds import make_folds
from ._judging import HoldOut
from ._scoring import PartCriterion
from ._search import choose, halve, history_of
from ._space import RandomCandidates, parameters_of
from .kernels import L1Laplace, Laplace

# what all candidates have in common, and what else is that of RFM estimators
_SHARED = (
    "max_iter",
    "fit_intercept",
    "center_gradients",
    "max_agop_samples",
    "solver",
)
_AS_ALL = (
    "categorical_features",
    "scaling",
    "device",
    "n_jobs",
    "random_state",
)
# what a machine of the search has learned of the table and of the targets
_LEARNED = (
    "classes_",
    "feature_names_in_",
    "is_categorical_",
    "n_features_in_",
    "_class_factors",
    "_n_outputs",
    "_reader",
    "_single_output",
)


class SearchCV(AveragingMixin):
    """The search; it takes the place of the one of an RFM estimator."""

    #: the estimator of one machine
    _machine = None

    #: kernels of the first candidates
    _first_kernels = (Laplace(), L1Laplace())

    _parameter_constraints = {
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "n_machines": [Interval(Integral, 1, None, closed="left")],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "time_budget": [Interval(Real, 0, None, closed="neither"), None],
        **{name: BaseRFM._parameter_constraints[name] for name in (*_SHARED, *_AS_ALL)},
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
        max_iter=5,
        fit_intercept=True,
        center_gradients=False,
        max_agop_samples=20_000,
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
        self.max_iter = max_iter
        self.fit_intercept = fit_intercept
        self.center_gradients = center_gradients
        self.max_agop_samples = max_agop_samples
        self.solver = solver
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _candidates(self, seed, widths, scalings):
        shared = {name: getattr(self, name) for name in _SHARED}
        shared |= {"seed": seed, "widths": widths}
        what = self._first_kernels, shared, scalings
        return RandomCandidates(self.n_candidates, seed, *what)

    def _judging(self, n_candidates, labels, keep, seed, n_jobs, few):
        return HoldOut(make_folds(self.cv, labels, keep, seed), n_jobs)

    def _search(self, data, candidates, judging, *where):
        budget = self.time_budget
        deadline = None if budget is None else perf_counter() + budget
        criterion = PartCriterion(self, judging)
        choice = choose(data, candidates, judging, criterion, *where, halve, deadline)
        self._set_results(choice, np.array(criterion.scores))
        self._average_of(choice, criterion)
        return choice

    @property
    def _most_machines(self):
        return self.n_machines

    def _average_of(self, choice, criterion):
        """Have the outputs of the choice be those of the best average."""
        pool, judges = choice.pool, choice.judges
        judged = judges.targets, judges.weight
        counts = select(pool, lambda out: criterion.mean(out, *judged), self.n_machines)
        chosen = np.flatnonzero(counts)
        choice.pool = [pool[k] for k in chosen]
        self.machine_weights_ = (counts[chosen] / counts.sum()).tolist()
        choice.outputs = self._average(contender.outputs for contender in choice.pool)
        self.average_score_ = criterion.mean(choice.outputs, *judged)

    def _fit_others(self, choice, model, data, backend, progress):
        """Fit the other machines of the average, and set all of them."""
        rounds = [model] + [
            self._fit_all(data, contender.recipe, backend, progress)
            for contender in choice.pool[1:]
        ]
        self.machines_ = [
            self._machine_of(fitted, progress.attributes(fitted), contender, choice)
            for fitted, contender in zip(rounds, choice.pool, strict=True)
        ]

    def _machine_of(self, fitted, attributes, contender, choice):
        """Return the estimator of a machine that is part of the average."""
        machine, own = self._machine(validation=None), self.get_params(deep=False)
        names = own.keys() & machine.get_params(deep=False).keys() - {"cv"}
        machine.set_params(**{name: own[name] for name in names})
        rounds = {"max_iter": contender.recipe.max_iter}
        machine.set_params(**self._parameters_of(contender.recipe), **rounds)
        found = {name: vars(self)[name] for name in _LEARNED if name in vars(self)}
        found |= attributes
        found["history_"] = history_of(fitted.recipe, fitted.number)
        found["n_iter_"] = max(1, fitted.number)
        found["_unseen_outputs"] = None
        for name, value in found.items():
            setattr(machine, name, value)
        machine._learn_from(replace(choice, outputs=contender.outputs))
        return machine

    def _set_results(self, choice, scores):
        """Set what the search has found, a row for each candidate."""
        means = scores.mean(axis=1)
        rows = [
            max(np.flatnonzero(choice.candidates == number), key=lambda i: means[i])
            for number in np.unique(choice.candidates)
        ]
        recipes = [choice.recipes[choice.candidates[row]] for row in rows]
        params = [self._parameters_of(recipe) for recipe in recipes]
        self.cv_results_ = {
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
        self.best_index_, self.best_score_ = best, float(means[rows][best])
        rounds = int(choice.recipe.max_iter)
        self.best_params_ = {**self._parameters_of(choice.recipe), "max_iter": rounds}

    def _parameters_of(self, recipe):
        """Return a recipe as parameters, with the scaling where that is searched."""
        found = parameters_of(recipe)
        return found | ({"scaling": recipe.scaling} if self.scaling == "auto" else {})
