"""RFM on one GPU: fits, kernels, EigenPro, predictions and a completion, with floors.

    python benchmarks/gpu.py [--sizes 5000 10000 20000 50000 100000] [--parts fit ...]

A fit is five AGOP rounds and the last solve of 100 columns in float32 with the Laplace
kernel, as in ``speed.py``. Its floor is the arithmetic of the distances, the Cholesky
factors and the AGOP, at the rates of matrix products and of cuSOLVER's Cholesky that
are measured in the same run. Rates of L1 and Lpq kernels are shares of what the
instructions of the inner loop allow: two additions for p = 1, and two of the special
function units, which are eight times slower, for any other p but 1.5 and 2. An epoch of
EigenPro has the floor of its kernel's matrix products. xRFM is measured on the same GPU
where ``torch`` and ``xrfm`` are installed, the CPU up to ``--cpu-rows``.

``--device cpu`` runs the script without a GPU, at sizes that are small enough.
"""

import argparse
import importlib.util
from pathlib import Path
from time import perf_counter
from unittest.mock import patch

import numpy as np
from _records import Records, format_table
from speed import ROUNDS, fit_skrfm, fit_xrfm, make_data

FIELDS = ("part", "n", "d", "what", "value", "unit", "device")
KEY = ("part", "n", "d", "what")
FEATURES, SIZES = 100, (5000, 10_000, 20_000, 50_000, 100_000)
ORDERS = (1.0, 1.5, 1.3)
# instructions of the inner loop for an element, and how many a processor does a cycle
INSTRUCTIONS = {1.0: (2, 128), 1.3: (2, 16)}


class Machine:
    """Where the figures come from: CuPy on a GPU, or NumPy."""

    def __init__(self, device):
        self.device = device
        if device == "cuda":
            import cupy

            self.xp, self._cupy = cupy, cupy
            found = cupy.cuda.runtime.getDeviceProperties(0)
            self.name = found["name"].decode()
            self.cycles = found["multiProcessorCount"] * found["clockRate"] * 1e3
        else:
            self.xp, self.name, self.cycles = np, "CPU", None

    def seconds(self, function, repeats=3):
        """Return the least seconds of some calls, after one that is not counted."""
        times = []
        for _ in range(repeats + 1):
            self._wait()
            start = perf_counter()
            function()
            self._wait()
            times.append(perf_counter() - start)
        return min(times[1:])

    def _wait(self):
        if self.device == "cuda":
            self._cupy.cuda.Device().synchronize()

    def backend(self):
        """Return skrfm's backend."""
        from skrfm._tables._device import placement_of

        return placement_of(self.device, None).backend

    def random(self, *shape):
        """Return normal float32 numbers."""
        rng = np.random.default_rng(0)
        return self.xp.asarray(rng.standard_normal(shape, dtype=np.float32))


def measure_rates(machine, n=8192):
    """Return the operations a second of products and of Cholesky factors."""
    xp, A = machine.xp, machine.random(n, n)
    product = 2 * n**3 / machine.seconds(lambda: A @ A)
    B = A @ A.T / n + xp.eye(n, dtype=A.dtype)
    factor = n**3 / 3 / machine.seconds(lambda: xp.linalg.cholesky(B))
    return {"product": product, "cholesky": factor}


def floor_of(n, d, rates):
    """Return the seconds of the arithmetic of a fit."""
    distances = (ROUNDS + 1) * 2 * n**2 * d / rates["product"]
    factors = (ROUNDS + 1) * n**3 / 3 / rates["cholesky"]
    gradients = ROUNDS * 2 * n**2 * (d + 1) / rates["product"]
    return distances + factors + gradients


def measure_fits(args, machine, note):
    """Note the seconds of fits, floors, the CPU and xRFM."""
    rates = measure_rates(machine, args.rate_rows)
    for name, rate in rates.items():
        note("rates", args.rate_rows, 0, name, rate / 1e12, "TFLOP/s")
    for n in args.sizes:
        X, Y = make_data(n, args.features, 1)
        case = {"n": n, "d": args.features, "c": 1, "kernel": "laplace"}
        case |= {"rounds": ROUNDS, "device": args.device}
        where = "fit", n, args.features
        repeats = 2 if n <= 20_000 else 1
        ours = machine.seconds(lambda c=case, a=(X, Y): fit_skrfm(c, *a), repeats)
        note(*where, "skrfm", ours, "s")
        note(*where, "over floor", ours / floor_of(n, args.features, rates), "")
        if n <= args.cpu_rows:
            start = perf_counter()
            fit_skrfm(case | {"device": "cpu"}, X, Y)
            note(*where, "over CPU", ours / (perf_counter() - start), "")
        if importlib.util.find_spec("xrfm"):
            theirs = try_xrfm(machine, case, X, Y, repeats)
            note(*where, "over xRFM", ours / theirs, "")


def try_xrfm(machine, case, X, Y, repeats):
    """Return the seconds of xRFM's fit, NaN where it fails."""
    try:
        return machine.seconds(lambda: fit_xrfm(case, X, Y), repeats)
    except Exception as error:
        print("xRFM:", type(error).__name__, str(error)[:200])
        return np.nan


def measure_kernels(args, machine, note):
    """Note how many differences a second the L1 and Lpq distances take."""
    from skrfm.kernels import L1Laplace, LpqLaplace

    n, d, backend = args.rows, args.features, machine.backend()
    T = machine.random(n, d)
    for p in ORDERS:
        kernel = L1Laplace() if p == 1 else LpqLaplace(p)
        rate = (
            n**2 * d / machine.seconds(lambda k=kernel: backend.distance_powers(k, T))
        )
        note("kernel", n, d, f"p = {p}", rate / 1e12, "10¹²/s")
        if machine.cycles and p in INSTRUCTIONS:
            count, width = INSTRUCTIONS[p]
            ceiling = machine.cycles * width / count
            note("kernel", n, d, f"p = {p}, of the ceiling", rate / ceiling, "")


def measure_epoch(args, machine, note):
    """Note the seconds of one epoch of EigenPro."""
    from skrfm.kernels import Laplace
    from skrfm.solvers import _eigenpro, solve

    n, d, backend = args.epoch_rows, args.features, machine.backend()
    T, Y = machine.random(n, d), machine.random(n, 1)
    ridge = machine.xp.full(n, 1e-3, dtype=T.dtype)
    gram = backend.streamed_gram(Laplace(), T, 10.0)

    def epochs(count):
        with patch.object(_eigenpro, "_EPOCHS", count):
            with patch.object(_eigenpro, "_TOLERANCE", 0.0):
                solve(gram, Y, ridge, backend, solver="eigenpro")

    one = machine.seconds(lambda: epochs(1), 1)
    seconds = machine.seconds(lambda: epochs(2), 1) - one
    rates = measure_rates(machine, args.rate_rows)
    note("epoch", n, d, "EigenPro", seconds, "s")
    floor = 2 * n**2 * d / rates["product"]
    note("epoch", n, d, "over floor", seconds / floor, "")


def measure_predictions(args, machine, note):
    """Note how many rows a second a model predicts."""
    n, d = args.rows, args.features
    X, Y = make_data(n, d, 1)
    case = {"kernel": "laplace", "rounds": 1, "device": args.device}
    predict = fit_skrfm(case, X, Y)
    Z = make_data(10 * n, d, 1)[0]
    note("predict", n, d, "rows", 10 * n / machine.seconds(lambda: predict(Z)), "/s")


def measure_completion(args, machine, note):
    """Note the seconds of a completion from 8 % of the entries, and over the CPU's."""
    from skrfm import LinRFMCompleter

    n, rank, rng = args.matrix_rows, 10, np.random.default_rng(0)
    L, R = rng.standard_normal((2, n, rank))
    flat = rng.choice(n * n, n * n * 8 // 100, replace=False)
    rows, cols = np.divmod(flat, n)
    values, seconds = np.einsum("ek,ek->e", L[rows], R[cols]), {}
    for device in dict.fromkeys([args.device, "cpu"]):
        model = LinRFMCompleter(device=device, random_state=0)

        def fit(model=model):
            model.fit_entries(rows, cols, values, (n, n))

        seconds[device] = machine.seconds(fit, 1)
    note("completion", n, rank, "LinRFMCompleter", seconds[args.device], "s")
    ratio = seconds[args.device] / seconds["cpu"]
    note("completion", n, rank, "over CPU", ratio, "")


PARTS = {
    "fit": measure_fits,
    "kernel": measure_kernels,
    "epoch": measure_epoch,
    "predict": measure_predictions,
    "completion": measure_completion,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="*", type=int, default=SIZES)
    parser.add_argument("--features", type=int, default=FEATURES)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--cpu-rows", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=20_000, help="of kernel, predict")
    parser.add_argument("--epoch-rows", type=int, default=1_000_000)
    parser.add_argument("--matrix-rows", type=int, default=5000)
    parser.add_argument("--rate-rows", type=int, default=8192)
    results = Path(__file__).parent / "results" / "gpu.csv"
    parser.add_argument("--results", default=results, type=Path)
    args = parser.parse_args()
    machine, records = Machine(args.device), Records(args.results, FIELDS, KEY)

    def note(part, n, d, what, value, unit):
        print(part, n, d, what, f"{value:.4g}", unit, flush=True)
        row = {"part": part, "n": n, "d": d, "what": what, "value": value}
        records.add(**row, unit=unit, device=machine.name)

    for part in args.parts:
        PARTS[part](args, machine, note)
    lines = [[*(row[f] for f in KEY), float(row["value"])] for row in records.rows]
    print(f"\n{machine.name}\n")
    print(format_table([*KEY, "value"], lines))


if __name__ == "__main__":
    main()
