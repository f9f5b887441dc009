"""Models tuned in the same three folds, with as many candidates each."""

from scipy.stats import loguniform, randint, uniform
from sklearn.model_selection import KFold, RandomizedSearchCV, StratifiedKFold

CANDIDATES = 30
LIGHTGBM = {
    "n_estimators": randint(100, 1000),
    "learning_rate": loguniform(0.01, 0.3),
    "num_leaves": randint(8, 128),
    "min_child_samples": randint(3, 60),
    "subsample": uniform(0.5, 0.5),
    "subsample_freq": [1],
    "colsample_bytree": uniform(0.4, 0.6),
    "reg_lambda": loguniform(1e-3, 30),
}
CATBOOST = {
    "iterations": randint(100, 1000),
    "learning_rate": loguniform(0.01, 0.3),
    "depth": randint(3, 9),
    "l2_leaf_reg": loguniform(0.3, 30),
    "random_strength": uniform(0, 2),
    "rsm": uniform(0.4, 0.6),
}


def folds_of(task):
    """Return the splitter that all models are tuned with."""
    kind = KFold if task == "reg" else StratifiedKFold
    return kind(3, shuffle=True, random_state=0)


def tune(model, space, task):
    """Return a random search of a model."""
    return RandomizedSearchCV(
        model,
        space,
        n_iter=CANDIDATES,
        cv=folds_of(task),
        scoring="r2" if task == "reg" else "neg_log_loss",
        random_state=0,
    )


def make_rfm_cv(task, threads, **options):
    """Make skrfm's search."""
    from skrfm import RFMClassifierCV, RFMRegressorCV

    kind = RFMRegressorCV if task == "reg" else RFMClassifierCV
    options |= {"n_candidates": CANDIDATES, "cv": folds_of(task), "random_state": 0}
    return kind(**options)
