"""Compare skrfm with other models on tables.

    python benchmarks/tabular.py --data DIR --models rfm hgb xrfm
    python benchmarks/tabular.py --report
    python benchmarks/tabular.py --data DIR --max-train 2000 --out results/tuned.csv \
        --models rfm_tuned catboost_tuned lightgbm_tuned

Models at their defaults, or tuned in three folds with 30 random candidates; of those
rfm_alone_tuned takes the best one in place of an average. skrfm gets the table as it
is, all others the same encoded matrix (see ``_tables.py``). Figures go to a CSV file
after each fit; a figure that is there is not computed again, so a stopped run can be
resumed. Use another ``--out`` for another ``--max-train``.
"""

import argparse
import importlib.util
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
from _records import Records, print_report
from _tables import find_tables, load_table
from _tuned import CATBOOST, LIGHTGBM, make_rfm_cv, tune
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

PROBABILITY_FLOOR = 1e-6
DEFAULT_OUT = Path(__file__).parent / "results" / "tabular.csv"


class XRFM:
    """xRFM at its defaults, with a fifth of the train rows for validation.

    It reads the task from the type of the targets (integers: classification)
    and selects its iteration on validation rows, which the caller must supply.
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


class AsItIs:
    """An estimator of skrfm on tables as they are."""

    def __init__(self, model):
        self.model = model

    def fit(self, table):
        """Fit to the train part."""
        places = table.categories
        self.model.set_params(categorical_features=places if len(places) else None)
        self.model.fit(table.raw_train, table.y_train)

    def predict(self, table):
        """Predict the targets of the test part."""
        return self.model.predict(table.raw_test)

    def predict_proba(self, table):
        """Predict the class probabilities of the test part."""
        return self.model.predict_proba(table.raw_test)


class Encoded(AsItIs):
    """Any other model, on the encoded matrix."""

    def fit(self, table):
        """Fit to the train part."""
        self.model.fit(table.X_train, table.y_train)

    def predict(self, table):
        """Predict the targets of the test part."""
        return self.model.predict(table.X_test)

    def predict_proba(self, table):
        """Predict the class probabilities of the test part."""
        return self.model.predict_proba(table.X_test)


def make_rfm(task, threads):
    """Make skrfm's estimator."""
    from skrfm import RFMClassifier, RFMRegressor

    kind = RFMRegressor if task == "reg" else RFMClassifier
    return kind(random_state=0)


def make_hgb(task, threads):
    """Make scikit-learn's histogram gradient boosting."""
    from sklearn import ensemble

    if task == "reg":
        return ensemble.HistGradientBoostingRegressor(random_state=0)
    return ensemble.HistGradientBoostingClassifier(random_state=0)


def make_rf(task, threads):
    """Make scikit-learn's random forest."""
    from sklearn import ensemble

    if task == "reg":
        return ensemble.RandomForestRegressor(n_jobs=threads, random_state=0)
    return ensemble.RandomForestClassifier(n_jobs=threads, random_state=0)


def make_lightgbm(task, threads):
    """Make LightGBM."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    cls = LGBMRegressor if task == "reg" else LGBMClassifier
    return cls(n_jobs=threads, random_state=0, verbosity=-1)


def make_xgboost(task, threads):
    """Make XGBoost."""
    from xgboost import XGBClassifier, XGBRegressor

    cls = XGBRegressor if task == "reg" else XGBClassifier
    return cls(n_jobs=threads, random_state=0)


def make_catboost(task, threads):
    """Make CatBoost, without its log files."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    cls = CatBoostRegressor if task == "reg" else CatBoostClassifier
    return cls(
        thread_count=threads, random_seed=0, verbose=False, allow_writing_files=False
    )


def make_lightgbm_tuned(task, threads):
    """Make a random search of LightGBM."""
    return tune(make_lightgbm(task, threads), LIGHTGBM, task)


def make_catboost_tuned(task, threads):
    """Make a random search of CatBoost."""
    return tune(make_catboost(task, threads), CATBOOST, task)


# name: (package that must be there, function making the model)
MODELS = {
    "rfm": ("skrfm", make_rfm),
    "hgb": ("sklearn", make_hgb),
    "lightgbm": ("lightgbm", make_lightgbm),
    "catboost": ("catboost", make_catboost),
    "rf": ("sklearn", make_rf),
    "xgboost": ("xgboost", make_xgboost),
    "xrfm": ("xrfm", XRFM),
    "rfm_tuned": ("skrfm", make_rfm_cv),
    "rfm_alone_tuned": ("skrfm", partial(make_rfm_cv, n_machines=1)),
    "lightgbm_tuned": ("lightgbm", make_lightgbm_tuned),
    "catboost_tuned": ("catboost", make_catboost_tuned),
}
AT_DEFAULTS = [name for name in MODELS if not name.endswith("_tuned")]


def score_model(model, table):
    """Return the test scores and the seconds of predicting."""
    start = time.perf_counter()
    predicted = np.ravel(model.predict(table))
    scores = {"predict_seconds": round(time.perf_counter() - start, 3)}
    if table.task == "reg":
        scores["r2"] = r2_score(table.y_test, predicted)
        return scores
    scores["accuracy"] = accuracy_score(table.y_test, predicted)
    probability = np.asarray(model.predict_proba(table), dtype=np.float64)
    probability = np.clip(probability, PROBABILITY_FLOOR, 1.0)
    probability /= probability.sum(axis=1, keepdims=True)
    labels = np.arange(probability.shape[1])
    scores["log_loss"] = log_loss(table.y_test, probability, labels=labels)
    return scores


def run_model(name, table, threads):
    """Fit and score one model; an exception becomes the text ``error``."""
    figures = {}
    try:
        package, make = MODELS[name]
        way = AsItIs if package == "skrfm" else Encoded
        model = way(make(table.task, threads))
        start = time.perf_counter()
        model.fit(table)
        figures["fit_seconds"] = round(time.perf_counter() - start, 3)
        figures.update(score_model(model, table))
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        figures = {"error": text[:300]}
    return figures


def run_all(args, records, tables):
    """Compute the missing figures: fold by fold, model by model."""
    for fold in range(args.folds):
        for model in args.models:
            for name, read in tables.items():
                if records.has(name, model, fold, retry_errors=args.retry_errors):
                    continue
                table = load_table(name, read, fold, args.max_train)
                figures = run_model(model, table, args.threads)
                records.add(
                    table=name,
                    task=table.task,
                    model=model,
                    fold=fold,
                    n_train=len(table.y_train),
                    n_test=len(table.y_test),
                    n_features=table.X_train.shape[1],
                    **figures,
                )
                print(f"fold {fold}  {model}  {name}  {figures}", flush=True)


def parse_args():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", metavar="DIR", help="data folder (none: bundled)")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=AT_DEFAULTS)
    parser.add_argument("--tables", nargs="+", metavar="NAME")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--max-train", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    parser.add_argument("--retry-errors", action="store_true")
    parser.add_argument("--report", action="store_true", help="only print")
    return parser.parse_args()


def main():
    """Run what is missing, then print the report."""
    args = parse_args()
    records = Records(args.out)
    names = args.tables
    if not args.report:
        tables = find_tables(args.data)
        names = args.tables or list(tables)
        unknown = sorted(set(names) - set(tables))
        if unknown:
            raise SystemExit(f"no such tables: {unknown}; there are {list(tables)}")
        for model in [m for m in args.models if not _is_there(MODELS[m][0])]:
            print(f"{model}: left out, {MODELS[model][0]} is not installed")
            args.models.remove(model)
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        with threadpool_limits(args.threads):
            run_all(args, records, {n: tables[n] for n in tables if n in names})
    rows = [row for row in records.rows if int(row["fold"]) < args.folds]
    rows = [row for row in rows if names is None or row["table"] in names]
    print_report(rows, args.models)


def _is_there(package):
    """Tell whether a package can be imported."""
    return importlib.util.find_spec(package) is not None


if __name__ == "__main__":
    main()
