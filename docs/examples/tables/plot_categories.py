"""
Categories, gaps and calibrated probabilities
=============================================

A data frame goes into :class:`~skrfm.RFMClassifier` as it is: its numbers are scaled
inside, its categories are compared as such, and cells may be empty. The classifier
chooses kernel, metric and ridge by the log-loss of rows that it has held out, and
calibrates its probabilities on them. This example asks for the probability that a
customer does not renew a contract.

The table is simulated, so that the example needs no file: the probability depends on
the age of the contract, on the price beside that of the region, and on the plan.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.calibration import CalibrationDisplay
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skrfm import RFMClassifier
from skrfm.inspection import FeatureImportancesDisplay

# %%
# The table
# ---------

rng = np.random.default_rng(0)
n = 4000
regions = [f"region {k}" for k in range(25)]
usual_price = dict(zip(regions, rng.uniform(20, 60, size=25), strict=True))
table = pd.DataFrame(
    {
        "region": pd.Categorical(rng.choice(regions, size=n)),
        "plan": pd.Categorical(rng.choice(["basic", "family", "business"], size=n)),
        "months": rng.integers(1, 72, size=n),
        "calls": rng.poisson(2, size=n),
    }
)
usual = table["region"].map(usual_price).astype(float)
table["price"] = usual * rng.lognormal(0, 0.25, size=n)
score = (
    4 * np.log(table["price"] / usual)
    + 1.5
    * np.cos(2 * np.pi * table["months"] / 12)  # contracts end every twelve months
    - 0.02 * table["months"]
    - (table["plan"] == "family")
)
leaves = pd.Series(np.where(rng.uniform(size=n) < expit(score), "leaves", "stays"))
table.loc[rng.uniform(size=n) < 0.1, "calls"] = np.nan

print(table.head(), f"\nshare that leaves: {(leaves == 'leaves').mean():.2f}")
X_train, X_test, y_train, y_test = train_test_split(
    table, leaves, train_size=1200, random_state=0
)

# %%
# The classifier, and others
# --------------------------
# Of the others, gradient boosting takes the data frame too; the forest and the logistic
# regression need indicators of the categories, and a column without gaps.

to_indicators = make_column_transformer(
    (OneHotEncoder(handle_unknown="ignore"), ["region", "plan"]),
    remainder="passthrough",
    sparse_threshold=0,
)
without_gaps = [X.fillna({"calls": 2.0}) for X in (X_train, X_test)]
models = {
    "RFM": RFMClassifier(random_state=0),
    "gradient boosting": HistGradientBoostingClassifier(
        categorical_features="from_dtype", random_state=0
    ),
    "random forest": make_pipeline(
        to_indicators, RandomForestClassifier(200, random_state=0)
    ),
    "logistic regression": make_pipeline(
        to_indicators, LogisticRegression(max_iter=5000)
    ),
}
probabilities = {}
for name, model in models.items():
    takes_gaps = name in ("RFM", "gradient boosting")
    fitted, unseen = (X_train, X_test) if takes_gaps else without_gaps
    model.fit(fitted, y_train)
    of_leaving = model.predict_proba(unseen)[:, 0]  # classes_ are sorted
    probabilities[name] = of_leaving
    print(
        f"{name:20s} log-loss {log_loss(y_test == 'leaves', of_leaving):.3f}, "
        f"Brier score {brier_score_loss(y_test == 'leaves', of_leaving):.3f}"
    )

# %%
# Are the probabilities right?
# ----------------------------
# Of the customers who are said to leave with a probability of 0.3, three in ten should
# leave: the closer a curve is to the diagonal, the better calibrated a model is.

fig, ax = plt.subplots(figsize=(6, 5), layout="constrained")
for name, of_leaving in probabilities.items():
    CalibrationDisplay.from_predictions(
        y_test == "leaves", of_leaving, n_bins=10, strategy="quantile", name=name, ax=ax
    )
ax.set(xlabel="predicted probability of leaving", ylabel="share that leaves")
ax.legend(loc="upper left")
plt.show()

# %%
# What matters
# ------------
# Importances are per column of the data frame: those of the levels of a category are
# summed.

FeatureImportancesDisplay.from_estimator(models["RFM"])
plt.show()
