"""Seconds and memory of one fit, beside the floor of its algebra and beside xRFM.

A fit is five AGOP rounds and the last solve (``validation=None``) in float32 with a
bandwidth of 10 and a ridge of 1e-3, the Laplace kernel and a full metric unless the
case says otherwise. Each figure comes from a process of its own; the processes of
one case follow one another at once, so that their ratios hold on a noisy machine.
The floor is what the arithmetic costs at least: per round the distance GEMM, one
pass of exp and the Cholesky factor, and the GEMMs of the AGOP.

    python benchmarks/speed.py [--cases main outputs kernels] [--repeats 3]

xRFM's figures appear where the packages ``xrfm`` and ``torch`` are installed.
Figures already in the CSV file are not run again.
"""

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
from _records import Records, format_table
from scipy.linalg import lapack

ROUNDS, RIDGE, BANDWIDTH = 5, 1e-3, 10.0
# p = 1.5, the default, has a faster way than other orders: both are measured
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
FIELDS = (*KEY, "fit_seconds", "predict_seconds", "peak_n2_floats", "error")
MODELS = ("floor", "skrfm", "xrfm")


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


def time_floor(case):
    """Return the seconds of the arithmetic that no exact fit can do without."""
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

    seconds = {}
    for step in (gemm, exp, cholesky, agop):
        if step is exp:
            K[:] = -1
        if step is cholesky:
            np.matmul(X, other.T, out=K)
            K.flat[:: n + 1] += n
        start = perf_counter()
        step()
        seconds[step.__name__] = perf_counter() - start
    once = seconds["gemm"] + seconds["exp"] + seconds["cholesky"]
    return (case["rounds"] + 1) * once + case["rounds"] * seconds["agop"]


def work(model, case, repeats):
    """Measure the seconds of one model in this process; return the figures."""
    if model == "floor":
        return {"fit_seconds": min(time_floor(case) for _ in range(repeats))}
    fit, X, Y = prepare(model, case)
    fits, predicts = [], []
    for _ in range(repeats):
        start = perf_counter()
        predict = fit(case, X, Y)
        fits.append(perf_counter() - start)
        predicts += time_predict(predict, X)
    return {"fit_seconds": min(fits), "predict_seconds": min(predicts)}


def work_memory(model, case):
    """Measure the memory of one fit in this process; return the figure."""
    fit, X, Y = prepare(model, case)
    before = current_memory()
    fit(case, X, Y)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"peak_n2_floats": (peak - before) / (4 * case["n"] ** 2)}


def prepare(model, case):
    """Return a model's fit and the data, once all that a process does once is done."""
    fit = {"skrfm": fit_skrfm, "xrfm": fit_xrfm}[model]
    X, Y = make_data(case["n"], case["d"], case["c"])
    # enough rows for threads and their buffers
    fit(case, X[:900], Y[:900])(X[:900])
    return fit, X, Y


def time_predict(predict, X):
    """Return the seconds of each of some calls: of one, if it takes long."""
    seconds = []
    while sum(seconds) < 0.05:
        start = perf_counter()
        predict(X)
        seconds.append(perf_counter() - start)
    return seconds


def current_memory():
    """Return the resident bytes of this process (Linux; elsewhere the peak)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(model, case, repeats):
    """Measure one model, its seconds and its memory each in a new process."""
    figures = run_worker("work", model, case, repeats)
    if model != "floor" and "error" not in figures:
        # memory that is freed goes back at once, or a peak could hide in it
        give_back = {"MALLOC_MMAP_THRESHOLD_": "65536"}
        figures |= run_worker("work_memory", model, case, **give_back)
    return figures


def run_worker(name, *arguments, **variables):
    """Call a function of this script in a new process; return its figures."""
    done = subprocess.run(
        [sys.executable, __file__, "--worker", json.dumps([name, *arguments])],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
    )
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


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


def report(rows):
    """Print the figures and their ratios."""
    by_case = {}
    for row in rows:
        by_case.setdefault(tuple(row[k] for k in KEY[:-1]), {})[row["model"]] = row
    lines = []
    for case, models in by_case.items():
        ours = models.get("skrfm")
        if ours is None:
            continue

        def figure(model, name, models=models):
            value = models.get(model, {}).get(name, "")
            return float(value) if value else None

        def ratio(name, model, figure=figure):
            a, b = figure("skrfm", name), figure(model, name)
            return a / b if a and b else None

        lines.append(
            [
                " ".join(case),
                figure("skrfm", "fit_seconds"),
                figure("floor", "fit_seconds"),
                figure("xrfm", "fit_seconds"),
                ratio("fit_seconds", "floor"),
                ratio("fit_seconds", "xrfm"),
                ratio("predict_seconds", "xrfm"),
                figure("skrfm", "peak_n2_floats"),
                figure("xrfm", "peak_n2_floats"),
            ]
        )
    header = ["n d c kernel rounds", "fit s", "floor s", "xrfm s", "fit/floor"]
    header += ["fit/xrfm", "predict/xrfm", "peak n²", "xrfm peak n²"]
    print(format_table(header, lines))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--sizes", nargs="+", type=int, help="only these n")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--out", default=Path(__file__).with_name("results") / "speed.csv"
    )
    parser.add_argument("--report", action="store_true", help="print only")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        name, *arguments = json.loads(args.worker)
        workers = {"work": work, "work_memory": work_memory}
        print(json.dumps(workers[name](*arguments)))
        return
    records = Records(args.out, FIELDS, KEY)
    models = [m for m in MODELS if m != "xrfm" or importlib.util.find_spec("xrfm")]
    cases = [case for group in args.cases for case in CASES[group]]
    if args.report:
        cases = []
    for case in cases:
        if args.sizes and case["n"] not in args.sizes:
            continue
        for model in models:
            if not records.has(*(case[k] for k in KEY[:-1]), model):
                figures = measure(model, case, args.repeats)
                records.add(**case, model=model, **figures)
                print(model, case, figures, flush=True)
    report(records.rows)
    if not args.report:
        cold, warm = first_call()
        print(f"\nFirst fit and predict: {cold:.1f} s cold, {warm:.1f} s from cache")


if __name__ == "__main__":
    main()
