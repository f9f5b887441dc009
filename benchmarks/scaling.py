"""Scalings of numbers: softly clipped, with their quantiles beside them, or chosen.

On the tables of the choosing half, at most 2000 training rows: the test scores of
RFMRegressor (R²) and RFMClassifier (log-loss, accuracy) at their defaults, with
numbers softly clipped, with their quantiles beside them, and with the better of the
two on validation rows ("auto"). The defaults of the scaling were chosen by it.

    python benchmarks/scaling.py --data DIR [--folds 2] [--report]
"""

from _experiment import COSTS, TABLE_FLAGS, Experiment, timed
from _report import compare_on_tables, format_table, print_costs
from _tables import splits
from sklearn.metrics import log_loss, r2_score

from skrfm import RFMClassifier, RFMRegressor

SCALINGS = ("clipped", "quantile", "auto")
SCORES = ("r2", "log_loss", "accuracy")


def measure(split, scaling):
    """Return the test scores of one model, and the costs of its fit."""
    table = split.table
    model = (RFMRegressor if table.task == "reg" else RFMClassifier)(
        scaling=scaling, categorical_features=table.categorical, random_state=0
    )
    _, cost = timed(model.fit, table.raw_train, table.y_train)
    if table.task == "reg":
        r2 = r2_score(table.y_test, model.predict(table.raw_test))
        return {"r2": r2, **cost.figures()}
    proba = model.predict_proba(table.raw_test)
    return {
        "log_loss": log_loss(table.y_test, proba, labels=model.classes_),
        "accuracy": model.score(table.raw_test, table.y_test),
        **cost.figures(),
    }


def run(args, records):
    """Measure each scaling on each split."""
    for split in splits(args, args.rows):
        for scaling in SCALINGS:
            key = {"table": split.name, "fold": split.fold, "scaling": scaling}
            records.once(key, measure, split, scaling)


def report(rows, args):
    """Print the mean over the folds of each table, and over the tables."""
    for score in SCORES:
        lines = compare_on_tables(rows, score, SCALINGS, "scaling")
        if lines:
            print(format_table([score, *SCALINGS], lines))
    print_costs(rows, "scaling")


EXPERIMENT = Experiment(
    doc=__doc__,
    key=("table", "fold", "scaling"),
    figures=(*SCORES, *COSTS),
    run=run,
    report=report,
    flags=TABLE_FLAGS | {"half": "choosing", "folds": 2, "rows": 2000},
    out="scaling.csv",
)

if __name__ == "__main__":
    EXPERIMENT.main()
