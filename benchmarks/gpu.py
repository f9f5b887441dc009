"""RFM on one GPU: fits, kernels, EigenPro, predictions, completion, images; floors.

    python benchmarks/gpu.py [--rows 5000 10000 20000 50000 100000] [--cases fit ...]

A fit is five AGOP rounds and the last solve of 100 columns in float32 with the Laplace
kernel, as in ``speed.py``. Its floor is the arithmetic of the distances, the Cholesky
factors and the AGOP, at the rates of matrix products and of cuSOLVER's Cholesky that
are measured in the same run. Rates of L1 and Lpq kernels are shares of what the
instructions of the inner loop allow: two additions for p = 1, and two of the special
function units, which are eight times slower, for any other p but 1.5 and 2. An epoch of
EigenPro has the floor of its kernel's matrix products. A machine of few centres takes
its rows from the host in blocks. A fit to images has one round of patches, of 28 x 28
pixels and two convolutions. xRFM is measured on the same GPU
where ``torch`` and ``xrfm`` are installed, the CPU up to ``--cpu-rows``.

``--device cpu`` runs the script without a GPU, at sizes that are small enough.
"""

import importlib.util
from unittest.mock import patch

import numpy as np
from _experiment import Cost, Experiment, count_flag, least, timed
from _report import format_table, number
from speed import ROUNDS, fit_skrfm, fit_xrfm, make_data

KEY = ("part", "n", "d", "what")
FEATURES, SIZES = 100, (5000, 10_000, 20_000, 50_000, 100_000)
ORDERS = (1.0, 1.5, 1.3)
# instructions of the inner loop for an element, and how many a processor does a cycle
INSTRUCTIONS = {1.0: (2, 128), 1.3: (2, 16)}


class Hardware:
    """What computes: CuPy on a GPU, or NumPy."""

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

    def cost(self, function, repeats=3):
        """Return the least Cost of some calls, after one that is not counted."""

        def call():
            function()
            self._wait()

        costs = []
        for _ in range(repeats + 1):
            self._wait()
            costs.append(timed(call)[1])
        return least(costs[1:])

    def seconds(self, function, repeats=3):
        """Return the least seconds of some calls, after one that is not counted."""
        return self.cost(function, repeats).seconds

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


def measure_rates(hardware, n=8192):
    """Return the operations a second of products and of Cholesky factors."""
    xp, A = hardware.xp, hardware.random(n, n)
    product = 2 * n**3 / hardware.seconds(lambda: A @ A)
    B = A @ A.T / n + xp.eye(n, dtype=A.dtype)
    factor = n**3 / 3 / hardware.seconds(lambda: xp.linalg.cholesky(B))
    return {"product": product, "cholesky": factor}


def floor_of(n, d, rates):
    """Return the seconds of the arithmetic of a fit."""
    distances = (ROUNDS + 1) * 2 * n**2 * d / rates["product"]
    factors = (ROUNDS + 1) * n**3 / 3 / rates["cholesky"]
    gradients = ROUNDS * 2 * n**2 * (d + 1) / rates["product"]
    return distances + factors + gradients


class Notes:
    """Adds figures of one case at one size to the records."""

    def __init__(self, records, hardware, case, n, d):
        self.records, self.hardware = records, hardware
        self.key = {"part": case, "n": n, "d": d}

    def add(self, what, value, unit="", cpu_seconds=""):
        """Add one figure, in place of an earlier one."""
        figures = {"value": float(value), "unit": unit, "device": self.hardware.name}
        figures["cpu_seconds"] = cpu_seconds
        self.records.add(self.key | {"what": what}, figures)

    def add_cost(self, what, cost):
        """Add seconds, and CPU seconds beside them."""
        self.add(what, cost.seconds, "s", cost.cpu_seconds)


def measure_fits(args, hardware, records):
    """Add the costs of fits, and their ratios to the floor, the CPU and xRFM."""
    rates = measure_rates(hardware, args.rate_rows)
    notes = Notes(records, hardware, "rates", args.rate_rows, 0)
    for name, rate in rates.items():
        notes.add(name, rate / 1e12, "TFLOP/s")
    for n in args.rows:
        notes = Notes(records, hardware, "fit", n, args.features)
        measure_fit(args, hardware, notes, rates)


def measure_fit(args, hardware, notes, rates):
    """Add the costs of a fit of one size, and their ratios."""
    n, d = notes.key["n"], args.features
    X, Y = make_data(n, d, 1)
    case = {"n": n, "d": d, "c": 1, "kernel": "laplace"}
    case |= {"rounds": ROUNDS, "device": args.device}
    repeats = 2 if n <= 20_000 else 1
    ours = hardware.cost(lambda: fit_skrfm(case, X, Y), repeats)
    notes.add_cost("skrfm", ours)
    notes.add("over floor", ours.seconds / floor_of(n, d, rates))
    if n <= args.cpu_rows:
        _, cost = timed(fit_skrfm, case | {"device": "cpu"}, X, Y)
        notes.add("over CPU", ours.seconds / cost.seconds)
    if importlib.util.find_spec("xrfm"):
        theirs = xrfm_seconds(hardware, case, X, Y, repeats)
        notes.add("over xRFM", ours.seconds / theirs)


def xrfm_seconds(hardware, case, X, Y, repeats):
    """Return the seconds of xRFM's fit, NaN where it fails."""
    try:
        return hardware.seconds(lambda: fit_xrfm(case, X, Y), repeats)
    except Exception as error:
        print("xRFM:", type(error).__name__, str(error)[:200])
        return np.nan


def measure_kernels(args, hardware, records):
    """Add how many differences a second the L1 and Lpq distances take."""
    from skrfm.kernels import L1Laplace, LpqLaplace

    n, d, backend = args.kernel_rows, args.features, hardware.backend()
    notes = Notes(records, hardware, "kernel", n, d)
    T = hardware.random(n, d)
    for p in ORDERS:
        kernel = L1Laplace() if p == 1 else LpqLaplace(p)
        rate = (
            n**2 * d / hardware.seconds(lambda k=kernel: backend.distance_powers(k, T))
        )
        notes.add(f"p = {p}", rate / 1e12, "10¹²/s")
        if hardware.cycles and p in INSTRUCTIONS:
            count, width = INSTRUCTIONS[p]
            ceiling = hardware.cycles * width / count
            notes.add(f"p = {p}, of the ceiling", rate / ceiling)


def measure_epoch(args, hardware, records):
    """Add the costs of one epoch of EigenPro."""
    from skrfm.kernels import Laplace
    from skrfm.solvers import _eigenpro, solve

    n, d, backend = args.epoch_rows, args.features, hardware.backend()
    T, Y = hardware.random(n, d), hardware.random(n, 1)
    ridge = hardware.xp.full(n, 1e-3, dtype=T.dtype)
    gram = backend.streamed_gram(Laplace(), T, 10.0)

    def epochs(count):
        with patch.object(_eigenpro, "_EPOCHS", count):
            with patch.object(_eigenpro, "_TOLERANCE", 0.0):
                solve(gram, Y, ridge, backend, solver="eigenpro")

    one, two = (hardware.cost(lambda k=k: epochs(k), 1) for k in (1, 2))
    cost = Cost(*np.subtract(two, one).tolist())
    rates = measure_rates(hardware, args.rate_rows)
    notes = Notes(records, hardware, "epoch", n, d)
    notes.add_cost("EigenPro", cost)
    floor = 2 * n**2 * d / rates["product"]
    notes.add("over floor", cost.seconds / floor)


def measure_centers(args, hardware, records):
    """Add the costs of a machine of few centres, whose rows are copied in blocks."""
    from skrfm import RFMRegressor

    n, d, p = args.center_rows, args.features, args.centers
    X, Y = make_data(n, d, 1)
    notes = Notes(records, hardware, f"{p} centres", n, d)
    model = RFMRegressor(
        n_centers=p,
        kernel="laplace",
        alpha=0.1,
        validation=None,
        max_iter=1,
        device=args.device,
        random_state=0,
    )
    notes.add_cost("RFMRegressor", hardware.cost(lambda: model.fit(X, Y[:, 0]), 1))


def measure_predictions(args, hardware, records):
    """Add how many rows a second a model predicts."""
    n, d = args.kernel_rows, args.features
    X, Y = make_data(n, d, 1)
    case = {"kernel": "laplace", "rounds": 1, "device": args.device}
    predict = fit_skrfm(case, X, Y)
    Z = make_data(10 * n, d, 1)[0]
    rate = 10 * n / hardware.seconds(lambda: predict(Z))
    Notes(records, hardware, "predict", n, d).add("rows", rate, "/s")


def measure_completion(args, hardware, records):
    """Add the costs of a completion from 8 % of the entries, and over the CPU's."""
    from skrfm import LinRFMCompleter

    n, rank, rng = args.matrix_rows, 10, np.random.default_rng(0)
    L, R = rng.standard_normal((2, n, rank))
    flat = rng.choice(n * n, n * n * 8 // 100, replace=False)
    rows, cols = np.divmod(flat, n)
    values, costs = np.einsum("ek,ek->e", L[rows], R[cols]), {}
    for device in dict.fromkeys([args.device, "cpu"]):
        model = LinRFMCompleter(device=device, random_state=0)

        def fit(model=model):
            model.fit_entries(rows, cols, values, (n, n))

        costs[device] = hardware.cost(fit, 1)
    notes = Notes(records, hardware, "completion", n, rank)
    notes.add_cost("LinRFMCompleter", costs[args.device])
    notes.add("over CPU", costs[args.device].seconds / costs["cpu"].seconds)


def measure_images(args, hardware, records):
    """Add the costs of a fit to images and of its predictions, and over the CPU's."""
    from skrfm import ConvRFMRegressor

    n, side, rng = args.images, 28, np.random.default_rng(0)
    X = rng.standard_normal((n, side, side))
    y = np.maximum(X[:, 1:] - X[:, :-1], 0).sum(axis=(1, 2))
    notes, costs = Notes(records, hardware, "images", n, side**2), {}
    for device in dict.fromkeys([args.device, "cpu"]):
        model = ConvRFMRegressor(max_iter=1, device=device, random_state=0)
        fit = hardware.cost(lambda model=model: model.fit(X, y), 1)
        costs[device] = fit, hardware.cost(lambda model=model: model.predict(X), 1)
    pairs = zip(("fit", "predict"), costs[args.device], costs["cpu"], strict=True)
    for what, ours, cpu in pairs:
        notes.add_cost(what, ours)
        notes.add(f"{what} over CPU", ours.seconds / cpu.seconds)


CASES = {
    "fit": measure_fits,
    "kernel": measure_kernels,
    "epoch": measure_epoch,
    "centers": measure_centers,
    "predict": measure_predictions,
    "completion": measure_completion,
    "images": measure_images,
}


def run(args, records):
    """Measure the cases, also where their figures are there."""
    hardware = Hardware(args.device)
    print(f"{hardware.name}\n")
    for case in args.cases:
        CASES[case](args, hardware, records)


def report(rows, args):
    """Print all figures."""
    lines = [
        [*(row[name] for name in KEY), number(row, "value"), row["unit"]]
        + [number(row, "cpu_seconds"), row["device"]]
        for row in rows
    ]
    header = [*KEY, "value", "unit", "CPU s", "device"]
    print("\n" + format_table(header, lines))


EXPERIMENT = Experiment(
    doc=__doc__,
    key=KEY,
    figures=("value", "unit", "device", "cpu_seconds"),
    run=run,
    report=report,
    flags={"rows": SIZES, "device": "cuda"},
    choices={"cases": CASES},
    own_flags=[
        count_flag("features", FEATURES, "number of columns"),
        count_flag(
            "cpu-rows", 10_000, "fits of at most so many rows also run on the CPU"
        ),
        count_flag("kernel-rows", 20_000, "rows of the cases kernel and predict"),
        count_flag("epoch-rows", 1_000_000, "rows of the case epoch"),
        count_flag("center-rows", 1_000_000, "rows of the case centers"),
        count_flag("centers", 10_000, "centres of the case centers"),
        count_flag("matrix-rows", 5000, "rows and columns of the case completion"),
        count_flag("images", 1000, "images of the case images"),
        count_flag("rate-rows", 8192, "size of the matrices that measure rates"),
    ],
    out="gpu.csv",
    ignored=None,
)

if __name__ == "__main__":
    EXPERIMENT.main()
