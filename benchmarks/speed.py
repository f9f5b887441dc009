"""Costs and memory of one fit, beside the floor of its algebra and beside xRFM.

A fit is five AGOP rounds and the last solve (``validation=None``) in float32 with a
bandwidth of 10 and a ridge of 1e-3, the Laplace kernel and a full metric unless the
case says otherwise. Each figure comes from a process of its own; the processes of
one case follow one another at once, so that their ratios hold on a noisy machine.
The floor is what the arithmetic costs at least: per round the distance GEMM, one
pass of exp and the Cholesky factor, and the GEMMs of the AGOP.

    python benchmarks/speed.py [--cases main outputs kernels] [--repeats 3]

xRFM's figures appear where the packages ``xrfm`` and ``torch`` are installed. With
``--baseline DIR``, skrfm is also measured in another checkout of it, whose figures
are the rows of the model ``baseline``: what a change costs, measured in one run.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from _experiment import (
    FIT_COSTS,
    Cost,
    Experiment,
    ProcessError,
    count_flag,
    flag,
    in_new_process,
    least,
    peak_memory,
    timed,
)
from _report import format_table, grouped, number
from scipy.linalg import lapack

ROUNDS, RIDGE, BANDWIDTH = 5, 1e-3, 10.0
# p = 1.5, the default, is computed faster than other orders: both are measured
ORDERS = {"lpq_laplace": 1.5, "lpq_1.3_laplace": 1.3}
CASES = {
    "main": [
        {"n": n, "d": d, "c": 1, "kernel": "laplace", "rounds": ROUNDS}
        for n in (1000, 2000, 5000, 10_000)
        for d in (20, 100, 500)
    ],
    "outputs": [{"n": 5000, "d": 100, "c": 10, "kernel": "laplace", "rounds": ROUNDS}],
    "kernels": [
        {"n": 5000, "d": 100, "c": 1, "kernel": kernel, "rounds": 1}
        for kernel in ("l1_laplace", "lpq_laplace", "lpq_1.3_laplace")
    ],
}
KEY = ("n", "d", "c", "kernel", "rounds", "model")
MODELS = ("floor", "skrfm", "xrfm", "baseline")


def make_data(n, d, c):
    """Rows with local and with linear structure, and centred targets."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), dtype=np.float32)
    directions = rng.standard_normal((d, c), dtype=np.float32) / np.sqrt(d)
    Y = np.sin(3 * X @ directions) + X[:, :1] * X[:, 1:2]
    Y = Y + 0.1 * rng.standard_normal((n, c), dtype=np.float32)
    return X, (Y - Y.mean(0)).astype(np.float32)


def fit_skrfm(case, X, Y):
    """Fit skrfm's regressor; return its predict."""
    from skrfm import RFMRegressor
    from skrfm.kernels import LpqLaplace

    order = ORDERS.get(case["kernel"])
    kernel = LpqLaplace(order, 1.0) if order else case["kernel"]
    model = RFMRegressor(
        kernel=kernel,
        bandwidth=BANDWIDTH,
        alpha=RIDGE,
        max_iter=case["rounds"],
        validation=None,
        fit_intercept=False,
        scaling=None,
        max_agop_samples=None,
        device=case.get("device", "cpu"),
    )
    return model.fit(X, Y).predict


def fit_xrfm(case, X, Y):
    """Fit xRFM's RFM class; return its predict."""
    import torch
    from xrfm.rfm_src import RFM

    order, device = ORDERS.get(case["kernel"]), case.get("device", "cpu")
    names = {"laplace": "l2", "l1_laplace": "l1"}
    shape = {"norm_p": order} if order else {}
    model = RFM(
        kernel=names.get(case["kernel"], "lpq"),
        bandwidth=BANDWIDTH,
        exponent=1.0,
        iters=case["rounds"],
        diag=case["kernel"] != "laplace",
        device=device,
        verbose=False,
        **shape,
    )
    X, Y = torch.from_numpy(X).to(device), torch.from_numpy(Y).to(device)
    model.fit(
        (X, Y),
        (X[:2], Y[:2]),
        reg=RIDGE,
        early_stop_rfm=False,
        return_best_params=False,
        verbose=False,
    )
    return lambda Z: model.predict(torch.from_numpy(Z).to(device)).cpu().numpy()


def floor_cost(case):
    """Return the Cost of the arithmetic that no exact fit can do without."""
    n, d, c = case["n"], case["d"], case["c"]
    X, Y = make_data(n, d, c)
    other, V = X.copy(), np.ascontiguousarray(np.tile(X, (1, c)))
    K = np.empty((n, n), dtype=np.float32)

    def gemm():
        np.matmul(X, other.T, out=K)

    def exp():
        np.exp(K, out=K)

    def cholesky():
        lapack.spotrf(K.T, lower=False, overwrite_a=True, clean=False)

    def agop():
        J = (K @ V).reshape(-1, d)
        return J.T @ J

    costs = {}
    for step in (gemm, exp, cholesky, agop):
        if step is exp:
            K[:] = -1
        if step is cholesky:
            np.matmul(X, other.T, out=K)
            K.flat[:: n + 1] += n
        costs[step] = np.array(timed(step)[1])
    once = costs[gemm] + costs[exp] + costs[cholesky]
    rounds = case["rounds"]
    return Cost(*((rounds + 1) * once + rounds * costs[agop]).tolist())


def measure_costs(model, case, repeats):
    """Return the least costs of one model in this process."""
    if model == "floor":
        return least(floor_cost(case) for _ in range(repeats)).figures("fit_")
    fit, X, Y = prepare(model, case)
    fits, predicts = [], []
    for _ in range(repeats):
        predict, cost = timed(fit, case, X, Y)
        fits.append(cost)
        predicts += predict_costs(predict, X)
    return {**least(fits).figures("fit_"), **least(predicts).figures("predict_")}


def measure_memory(model, case):
    """Return the memory of one fit in this process, in kernel matrices."""
    fit, X, Y = prepare(model, case)
    before = current_memory()
    fit(case, X, Y)
    return {"peak_n2_floats": (peak_memory() - before) / (4 * case["n"] ** 2)}


def prepare(model, case):
    """Return a model's fit and the data, after a first small fit."""
    fit = fit_xrfm if model == "xrfm" else fit_skrfm
    X, Y = make_data(case["n"], case["d"], case["c"])
    # compiles, and has enough rows for threads and their buffers
    fit(case, X[:900], Y[:900])(X[:900])
    return fit, X, Y


def predict_costs(predict, X):
    """Return the costs of each of some calls: of one, if it takes long."""
    costs = []
    while sum(cost.seconds for cost in costs) < 0.05:
        costs.append(timed(predict, X)[1])
    return costs


def current_memory():
    """Return the resident bytes of this process (Linux; elsewhere the peak)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return peak_memory()


def measure(model, case, args):
    """Return the figures of one model; costs and memory each from a new process."""
    package = {"PYTHONPATH": str(args.baseline)} if model == "baseline" else {}
    try:
        figures = in_new_process(
            measure_costs, model, case, args.repeats, environment=package
        )
        if model != "floor":
            # freed memory is returned at once, or a peak could hide in it
            environment = package | {"MALLOC_MMAP_THRESHOLD_": "65536"}
            figures |= in_new_process(
                measure_memory, model, case, environment=environment
            )
    except ProcessError as error:
        return {"error": str(error).splitlines()[-1]}
    return figures


def first_call():
    """Return the seconds of a small first fit with and without compiled code cached."""
    code = (
        "import time; from skrfm import RFMRegressor; import numpy as np;"
        "X = np.random.default_rng(0).standard_normal((50, 3));"
        "t = time.perf_counter();"
        "RFMRegressor(random_state=0).fit(X, X[:, 0]).predict(X);"
        "print(time.perf_counter() - t)"
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        command = [sys.executable, "-c", code]
        return [
            float(subprocess.check_output(command, env=environment)) for _ in range(2)
        ]


def run(args, records):
    """Measure each model on each case; processes of one case follow one another."""
    there = {"xrfm": importlib.util.find_spec("xrfm"), "baseline": args.baseline}
    models = [model for model in args.models if there.get(model, True)]
    for case in (case for group in args.cases for case in CASES[group]):
        if args.rows is None or case["n"] in args.rows:
            for model in models:
                key = case | {"model": model}
                records.once(key, measure, model, case, args)


def report(rows, args):
    """Print the figures and their ratios."""
    lines = []
    for case, group in grouped(rows, *KEY[:-1]).items():
        by_model = {row["model"]: row for row in group}
        if "skrfm" in by_model:
            lines.append([" ".join(case), *compare(by_model)])
    header = ["n d c kernel rounds", "fit s", "floor s", "xrfm s", "fit CPU s"]
    header += ["fit/floor", "CPU fit/floor", "fit/xrfm", "CPU fit/xrfm"]
    header += ["predict/xrfm", "peak n²", "xrfm peak n²"]
    header += ["CPU fit/baseline", "CPU predict/baseline"]
    print(format_table(header, lines))
    if not args.report:
        cold, warm = first_call()
        print(f"\nFirst fit and predict: {cold:.1f} s cold, {warm:.1f} s from cache")


def compare(by_model):
    """Return the costs of a case, their ratios and its memory."""

    def figure(model, name):
        return number(by_model.get(model, {}), name)

    def ratio(name, model):
        ours, theirs = figure("skrfm", name), figure(model, name)
        return ours / theirs if ours and theirs else None

    return [
        *(figure(model, "fit_seconds") for model in ("skrfm", "floor", "xrfm")),
        figure("skrfm", "fit_cpu_seconds"),
        ratio("fit_seconds", "floor"),
        ratio("fit_cpu_seconds", "floor"),
        ratio("fit_seconds", "xrfm"),
        ratio("fit_cpu_seconds", "xrfm"),
        ratio("predict_seconds", "xrfm"),
        figure("skrfm", "peak_n2_floats"),
        figure("xrfm", "peak_n2_floats"),
        ratio("fit_cpu_seconds", "baseline"),
        ratio("predict_cpu_seconds", "baseline"),
    ]


EXPERIMENT = Experiment(
    doc=__doc__,
    key=KEY,
    figures=(*FIT_COSTS, "peak_n2_floats", "error"),
    run=run,
    report=report,
    choices={"cases": CASES, "models": MODELS},
    own_flags=[
        flag("rows", nargs="+", help="only the cases of so many training rows"),
        count_flag("repeats", 3, "the least cost of so many"),
        flag("baseline", metavar="DIR", help="another checkout, to compare with"),
    ],
    out="speed.csv",
    ignored=None,
)

if __name__ == "__main__":
    EXPERIMENT.main()
