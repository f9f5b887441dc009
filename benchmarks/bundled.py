"""RFM beside other estimators on the tables that ship with scikit-learn.

Every estimator gets the same standardised splits, by default 3 folds, of diabetes
(regression, R²), breast_cancer, wine and digits (classification, accuracy).
KernelRidge and SVC are tuned by a grid search inside each fold; the others run with
their defaults. Costs are means per fold and count the whole pipeline, grid search
included; all estimators have the same number of threads, by default two.

    python benchmarks/bundled.py
"""

import numpy as np
from _experiment import FIT_COSTS, Experiment, flag, timed
from _report import format_table, grouped, mean_of
from matplotlib.figure import Figure
from sklearn import datasets, ensemble
from sklearn.compose import TransformedTargetRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skrfm import RFMClassifier, RFMRegressor

TABLES = ("diabetes", "breast_cancer", "wine", "digits")
COLOURS = ("#0b5394", "#c27c0e", "#3d7a4e", "#8a4f7d")


def tuned_kernel_machine(regression, n_features):
    """Return a grid search of KernelRidge or SVC."""
    gammas = np.array([0.1, 0.3, 1, 3]) / n_features
    if not regression:
        return GridSearchCV(SVC(), {"gamma": gammas, "C": [1, 10, 100]}, cv=3)
    # KernelRidge has no intercept and no scale of its own: standardise y.
    model = TransformedTargetRegressor(
        KernelRidge(kernel="rbf"), transformer=StandardScaler()
    )
    grid = {"regressor__gamma": gammas, "regressor__alpha": [0.03, 0.3, 3, 30]}
    return GridSearchCV(model, grid, cv=3)


def make_models(regression, n_features):
    """Return {name: estimator}, RFM first."""
    kind = "Regressor" if regression else "Classifier"
    boosting = getattr(ensemble, f"HistGradientBoosting{kind}")
    forest = getattr(ensemble, f"RandomForest{kind}")
    tuned_name = "KernelRidge (tuned)" if regression else "SVC (tuned)"
    models = {
        "RFM": (RFMRegressor if regression else RFMClassifier)(random_state=0),
        tuned_name: tuned_kernel_machine(regression, n_features),
        "HistGradientBoosting": boosting(random_state=0),
        "RandomForest": forest(random_state=0),
    }
    return {
        name: model if name == "RFM" else make_pipeline(StandardScaler(), model)
        for name, model in models.items()
    }


def measure(model, X, y, train, test):
    """Return score, costs and, of an RFM, feature importances of one fold."""
    _, fit_cost = timed(model.fit, X[train], y[train])
    _, cost = timed(model.predict, X[test])
    importances = getattr(model, "feature_importances_", [])
    return {
        "score": float(model.score(X[test], y[test])),
        **fit_cost.figures("fit_"),
        **cost.figures("predict_"),
        "importances": " ".join(f"{value:.6g}" for value in importances),
    }


def run(args, records):
    """Measure every model on every fold."""
    _, cost = timed(RFMRegressor().fit, np.eye(20), np.arange(20.0))
    print(f"First call of RFM, compilation included: {cost.seconds:.1f} s")
    for table in args.tables:
        X, y = (load(table)[name] for name in ("data", "target"))
        regression = table == "diabetes"
        splitter = KFold if regression else StratifiedKFold
        splitter = splitter(args.folds, shuffle=True, random_state=0)
        for fold, (train, test) in enumerate(splitter.split(X, y)):
            for name, model in make_models(regression, X.shape[1]).items():
                key = {"table": table, "model": name, "fold": fold}
                records.once(key, measure, model, X, y, train, test)


def load(table):
    """Return one of scikit-learn's bundled sets."""
    return getattr(datasets, f"load_{table}")()


def report(rows, args):
    """Print the means of the folds of each table, and draw them."""
    by_table = grouped(rows, "table")
    for table, of_table in by_table.items():
        print_table(table, of_table)
    draw(args.picture, by_table)
    print(f"\nPicture: {args.picture}")


def mean_importances(rows):
    """Return the mean feature importances of the RFM."""
    rows = [row["importances"].split() for row in rows if row["model"] == "RFM"]
    return np.array(rows, dtype=float).mean(axis=0)


def print_table(table, rows):
    """Print scores and costs of one table, and RFM's most important features."""
    data = load(table)
    lines = [
        [
            name,
            mean_of(group, "score"),
            mean_of(group, "score", np.std),
            *(mean_of(group, cost) for cost in FIT_COSTS),
        ]
        for name, group in grouped(rows, "model").items()
    ]
    score = "R²" if table == "diabetes" else "accuracy"
    header = [score, "mean", "std", "fit s", "fit CPU s", "predict s", "predict CPU s"]
    print(f"\n{table}: {len(data.data)} rows, {len(data.feature_names)} columns\n")
    print(format_table(header, lines))
    importances = mean_importances(rows)
    top = np.argsort(importances)[::-1][:5]
    names = (f"{data.feature_names[i]} {importances[i]:.3f}" for i in top)
    print("RFM's most important features: " + ", ".join(names), flush=True)


def draw_scores(ax, table, rows):
    """Draw the scores of the folds and their means."""
    groups = grouped(rows, "model")
    for i, (group, colour) in enumerate(zip(groups.values(), COLOURS, strict=False)):
        scores = [float(row["score"]) for row in group]
        ax.plot(scores, np.full(len(scores), -i), "o", c=colour, ms=5, alpha=0.4)
        ax.plot(np.mean(scores), -i, "d", c=colour, ms=10)
    ax.set_yticks(-np.arange(len(groups)), list(groups))
    ax.set_ylim(0.5 - len(groups), 0.5)
    ax.set_title(f"{table}: " + ("R²" if table == "diabetes" else "accuracy"))
    ax.set_xlabel("folds (dots) and their mean (diamond)")


def draw_importances(fig, ax, table, rows):
    """Draw the feature importances of the RFM."""
    data, importances = load(table), mean_importances(rows)
    ax.set_title(f"{table}: RFM feature importances")
    if table == "digits":
        fig.colorbar(ax.imshow(importances.reshape(8, 8), cmap="magma"), ax=ax)
    else:
        top = np.argsort(importances)[-10:]
        names = [str(data.feature_names[i]) for i in top]
        ax.barh(names, importances[top], color=COLOURS[0])


def draw(path, by_table):
    """Draw scores and importances of all tables into one picture."""
    fig = Figure(figsize=(4.5 * len(by_table), 7), layout="constrained")
    axes = fig.subplots(2, len(by_table), squeeze=False).T
    for (top, bottom), (table, rows) in zip(axes, by_table.items(), strict=True):
        draw_scores(top, table, rows)
        draw_importances(fig, bottom, table, rows)
    fig.savefig(path, dpi=110)


EXPERIMENT = Experiment(
    doc=__doc__,
    key=("table", "model", "fold"),
    figures=("score", *FIT_COSTS, "importances"),
    run=run,
    report=report,
    flags={"folds": 3},
    choices={"tables": TABLES},
    own_flags=[flag("picture", "bundled.png", metavar="FILE", help="picture to draw")],
    threads=2,
    ignored=None,
)

if __name__ == "__main__":
    EXPERIMENT.main()
