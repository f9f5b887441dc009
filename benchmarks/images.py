"""Convolutional RFMs beside the kernel of their round 0, and RFMs on pixels.

    python benchmarks/images.py [--data DIR] [--seeds 3]

The kernel of round 0 is that of CNTK; its ridge is chosen as that of the rounds, by
leave-one-out, so that both differ in the metric of the patches only. "pooled" averages
the last layer before the readout, over windows of 3 x 3 pixels or, for digits at random
places, over the image (with one layer and two rounds, as all pairs of pixels take
minutes, and 100 images in the average of the metric); "pooled_cntk" is its round 0.
"samples_200" averages the metric over 200 images in place of 50. Scores are the
accuracy on images that were not fitted. The cases:

    digits        scikit-learn's digits of 8 x 8 pixels
    digits_drawn  the same, trained on the first rows of a permutation and not on as
                  many of each class
    usps          digits of 16 x 16 pixels
    usps_noise    the same, with normal noise of standard deviation 0.7
    scattered_25  digits of 8 x 8 pixels at random places of noise of 14 x 14 pixels,
    scattered_50  of standard deviation 0.25 and 0.50, to which they are added
    overlaid_25   the same, with the digits laid over the noise: of both values a pixel
    overlaid_50   has the larger one. These four cases have kernels of depth 5, not 2,
                  and up to 6 rounds, not 3: the wider the surroundings of a pixel, the
                  less matters where a digit is, as was seen on seeds 0 to 2. "shallow"
                  has the depth and the rounds of the other cases
    deep          usps_noise, with layers of random filters
    edges         eigenvectors of M on usps: the largest squared overlaps with a mean,
                  first and second derivatives; "cov" are those of the patches

Without --data the digits of scikit-learn take the place of USPS.
"""

from pathlib import Path

import numpy as np
from _experiment import COSTS, Experiment, timed
from _report import format_table, grouped, print_costs
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skrfm import ConvRFMClassifier, RFMClassifier
from skrfm.conv_rfm._layers import filtered
from skrfm.kernels._patch_kernel import PatchKernel

FRAME = 14
N_FILTERS = 32
# outer products of so many images are averaged in the second layer, whose patches are
# large
DEEP_SAMPLES = 100
AT_RANDOM_PLACES = {"patch_size": 5, "depth": 5, "max_iter": 6}
CASES = {
    "digits": {"rows": 800, "patch_size": 3},
    "digits_drawn": {"rows": 800, "patch_size": 3},
    "usps": {"rows": 600, "patch_size": 5},
    "usps_noise": {"rows": 600, "patch_size": 5},
    "scattered_25": {"rows": 800, **AT_RANDOM_PLACES},
    "scattered_50": {"rows": 800, **AT_RANDOM_PLACES},
    "overlaid_25": {"rows": 800, **AT_RANDOM_PLACES},
    "overlaid_50": {"rows": 800, **AT_RANDOM_PLACES},
    "deep": {"rows": 600, "patch_size": 3},
    "edges": {"rows": 600, "patch_size": 5},
}
POOLED = {
    case: {"pool_size": 3} for case in ("digits", "digits_drawn", "usps", "usps_noise")
}
POOLED |= {
    case: {"pool_size": "global", "depth": 1, "max_iter": 2, "max_agop_samples": 100}
    for case in CASES
    if case.startswith(("scattered", "overlaid"))
}
DEFAULT_MODELS = ("cntk", "conv_rfm", "rfm", "pooled_cntk", "pooled")
MODELS = {
    case: (*DEFAULT_MODELS, "shallow" if "depth" in CASES[case] else "samples_200")
    for case in POOLED
} | {
    "edges": ("M", "cov"),
    "deep": ("cntk", "conv_rfm", "deep", "deep_random"),
}
MAX_TEST = {"deep": 600}
OVERLAPS = ("mean", "first_1", "first_2", "mixed", "second")


# -- images ---------------------------------------------------------------------------


def small_digits():
    """Return digits (n, 8, 8) with values up to 1, and their classes."""
    X, y = load_digits(return_X_y=True)
    return X.reshape(-1, 8, 8) / 16, y


def usps(data):
    """Return training and test images with their classes, or all images twice."""
    if data is None:
        return (*small_digits(), None)
    with np.load(Path(data) / "transfer_images" / "usps.npz") as file:
        return file["X"] / 255, file["y"], file["is_test"]


def scattered(noise, rng, combine):
    """Return digits at random places of frames of noise, and their classes.

    `combine` is the ufunc that gives a pixel from its noise and the digit's value.
    """
    digits, y = small_digits()
    images = noise * rng.normal(size=(len(y), FRAME, FRAME))
    for image, digit in zip(images, digits, strict=True):
        row, column = rng.integers(FRAME - 8 + 1, size=2)
        part = image[row : row + 8, column : column + 8]
        combine(part, digit, out=part)
    return images, y


def split(case, seed, data):
    """Return training and test images with their classes."""
    rng, rows = np.random.default_rng(seed), CASES[case]["rows"]
    is_test = None
    if case.startswith("digits"):
        X, y = small_digits()
    elif case.startswith(("scattered", "overlaid")):
        combine = np.add if case.startswith("scattered") else np.maximum
        X, y = scattered(int(case[-2:]) / 100, rng, combine)
    else:
        X, y, is_test = usps(data)
        if case in ("usps_noise", "deep"):
            X = X + 0.7 * rng.normal(size=X.shape)
    if is_test is not None:
        train = rng.permutation(np.flatnonzero(~is_test))[:rows]
        test = rng.permutation(np.flatnonzero(is_test))
    elif case == "digits_drawn":
        train, test = np.split(rng.permutation(len(X)), [rows])
    else:
        train, test = train_test_split(
            np.arange(len(X)), train_size=rows, random_state=seed, stratify=y
        )
    test = test[: MAX_TEST.get(case, 1000)]
    return X[train], y[train], X[test], y[test]


# -- models ---------------------------------------------------------------------------


def with_random_filters(X_train, X_test, seed):
    """Return the images after filters that are drawn without a metric."""
    kernel = PatchKernel(depth=1, size=CASES["deep"]["patch_size"], padding="same")
    filters = np.random.default_rng(seed).normal(size=(N_FILTERS, kernel.size**2))
    return [filtered(X[..., None], filters, kernel) for X in (X_train, X_test)]


def measure(case, model, seed, data):
    """Return the figures of one model on one split of a case."""
    X_train, y_train, X_test, y_test = split(case, seed, data)
    if case == "edges":
        return edge_overlaps(X_train, y_train, model)
    options = CASES[case] | {"random_state": seed}
    del options["rows"]
    if model == "rfm":
        X_train, X_test = (X.reshape(len(X), -1) for X in (X_train, X_test))
        estimator = RFMClassifier(random_state=seed)
    elif model == "cntk":
        estimator = ConvRFMClassifier(**options | {"max_iter": 0})
    elif model == "shallow":
        estimator = ConvRFMClassifier(**options | {"depth": 2, "max_iter": 3})
    elif model == "samples_200":
        estimator = ConvRFMClassifier(**options | {"max_agop_samples": 200})
    elif model == "pooled":
        estimator = ConvRFMClassifier(**options | POOLED[case])
    elif model == "pooled_cntk":
        estimator = ConvRFMClassifier(**options | POOLED[case] | {"max_iter": 0})
    elif model == "deep":
        estimator = ConvRFMClassifier(
            n_layers=2, n_filters=N_FILTERS, max_agop_samples=DEEP_SAMPLES, **options
        )
    else:
        if model == "deep_random":
            X_train, X_test = with_random_filters(X_train, X_test, seed)
            options["max_agop_samples"] = DEEP_SAMPLES
        estimator = ConvRFMClassifier(**options)
    _, cost = timed(estimator.fit, X_train, y_train)
    figures = {"score": estimator.score(X_test, y_test), **cost.figures()}
    if model != "rfm":
        figures |= {
            "layer": estimator.best_layer_,
            "iter": estimator.best_iter_,
            "alpha": f"{estimator.alpha_:.1e}",
            "loo": float(estimator.history_["score"].max()),
        }
    return figures


# -- edge detectors -------------------------------------------------------------------


def detectors(size):
    """Return unit vectors of a mean, first, mixed and second derivatives.

    The derivatives are those of a normal density with a standard deviation of 2 pixels.
    """
    half = size // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
    window = np.exp(-(x**2 + y**2) / 8)

    def unit(values):
        values = (window * values).ravel()
        return values / np.linalg.norm(values)

    mean = unit(np.ones_like(x))
    seconds = np.array([unit(z**2 - z.mean()) for z in (x, y)])
    seconds -= np.outer(seconds @ mean, mean)
    return {
        "mean": mean[None],
        "first": np.array([unit(x), unit(y)]),
        "mixed": unit(x * y)[None],
        "second": np.linalg.qr(seconds.T)[0].T,
    }


def edge_overlaps(X, y, model):
    """Return the largest squared overlaps of eigenvectors with edge detectors."""
    size = CASES["edges"]["patch_size"]
    options = {"max_iter": 0, "patch_size": size, "random_state": 0}
    if model == "M":
        estimator, cost = timed(ConvRFMClassifier(**options).fit, X, y)
        filters = estimator.filters_.reshape(size**2, -1)
    else:
        kernel = PatchKernel(depth=1, size=size, padding="same")
        patches = kernel.patches(X[..., None]).reshape(-1, size**2)
        found, cost = timed(np.linalg.eigh, patches.T @ patches)
        filters = found[1].T[::-1]
    overlaps = {
        name: np.sort(((filters @ span.T) ** 2).sum(axis=1))[::-1]
        for name, span in detectors(size).items()
    }
    return {
        "mean": float(overlaps["mean"][0]),
        "first_1": float(overlaps["first"][0]),
        "first_2": float(overlaps["first"][1]),
        "mixed": float(overlaps["mixed"][0]),
        "second": float(overlaps["second"][0]),
        **cost.figures(),
    }


def run(args, records):
    """Measure each model in each case, one seed after the other."""
    for seed in range(args.seeds):
        for case in args.cases:
            for model in MODELS[case]:
                key = {"case": case, "model": model, "seed": seed}
                key["data"] = "bundled" if args.data is None else "open"
                records.once(key, measure, case, model, seed, args.data)


def standard_error(values):
    """Return the standard error of the mean over the seeds, None of a single one."""
    if len(values) < 2:
        return None
    return float(np.std(values, ddof=1) / len(values) ** 0.5)


def gain_over_cntk(rows, case, group):
    """Return the mean gain over the kernel of round 0 on the same seeds, and its error.

    For the kernel itself they are None.
    """
    kernel = {
        row["seed"]: float(row["score"])
        for row in rows
        if row["case"] == case and row["model"] == "cntk"
    }
    gains = [
        float(row["score"]) - kernel[row["seed"]]
        for row in group
        if row["model"] != "cntk" and row["seed"] in kernel
    ]
    return (float(np.mean(gains)), standard_error(gains)) if gains else (None, None)


def report(rows, args):
    """Print the accuracies of each case, the overlaps, and costs."""
    table, overlaps = [], []
    for (case, model), group in grouped(rows, "case", "model").items():
        if case == "edges":
            means = [np.mean([float(row[name]) for row in group]) for name in OVERLAPS]
            overlaps.append([model, len(group), *means])
            continue
        scores = np.array([float(row["score"]) for row in group])
        rounds = " ".join(str(row["iter"]) for row in group)
        layers = " ".join(str(row["layer"]) for row in group)
        table.append(
            [case, model, len(group), scores.mean(), standard_error(scores)]
            + [scores.min(), scores.max(), *gain_over_cntk(rows, case, group)]
            + [layers, rounds]
        )
    heads = ["case", "model", "seeds", "accuracy", "error", "least", "largest"]
    heads += ["over cntk", "error"]
    print(format_table([*heads, "layer", "round"], table))
    print("\nlargest squared overlaps of eigenvectors with edge detectors")
    print(format_table(["of", "seeds", *OVERLAPS], overlaps))
    print_costs(rows, "model")


EXPERIMENT = Experiment(
    doc=__doc__,
    key=("case", "model", "seed", "data"),
    figures=("score", "layer", "iter", "alpha", "loo", *OVERLAPS, *COSTS),
    run=run,
    report=report,
    flags={"data": None, "cases": list(CASES), "seeds": 3},
    out="images.csv",
)

if __name__ == "__main__":
    EXPERIMENT.main()
