"""Agreement of skrfm's predictions with xRFM's RFM class at equal settings.

Five rounds on Friedman #1 with noise, ridge 1e-3, no intercept, y centred before. The
relative difference of the predictions on 1000 test rows and the largest difference of
the metrics are printed per kernel and precision. Needs ``xrfm`` and ``torch``.

    python benchmarks/agreement.py
"""

import numpy as np
from _experiment import Experiment, timed
from _report import format_table, number
from sklearn.datasets import make_friedman1

from skrfm import RFMRegressor
from skrfm.kernels import LpqLaplace

ROUNDS, RIDGE, BANDWIDTH, N_TRAIN = 5, 1e-3, 3.0, 500
KERNELS = {
    "l2": ("laplace", {}),
    "l1": ("l1_laplace", {"diag": True}),
    "lpq": (LpqLaplace(p=1.5, q=1.0), {"diag": True, "norm_p": 1.5}),
}


def predict_xrfm(name, options, X, y, Z):
    """Fit xRFM's class on X, y; return predictions at Z and the metric."""
    import torch
    from xrfm.rfm_src import RFM

    model = RFM(
        kernel=name,
        bandwidth=BANDWIDTH,
        exponent=1.0,
        iters=ROUNDS,
        device="cpu",
        verbose=False,
        **options,
    )
    train = torch.from_numpy(X), torch.from_numpy(y[:, None])
    model.fit(
        train,
        tuple(part[:2] for part in train),
        reg=RIDGE,
        early_stop_rfm=False,
        return_best_params=False,
        verbose=False,
    )
    metric = model.M.numpy()
    metric = np.diag(metric) if metric.ndim == 1 else metric
    return model.predict(torch.from_numpy(Z)).numpy()[:, 0], metric


def predict_skrfm(kernel, X, y, Z):
    """Fit skrfm's regressor on X, y; return predictions at Z and the metric."""
    model = RFMRegressor(
        kernel=kernel,
        bandwidth=BANDWIDTH,
        alpha=RIDGE,
        max_iter=ROUNDS,
        validation=None,
        fit_intercept=False,
        scaling=None,
    ).fit(X, y)
    metric = model.metric_
    return model.predict(Z), np.diag(metric) if metric.ndim == 1 else metric


def measure(dtype, name):
    """Return the relative difference of predictions, and the largest of the metrics."""
    X, y = make_friedman1(1500, n_features=10, noise=0.5, random_state=0)
    X, y = X.astype(dtype), y.astype(dtype)
    y = y - y[:N_TRAIN].mean()
    train = X[:N_TRAIN], y[:N_TRAIN], X[N_TRAIN:]
    kernel, options = KERNELS[name]
    (theirs, their_metric), their_cost = timed(predict_xrfm, name, options, *train)
    (ours, metric), cost = timed(predict_skrfm, kernel, *train)
    difference = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
    return {
        "predictions": float(difference),
        "metric": float(np.abs(metric - their_metric).max()),
        **cost.figures(),
        **their_cost.figures("xrfm_"),
    }


def run(args, records):
    """Compare each kernel in both precisions."""
    for dtype in ("float32", "float64"):
        for name in KERNELS:
            records.once({"kernel": name, "dtype": dtype}, measure, dtype, name)


def report(rows, args):
    """Print the differences, and the costs of fit and prediction."""
    lines = [
        [
            f"{row['kernel']} {row['dtype']}",
            *(f"{float(row[name]):.1e}" for name in ("predictions", "metric")),
            *(number(row, cost) for cost in EXPERIMENT.figures[2:]),
        ]
        for row in rows
    ]
    header = ["kernel", "predictions", "metric", "s", "CPU s", "xRFM s", "xRFM CPU s"]
    print("\n" + format_table(header, lines))


COSTS = ("seconds", "cpu_seconds", "xrfm_seconds", "xrfm_cpu_seconds")
EXPERIMENT = Experiment(
    doc=__doc__,
    key=("kernel", "dtype"),
    figures=("predictions", "metric", *COSTS),
    run=run,
    report=report,
    ignored=None,
)

if __name__ == "__main__":
    EXPERIMENT.main()
