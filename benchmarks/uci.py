"""The UCI sets with the protocol of the RFM paper: tuned once, then four folds.

    python benchmarks/uci.py --data DIR [--models RFM Laplace RandomForest HistGB xRFM]
                             [--max-rows 5000] [--report]

Sets are ``DIR/uci121/*.npz``, with splits of their own. Parameters are chosen on the
rows ``tune_val`` by models fitted to the rows ``tune_train``: by accuracy, but by
log-loss for RFM, as in its search (a plain kernel gains nothing from that). The
figure of a set is the mean accuracy over its four k-folds. RFM, its plain Laplace
kernel, gradient boosting and xRFM, whose package needs torch, have 30 candidates each,
a random forest 12. The report has mean accuracy, mean (Friedman) rank, the share of
sets where a model has at least 90 or 95 % of the best accuracy (P90, P95), and the mean
percentage of the best accuracy (PMA).
The report is on the sets that have figures of all ``--models``.
"""

from pathlib import Path

import numpy as np
from _experiment import Clock, Experiment, count_flag, is_chosen
from _report import (
    complete_tables,
    fold_means,
    format_table,
    mean_ranks,
    print_costs,
)
from scipy.stats import loguniform, randint, uniform
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import ParameterGrid, ParameterSampler, train_test_split

from skrfm import RFMClassifier, RFMClassifierCV, RFMRegressor

CANDIDATES = 30
# sets of so many rows are in single precision, which takes half of the hours
SINGLE_FROM = 20_000


# -- models: each returns an estimator for the folds ----------------------------------


def tune_rfm(X, y, X_val, y_val):
    """Search kernel, bandwidth, ridge, metric and round, as the search does it."""
    settings = {"n_candidates": CANDIDATES, "n_machines": 1, "scaling": None}
    search = RFMClassifierCV(**settings, random_state=0)
    search.fit(X, y, X_val=X_val, y_val=y_val)
    best = search.best_params_
    return RFMClassifier(**best, validation=None, scaling=None, random_state=0)


class LaplaceMachine(ClassifierMixin, BaseEstimator):
    """Least squares on class indicators with the Laplace kernel.

    It predicts as RFMClassifier without rounds, and has no probabilities: those take
    leave-one-out outputs, which of many rows are slow.
    """

    def __init__(self, bandwidth="median", alpha=1e-3):
        self.bandwidth, self.alpha = bandwidth, alpha

    def fit(self, X, y):
        """Fit one output per class."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        machine = RFMRegressor(
            kernel="laplace",
            bandwidth=self.bandwidth,
            alpha=self.alpha,
            max_iter=0,
            validation=None,
            scaling=None,
            random_state=0,
        )
        self.machine_ = machine.fit(X, np.eye(len(self.classes_))[codes])
        return self

    def predict(self, X):
        """Predict classes."""
        return self.classes_[self.machine_.predict(X).argmax(axis=1)]


def tune_laplace(X, y, X_val, y_val):
    """Search bandwidth and ridge of the Laplace kernel without a learned metric."""
    space = {
        "bandwidth": [f"{m}*median" for m in (0.3, 1, 3, 10, 30)],
        "alpha": list(np.geomspace(1e-6, 1, 6)),
    }
    return best_of(LaplaceMachine(), ParameterGrid(space), X, y, X_val, y_val)


def tune_forest(X, y, X_val, y_val):
    """Search the features of a split and the size of a leaf."""
    space = {"max_features": ["sqrt", 0.3, 0.6, 1.0], "min_samples_leaf": [1, 3, 10]}
    forest = RandomForestClassifier(500, n_jobs=2, random_state=0)
    return best_of(forest, ParameterGrid(space), X, y, X_val, y_val)


def tune_boosting(X, y, X_val, y_val):
    """Search gradient boosting at random."""
    space = {
        "learning_rate": loguniform(0.01, 0.3),
        "max_iter": randint(50, 400),
        "max_leaf_nodes": randint(4, 64),
        "min_samples_leaf": randint(2, 40),
        "l2_regularization": loguniform(1e-4, 10),
        "max_features": uniform(0.3, 0.7),
    }
    boosting = HistGradientBoostingClassifier(early_stopping=False, random_state=0)
    sampled = ParameterSampler(space, CANDIDATES, random_state=0)
    return best_of(boosting, sampled, X, y, X_val, y_val)


def best_of(model, candidates, X, y, X_val, y_val):
    """Return the candidate with the best accuracy on the validation rows."""
    models = [clone(model).set_params(**params) for params in candidates]
    return max(models, key=lambda m: clone(m).fit(X, y).score(X_val, y_val))


class Peer(ClassifierMixin, BaseEstimator):
    """The package xrfm; it needs validation rows, here a fifth of those given."""

    def __init__(self, bandwidth=10.0, exponent=1.0, p=None, diag=False, reg=1e-3):
        self.bandwidth, self.exponent, self.p = bandwidth, exponent, p
        self.diag, self.reg = diag, reg

    def fit(self, X, y, X_val=None, y_val=None):
        """Fit, with the round chosen on the validation rows."""
        from xrfm import xRFM

        self.classes_ = np.unique(y)
        if X_val is None:
            X, X_val, y, y_val = train_test_split(X, y, test_size=0.2, random_state=0)
        model = {
            "kernel": "l2" if self.p is None else "lpq",
            "norm_p": self.p,
            "exponent": self.exponent,
            "bandwidth": self.bandwidth,
            "diag": self.diag,
        }
        fit = {"reg": self.reg, "iters": 5, "return_best_params": True}
        params = {"model": model, "fit": fit}
        self.model_ = xRFM(params, device="cpu", random_state=0, verbose=False)
        codes = [np.searchsorted(self.classes_, part) for part in (y, y_val)]
        # it takes the classes from those in y, which must be 0, 1, ...
        self._found, first = np.unique(codes[0], return_inverse=True)
        known = np.isin(codes[1], self._found)
        second = np.searchsorted(self._found, codes[1][known])
        parts = (X, first, X_val[known], second)
        self.model_.fit(*(torch_form(part) for part in parts))
        return self

    def predict(self, X):
        """Predict classes."""
        found = np.asarray(self.model_.predict(torch_form(X))).reshape(-1)
        return self.classes_[self._found[found]]


def torch_form(a):
    """Return what xrfm takes."""
    return a.astype(np.float32 if a.dtype.kind == "f" else np.int64)


def tune_xrfm(X, y, X_val, y_val):
    """Search the published space of xRFM, with its kernels, at random."""
    rng = np.random.default_rng(0)
    models = []
    for _ in range(CANDIDATES):
        q = rng.uniform(0.7, 1.4)
        models.append(
            Peer(
                bandwidth=float(np.exp(rng.uniform(np.log(0.5), np.log(200)))),
                exponent=q,
                p=rng.uniform(q, 2) if rng.random() < 0.8 else None,
                diag=bool(rng.random() < 0.5),
                reg=float(np.exp(rng.uniform(np.log(1e-6), np.log(10)))),
            )
        )

    def score(model):
        return clone(model).fit(X, y, X_val, y_val).score(X_val, y_val)

    return max(models, key=score)


MODELS = {
    "RFM": tune_rfm,
    "Laplace": tune_laplace,
    "RandomForest": tune_forest,
    "HistGB": tune_boosting,
    "xRFM": tune_xrfm,
}


# -- figures --------------------------------------------------------------------------


def run(args, records):
    """Tune and score each model on each set, small files first."""
    paths = (Path(args.data) / "uci121").glob("*.npz")
    for path in sorted(paths, key=lambda path: path.stat().st_size):
        if not is_chosen(path.stem, args):
            continue
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if len(arrays["y"]) > args.max_rows:
            print(f"{path.stem}: {len(arrays['y'])} rows, left out by --max-rows")
            continue
        for model in args.models:
            # the last fold is written last: without it the set is run again
            if not records.has({"table": path.stem, "model": model, "fold": 3}):
                add_folds(records, path.stem, model, arrays)


def add_folds(records, table, name, arrays):
    """Tune a model on a set, and add the accuracy of its folds and the costs of all."""
    y = arrays["y"]
    X = arrays["X"].astype(np.float64 if len(y) < SINGLE_FROM else np.float32)
    clock = Clock()
    train, val = arrays["tune_train"], arrays["tune_val"]
    model = MODELS[name](X[train], y[train], X[val], y[val])
    scores = []
    for fold in range(4):
        train, test = arrays[f"kfold_train_{fold}"], arrays[f"kfold_test_{fold}"]
        fitted = clone(model).fit(X[train], y[train])
        scores.append(float(fitted.score(X[test], y[test])))
    costs = {k: round(v, 2) for k, v in clock.cost().figures().items()}
    params = " ".join(repr(model).split())
    for fold, accuracy in enumerate(scores):
        figures = {"accuracy": accuracy, **costs, "params": params if fold == 3 else ""}
        records.add({"table": table, "model": name, "fold": fold}, figures)


def report(rows, args):
    """Print the comparison over the sets that all of the models have."""
    models = [m for m in args.models if any(row["model"] == m for row in rows)]
    means = fold_means(rows, "accuracy")
    tables = complete_tables(means, models)
    if not tables:
        print(f"no set has figures of all of {models}")
        return
    scores = np.array([[means[table][model] for model in models] for table in tables])
    best = scores.max(axis=1, keepdims=True)
    columns = {
        "accuracy": 100 * scores.mean(axis=0),
        "rank": mean_ranks(scores),
        "P90": 100 * (scores >= 0.9 * best).mean(axis=0),
        "P95": 100 * (scores >= 0.95 * best).mean(axis=0),
        "PMA": 100 * (scores / best).mean(axis=0),
    }
    lines = [
        [model, *(float(column[i]) for column in columns.values())]
        for i, model in enumerate(models)
    ]
    lines.sort(key=lambda line: -line[1])
    print(f"\n{len(tables)} sets\n")
    print(format_table(["model", *columns], lines))
    print_costs([r for r in rows if r["table"] in tables and r["fold"] == "3"])


EXPERIMENT = Experiment(
    doc=__doc__,
    key=("table", "model", "fold"),
    figures=("accuracy", "seconds", "cpu_seconds", "params"),
    run=run,
    report=report,
    flags={"tables": None},
    choices={"models": MODELS},
    own_flags=[count_flag("max-rows", 5000, "leave out larger sets")],
    out="uci.csv",
    needs_data=True,
)

if __name__ == "__main__":
    EXPERIMENT.main()
