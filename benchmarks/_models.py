"""Models of the tabular benchmark: at their defaults, and tuned in the same folds."""

import numpy as np
from scipy.stats import loguniform, randint, uniform
from sklearn import ensemble
from sklearn.model_selection import (
    KFold,
    RandomizedSearchCV,
    StratifiedKFold,
    train_test_split,
)

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


# -- at their defaults ----------------------------------------------------------------


class XRFM:
    """xRFM at its defaults, with a fifth of the training rows for validation.

    It reads the task from the type of the targets (integers: classification) and
    selects its iteration on validation rows, which the caller must supply.
    """

    def __init__(self, task, threads):
        from xrfm import xRFM

        self.task = task
        self.model = xRFM(
            device="cpu", n_threads=threads, random_state=0, verbose=False
        )

    def fit(self, X, y):
        """Hold out the validation rows and fit."""
        X_fit, X_val, y_fit, y_val = train_test_split(
            X,
            y if self.task == "clf" else y.astype(np.float32),
            test_size=0.2,
            random_state=0,
            stratify=y if self.task == "clf" else None,
        )
        self.model.fit(X_fit, y_fit, X_val, y_val)
        return self

    def predict(self, X):
        """Predict targets or class numbers."""
        return self.model.predict(X)

    def predict_proba(self, X):
        """Predict class probabilities."""
        return self.model.predict_proba(X)


def make_rfm(task, threads):
    """Return skrfm's estimator."""
    from skrfm import RFMClassifier, RFMRegressor

    return (RFMRegressor if task == "reg" else RFMClassifier)(random_state=0)


def make_hgb(task, threads):
    """Return scikit-learn's histogram gradient boosting."""
    if task == "reg":
        return ensemble.HistGradientBoostingRegressor(random_state=0)
    return ensemble.HistGradientBoostingClassifier(random_state=0)


def make_forest(task, threads):
    """Return scikit-learn's random forest."""
    if task == "reg":
        return ensemble.RandomForestRegressor(n_jobs=threads, random_state=0)
    return ensemble.RandomForestClassifier(n_jobs=threads, random_state=0)


def make_lightgbm(task, threads):
    """Return LightGBM."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    cls = LGBMRegressor if task == "reg" else LGBMClassifier
    return cls(n_jobs=threads, random_state=0, verbosity=-1)


def make_xgboost(task, threads):
    """Return XGBoost."""
    from xgboost import XGBClassifier, XGBRegressor

    cls = XGBRegressor if task == "reg" else XGBClassifier
    return cls(n_jobs=threads, random_state=0)


def make_catboost(task, threads):
    """Return CatBoost, without its log files."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    cls = CatBoostRegressor if task == "reg" else CatBoostClassifier
    return cls(
        thread_count=threads, random_seed=0, verbose=False, allow_writing_files=False
    )


def make_average(task, threads):
    """Return the average of skrfm's estimator and histogram gradient boosting."""
    models = [("rfm", make_rfm(task, threads)), ("hgb", make_hgb(task, threads))]
    if task == "reg":
        return ensemble.VotingRegressor(models)
    return ensemble.VotingClassifier(models, voting="soft")


def set_categories(model, categorical):
    """Tell skrfm's estimators, alone or in an average, which columns are categories."""
    names = [name for name in model.get_params() if _names_categories(name)]
    return model.set_params(**dict.fromkeys(names, categorical))


def _names_categories(name):
    return name in ("categorical_features", "rfm__categorical_features")


# -- tuned ----------------------------------------------------------------------------


def tuning_folds(task):
    """Return the splitter that all models are tuned with."""
    kind = KFold if task == "reg" else StratifiedKFold
    return kind(3, shuffle=True, random_state=0)


def tune(model, space, task):
    """Return a random search of a model."""
    return RandomizedSearchCV(
        model,
        space,
        n_iter=CANDIDATES,
        cv=tuning_folds(task),
        scoring="r2" if task == "reg" else "neg_log_loss",
        random_state=0,
    )


def make_rfm_cv(task, threads, **options):
    """Return skrfm's search."""
    from skrfm import RFMClassifierCV, RFMRegressorCV

    cls = RFMRegressorCV if task == "reg" else RFMClassifierCV
    options |= {"n_candidates": CANDIDATES, "cv": tuning_folds(task)}
    return cls(**options, random_state=0)


def make_best_rfm(task, threads):
    """Return skrfm's search for the best candidate alone, not an average."""
    return make_rfm_cv(task, threads, n_machines=1)


def make_lightgbm_tuned(task, threads):
    """Return a random search of LightGBM."""
    return tune(make_lightgbm(task, threads), LIGHTGBM, task)


def make_catboost_tuned(task, threads):
    """Return a random search of CatBoost."""
    return tune(make_catboost(task, threads), CATBOOST, task)


# name: (package that must be there, function that makes the model)
MODELS = {
    "rfm": ("skrfm", make_rfm),
    "hgb": ("sklearn", make_hgb),
    "lightgbm": ("lightgbm", make_lightgbm),
    "catboost": ("catboost", make_catboost),
    "rf": ("sklearn", make_forest),
    "xgboost": ("xgboost", make_xgboost),
    "xrfm": ("xrfm", XRFM),
    "rfm_hgb_average": ("skrfm", make_average),
    "rfm_tuned": ("skrfm", make_rfm_cv),
    "rfm_alone_tuned": ("skrfm", make_best_rfm),
    "lightgbm_tuned": ("lightgbm", make_lightgbm_tuned),
    "catboost_tuned": ("catboost", make_catboost_tuned),
}
AT_DEFAULTS = [name for name in MODELS if not name.endswith(("tuned", "average"))]
