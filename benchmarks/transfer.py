"""TransferKernel at its defaults beside no transfer and beside the source alone.

    python benchmarks/transfer.py [--data DIR] [--cases labels domain corrupted shuffled
                                   screens signatures] [--seeds 20] [--report]

``labels`` goes from the digits 0 to 4 to the digits 5 to 9, ``domain`` from USPS to
MNIST (``DIR/transfer_images``), ``corrupted`` from clean digits to noisy, blurred and
faint ones, ``shuffled`` from digits with shuffled labels to digits. ``screens``
predicts the response of cell line and drug in one screen by a model of another, of
other cell lines (``DIR/transfer_drug``), from a number of cell lines for each drug. The
source of ``signatures`` predicts expression signatures from fingerprints
(``DIR/cmap``), and its target predicts responses to new drugs. All figures are of rows
that were not fitted. The report has paired differences.
"""

from collections import Counter
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _experiment import Experiment, timed
from _report import format_table, grouped, mean_of
from scipy.ndimage import gaussian_filter
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

from skrfm import RFMClassifier, RFMRegressor, TransferKernel
from skrfm.inspection import ScalingLaw

KEY = ("case", "variant", "size", "seed", "model")
SIZES = (10, 25, 50, 100, 400, 1000)
CELLS = (5, 10, 20, 50)
LEVELS = {
    "noise": (0.1, 0.2, 0.3),
    "blur": (0.5, 0.8, 1.0),
    "contrast": (0.6, 0.4, 0.25),
}
MOST_TEST_ROWS = 2000
TEST_CELLS = 40
SOURCE_ROWS = 6000


class Draw(NamedTuple):
    """Rows and targets to fit, and to test."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


# -- tasks of images ------------------------------------------------------------------


def digits():
    """Return the digits of scikit-learn, from 0 to 1."""
    X, y = load_digits(return_X_y=True)
    return X / 16.0, y


def labels(records, data, seeds):
    """Disjoint labels."""
    X, y = digits()
    source = RFMClassifier(scaling=None, random_state=0).fit(X[y < 5], y[y < 5])
    new = y >= 5
    options = {"source": source, "sizes": SIZES[:-1], "seeds": seeds}
    learn_classes(records, "labels", "5-9", X=X[new], y=y[new], **options)


def domain(records, data, seeds):
    """Another collection of the same digits."""
    with np.load(Path(data) / "transfer_images" / "usps.npz") as file:
        X, y = file["X"].reshape(-1, 256) / 255.0, file["y"]
        rows = np.random.default_rng(0).choice(7291, 2500, replace=False)
    source = RFMClassifier(kernel="laplace", scaling=None, random_state=0).fit(
        X[rows], y[rows]
    )
    with np.load(Path(data) / "transfer_images" / "mnist_10k.npz") as file:
        X, y = smaller(file["X"][:, 4:24, 4:24] / 255.0), file["y"]
    options = {"source": source, "sizes": SIZES, "seeds": seeds}
    learn_classes(records, "domain", "MNIST", X=X, y=y, **options)


def smaller(images):
    """Return images of 20 × 20 as 16 × 16 rows, each pixel the mean of its area."""
    edges = np.arange(17) * 1.25
    low, high = np.arange(20), np.arange(20) + 1
    shares = np.minimum(edges[1:, None], high) - np.maximum(edges[:-1, None], low)
    shares = np.clip(shares, 0, None) / 1.25
    return (shares @ images @ shares.T).reshape(len(images), -1)


def halves(seed=0):
    """Return digits for a source, and the others."""
    X, y = digits()
    order = np.random.default_rng(seed).permutation(len(y))
    return X[order[:1000]], y[order[:1000]], X[order[1000:]], y[order[1000:]]


def corrupted(records, data, seeds):
    """The same labels, other images."""
    X, y, X_new, y_new = halves()
    source = RFMClassifier(scaling=None, random_state=0).fit(X, y)
    for kind, levels in LEVELS.items():
        for level in levels:
            learn_classes(
                records,
                "corrupted",
                f"{kind} {level}",
                source=source,
                X=corrupt(X_new, kind, level),
                y=y_new,
                sizes=SIZES[:4],
                seeds=seeds,
            )


def corrupt(X, kind, level):
    """Return noisy, blurred or faint digits."""
    images = X.reshape(-1, 8, 8)
    if kind == "noise":
        images = images + level * np.random.default_rng(1).normal(size=images.shape)
    elif kind == "blur":
        images = gaussian_filter(images, (0, level, level))
    else:
        images = 0.5 + level * (images - 0.5)
    return images.reshape(len(X), -1)


def shuffled(records, data, seeds):
    """A source fitted to shuffled labels: nothing to transfer."""
    X, y, X_new, y_new = halves()
    wrong = np.random.default_rng(2).permutation(y)
    source = RFMClassifier(scaling=None, random_state=0).fit(X, wrong)
    options = {"source": source, "sizes": SIZES[:5], "seeds": seeds}
    learn_classes(records, "shuffled", "digits", X=X_new, y=y_new, **options)


def learn_classes(records, case, variant, *, source, X, y, sizes, seeds):
    """Fit with and without transfer to draws of rows that hold every class."""
    for size, seed in product(sizes, range(seeds)):
        rng = np.random.default_rng([size, seed])
        order = rng.permutation(len(y))
        _, first = np.unique(y[order], return_index=True)
        others = np.setdiff1d(np.arange(len(y)), first)
        order = np.concatenate([order[first], order[others]])
        train, test = order[:size], order[size:][:MOST_TEST_ROWS]
        draw = Draw(X[train], y[train], X[test], y[test])
        compare(records, (case, variant, size, seed), source, draw)


# -- tasks of drugs -------------------------------------------------------------------


def screens(records, data, seeds):
    """One screen from another, of other cell lines."""
    table = Screens(data)
    order = np.random.default_rng(0).permutation(len(table.cells))
    source_cells, target_cells = order[:135], order[135:]
    for first, second in (("prism", "ctrp"), ("ctrp", "gdsc")):
        X, y, _ = table.pairs(first, source_cells)
        rows = np.random.default_rng(1).permutation(len(y))[:SOURCE_ROWS]
        source = RFMRegressor(kernel="laplace", scaling=None, random_state=0).fit(
            X[rows], y[rows]
        )
        for size, seed in product(CELLS, range(seeds)):
            rng = np.random.default_rng([size, seed])
            cells = rng.permutation(target_cells)
            X, y, drug = table.pairs(second, cells[TEST_CELLS:])
            X_test, y_test, _ = table.pairs(second, cells[:TEST_CELLS])
            train = some_of_each(drug, size, rng)
            draw = Draw(X[train], y[train], X_test, y_test)
            target = RFMRegressor(kernel="laplace", scaling=None)
            key = "screens", f"{second} from {first}", size, seed
            compare(records, key, source, draw, target=target)


def signatures(records, data, seeds):
    """Responses to new drugs, from what drugs do to expression."""
    table = Screens(data)
    with np.load(Path(data) / "cmap" / "l1000_drugbank_1170x978.npz") as file:
        profiles = PCA(30, random_state=0).fit_transform(file["Y"].astype(float))
        prints = table.drugs_of(file["row_features"].astype(float))
    d = table.cells.shape[1]
    blank = np.hstack([np.zeros((len(prints), d)), prints])
    columns = list(range(d, blank.shape[1]))
    source = make_pipeline(
        ColumnTransformer([("drug", "passthrough", columns)]),
        RFMRegressor(kernel="laplace", scaling=None, random_state=0),
    ).fit(blank, profiles)
    for size, seed in product((20, 40, 60), range(seeds)):
        rng = np.random.default_rng([size, seed])
        X, y, drug = table.pairs("prism", np.arange(len(table.cells)))
        drugs, cells = rng.permutation(84), rng.permutation(len(y))
        train = cells[np.isin(drug[cells], drugs[:size])][:MOST_TEST_ROWS]
        test = cells[np.isin(drug[cells], drugs[60:])][:MOST_TEST_ROWS]
        draw = Draw(X[train], y[train], X[test], y[test])
        target = RFMRegressor(kernel="laplace", scaling=None)
        key = "signatures", "new drugs", size, seed
        compare(records, key, source, draw, target=target, groups=drug[train])


class Screens:
    """Three screens of the same cell lines and drugs, and features of both."""

    def __init__(self, data):
        path = Path(data) / "transfer_drug" / "prism_ctrp_gdsc_318x84.npz"
        with np.load(path) as file:
            expression = file["row_expression"].astype(float)
            known = np.isfinite(expression).all(axis=1)
            expression = expression[known]
            names = ("prism", "ctrp", "gdsc")
            self.auc = {name: file[f"{name}_auc"][known] for name in names}
            prints = file["col_features"].astype(float)
        scaled = (expression - expression.mean(axis=0)) / expression.std(axis=0)
        self.cells = PCA(20, random_state=0).fit_transform(scaled)
        self.cells /= self.cells[:, 0].std()
        self._pca = PCA(30, random_state=0).fit(prints)
        self._length = self._pca.transform(prints)[:, 0].std()
        self.drugs = self.drugs_of(prints)

    def drugs_of(self, prints):
        """Return features of drugs."""
        return self._pca.transform(prints) / self._length

    def pairs(self, screen, cells):
        """Return features, responses, and drugs of measured pairs."""
        auc = self.auc[screen][cells].astype(float)
        cell, drug = np.nonzero(np.isfinite(auc))
        X = np.hstack([self.cells[cells[cell]], self.drugs[drug]])
        return X, auc[cell, drug], drug


def some_of_each(labels, count, rng):
    """Return the indices of at most so many rows of each label."""
    order = rng.permutation(len(labels))
    kept = [order[labels[order] == label][:count] for label in np.unique(labels)]
    return rng.permutation(np.concatenate(kept))


# -- figures --------------------------------------------------------------------------


def compare(records, key, source, draw, *, target=None, groups=None):
    """Add the scores of no transfer, of the choice, and of the source alone.

    `groups` are labels of rows that folds leave out together.
    """
    key = dict(zip(KEY[:-1], key, strict=True))
    seed = key["seed"]
    folds = 5 if groups is None else group_folds(groups, seed)
    if target is not None:
        target.set_params(random_state=seed, cv=folds)
    for method in ("none", "auto"):
        transfer = TransferKernel(
            source, target, method=method, cv=folds, random_state=seed
        )
        records.once(key | {"model": method}, measure, transfer, draw)
    n_classes = len(np.unique(draw.y)), len(getattr(source, "classes_", []))
    if n_classes == (10, 10) or key["case"] == "screens":
        records.once(key | {"model": "source"}, measure_source, source, draw)


def group_folds(groups, seed):
    """Return five folds of rows that leave out whole groups."""
    rng = np.random.default_rng(seed)
    numbers = rng.permutation(groups.max() + 1)[groups] % 5
    rows = np.arange(len(groups))
    tests = [np.flatnonzero(numbers == k) for k in range(5)]
    return [(np.setdiff1d(rows, test), test) for test in tests if len(test)]


def measure(transfer, draw):
    """Return the scores of a TransferKernel, the method it chose, and the costs."""
    _, cost = timed(transfer.fit, draw.X, draw.y)
    figures = scores(transfer.predict(draw.X_test), draw.y_test)
    return {**figures, "method": transfer.method_, **cost.figures()}


def measure_source(source, draw):
    """Return the scores of the source alone."""
    return scores(source.predict(draw.X_test), draw.y_test)


def scores(predicted, y):
    """Return accuracy of classes, else R² and Pearson's correlation."""
    if y.dtype.kind in "iu":
        return {"score": float(np.mean(predicted == y))}
    r2 = 1 - np.mean((y - predicted) ** 2) / np.var(y)
    return {"score": float(r2), "pearson": float(np.corrcoef(y, predicted)[0, 1])}


def table_of(rows, name):
    """Return {(case, variant, size): {model: {seed: figure}}}."""
    table = {}
    for row in rows:
        if row[name]:
            cell = table.setdefault((row["case"], row["variant"], int(row["size"])), {})
            cell.setdefault(row["model"], {})[row["seed"]] = float(row[name])
    return table


def difference(one, other):
    """Return the mean of paired differences, its standard error, and all of them."""
    seeds = sorted(set(one) & set(other))
    paired = np.array([one[seed] - other[seed] for seed in seeds])
    error = paired.std(ddof=1) / np.sqrt(len(paired)) if len(paired) > 1 else np.nan
    return float(paired.mean()), float(error), paired


def report(rows, args):
    """Print mean scores and paired differences."""
    for name, title in (("score", "accuracy, or R²"), ("pearson", "Pearson")):
        print_scores(table_of(rows, name), title)
    print_corrupted(table_of(rows, "score"))
    print_laws(rows)
    print_methods(rows)


def print_scores(table, title):
    """Print the means of one score, the gains by transfer, and the least of them."""
    lines, worst, pooled = [], [], {}
    for (case, variant, size), cell in sorted(table.items()):
        gain, error, paired = difference(cell["auto"], cell["none"])
        means = {model: mean_of_seeds(by_seed) for model, by_seed in cell.items()}
        head = f"{case}, {variant}", size, len(paired)
        shown = [means.get(model) for model in ("none", "auto", "source")]
        lines.append([*head, *shown, gain, error])
        worst.append((gain / error if error > 0 else 0.0, head))
        pooled.setdefault(case, []).append((size, paired))
    header = ["case", "n", "seeds", "none", "auto", "source", "gain", "its error"]
    print(f"\n{title}\n\n{format_table(header, lines)}")
    print_pooled(pooled)
    if worst:
        ratio, head = min(worst)
        print(f"\nleast gain in standard errors: {ratio:.2f}, {head}")


def mean_of_seeds(by_seed):
    """Return the mean of figures by seed."""
    return float(np.mean(list(by_seed.values())))


def print_pooled(pooled):
    """Print gains over the sizes of each case."""
    for case, cells in pooled.items():
        for limit in (100, 10**9):
            paired = np.concatenate([part for size, part in cells if size <= limit])
            error = paired.std(ddof=1) / np.sqrt(len(paired))
            which = f"n ≤ {limit}" if limit == 100 else "all n"
            print(f"{case}, {which}: gain {paired.mean():.4f} ± {error:.4f}")


def print_corrupted(table):
    """Print how errors of corrupted images compare."""
    lines = []
    for (case, variant, size), cell in table.items():
        if case == "corrupted":
            e = {m: 1 - np.mean(list(c.values())) for m, c in cell.items()}
            gain, error, _ = difference(cell["auto"], cell["source"])
            ratio = float(e["auto"] / e["none"])
            lines.append([variant, size, *map(float, e.values()), ratio, gain, error])
    if lines:
        header = ["corrupted", "n", "none", "auto", "source", "auto/none"]
        header += ["gain over source", "its error"]
        print("\nerrors of corrupted images\n\n" + format_table(header, lines))


def print_laws(rows):
    """Print the scaling laws of the screens."""
    lines = []
    for name in ("score", "pearson"):
        table = {k: c for k, c in table_of(rows, name).items() if k[0] == "screens"}
        for variant in sorted({key[1] for key in table}):
            sizes = sorted(key[2] for key in table if key[1] == variant)
            cells = [table["screens", variant, size] for size in sizes]
            for model in ("none", "auto"):
                means = [[np.mean(list(cell[model].values()))] for cell in cells]
                law = ScalingLaw.fit(sizes, {model: means})
                figures = [
                    getattr(law, part)[model]
                    for part in ("slope", "slope_error", "intercept", "error")
                ]
                lines.append([f"{variant}, {name}", model, *figures])
    if lines:
        header = ["law of log(n)", "model", "slope", "its error", "intercept", "rms"]
        print("\n" + format_table(header, lines))


def print_methods(rows):
    """Print how often each method was chosen, and mean costs."""
    print("\nmethods chosen, and mean costs of a fit\n")
    rows = [row for row in rows if row["model"] == "auto"]
    groups = grouped(rows, "case", "size")
    for case, size in sorted(groups, key=lambda key: (key[0], int(key[1]))):
        group = groups[case, size]
        counts = Counter(row["method"] for row in group)
        shown = ", ".join(f"{m} {count}" for m, count in sorted(counts.items()))
        cpu = mean_of(group, "cpu_seconds")
        costs = f"{mean_of(group, 'seconds'):.1f} s"
        costs += "" if cpu is None else f", {cpu:.1f} CPU s"
        print(f"{case} {size}: {shown}; {costs}")


def run(args, records):
    """Measure the cases; those that need --data are left out without it."""
    for case in args.cases:
        if args.data is None and case not in BUNDLED:
            print(f"{case} needs --data: left out")
        else:
            CASES[case](records, args.data, args.seeds)


CASES = {
    "labels": labels,
    "domain": domain,
    "corrupted": corrupted,
    "shuffled": shuffled,
    "screens": screens,
    "signatures": signatures,
}
BUNDLED = ("labels", "corrupted", "shuffled")
EXPERIMENT = Experiment(
    doc=__doc__,
    key=KEY,
    figures=("score", "pearson", "method", "seconds", "cpu_seconds"),
    run=run,
    report=report,
    flags={"data": None, "seeds": 20},
    choices={"cases": CASES},
    out="transfer.csv",
    ignored=None,
)

if __name__ == "__main__":
    EXPERIMENT.main()
