"""Missing pixels of images: CNTKInpainter beside other methods.

    python benchmarks/inpainting.py [--data DIR] [--images camera ...] [--masks ...]

Prints the peak signal-to-noise ratio and the structural similarity over the missing
pixels and the whole image, and costs, by image and mask. With ``--data`` images and
masks are those of ``DIR/inpainting/images_open.npz``, otherwise the two photographs
that come with scikit-learn. Biharmonic inpainting and the structural similarity need
scikit-image.
"""

import warnings
from pathlib import Path

import numpy as np
from _experiment import Experiment, flag, timed
from _report import format_table, grouped, number
from sklearn.datasets import load_sample_image

from skrfm import CNTKInpainter, LinRFMCompleter
from skrfm.completion._images._image_kernel import torus_kernel

try:
    from skimage.metrics import structural_similarity
    from skimage.restoration import inpaint_biharmonic
except ImportError:
    structural_similarity = inpaint_biharmonic = None

SHARES = (50, 65, 80)


def load(data):
    """Return images between 0 and 1, and masks that are True where observed."""
    images, masks = {}, {}
    if data is None:
        for name in ("china", "flower"):
            images[name] = load_sample_image(f"{name}.jpg")[60:316, 150:406] / 255
    else:
        with np.load(Path(data) / "inpainting" / "images_open.npz") as file:
            for name in file.files:
                kind, _, label = name.partition("_")
                if kind == "img":
                    images[label] = file[name] / 255
                elif not label.startswith("random"):
                    masks[label] = file[name]
    rng = np.random.default_rng(0)
    shape = next(iter(images.values())).shape[:2]
    random = {f"random {share} %": rng.random(shape) >= share / 100 for share in SHARES}
    return images, random | masks


def cntk(image, observed):
    """Fill by the estimator at its defaults; note its weights."""
    X = np.where(observed[:, :, None], image, np.nan)
    model = CNTKInpainter(random_state=0)
    filled = model.fit_transform(X)
    weights = {f"{u} {t:g}": round(w, 3) for (u, t), w in model.weights_.items()}
    return filled, str(weights)


def lin_rfm(image, observed):
    """Fill by low-rank completion of each channel."""
    planes = []
    for k in range(image.shape[2]):
        X = np.where(observed, image[:, :, k], np.nan)
        planes.append(LinRFMCompleter(max_rank=40, random_state=0).fit_transform(X))
    return np.stack(planes, axis=-1), ""


def biharmonic(image, observed):
    """Fill by scikit-image's biharmonic inpainting."""
    return inpaint_biharmonic(image, ~observed, channel_axis=-1), ""


NAMES = ("CNTKInpainter", "LinRFMCompleter", "biharmonic")
MODELS = {"CNTKInpainter": cntk, "LinRFMCompleter": lin_rfm}
if inpaint_biharmonic is not None:
    MODELS["biharmonic"] = biharmonic


def run(args, records):
    """Fill in each image by each method, or time sizes with --times."""
    if args.times:
        print_times()
        return
    images, masks = load(args.data)
    for mask in args.masks or masks:
        for name in args.images or images:
            image = images[name].reshape(*masks[mask].shape, -1)
            for model in args.models:
                key = {"image": name, "mask": mask, "model": model}
                records.once(key, measure, MODELS[model], image, masks[mask])


def measure(fill, image, observed):
    """Return the figures of a method on an image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (filled, note), cost = timed(fill, image, observed)
    filled = np.clip(filled, 0, 1)
    error = np.mean((filled - image)[~observed] ** 2)
    ssim = ""
    if structural_similarity is not None:
        ssim = structural_similarity(filled, image, channel_axis=-1, data_range=1)
    psnr = float(-10 * np.log10(error))
    return {"psnr": psnr, "ssim": ssim, **cost.figures(), "note": note}


def report(rows, args):
    """Print a table of each figure, and its means over images."""
    if args.times:
        return
    for name, column in ((args.images, "image"), (args.masks, "mask")):
        rows = [row for row in rows if not name or row[column] in name]
    models = list(dict.fromkeys(row["model"] for row in rows))
    models.sort(key=NAMES.index)
    for figure in ("psnr", "ssim", "seconds", "cpu_seconds"):
        if any(row[figure] for row in rows):
            print_figure(rows, models, figure, every_image=args.show == "all")


def print_figure(rows, models, figure, *, every_image):
    """Print one figure by mask and image, and its means over images."""
    lines, means = [], {}
    for (mask, image), group in grouped(rows, "mask", "image").items():
        by_model = {row["model"]: row for row in group}
        cells = [number(by_model.get(model, {}), figure) for model in models]
        lines.append([f"{mask}, {image}", *cells])
        if None not in cells:
            means.setdefault(mask, []).append(cells)
    mean_lines = [
        [f"{mask}, mean of {len(cells)}", *np.mean(cells, axis=0).tolist()]
        for mask, cells in means.items()
    ]
    lines = [*lines, *mean_lines] if every_image else mean_lines
    print(f"\n{figure}\n" + format_table(["mask, image", *models], lines))


def print_times():
    """Time what does not depend on the image, and a small image from end to end."""
    torus_kernel((16, 16), 2, 1, 3, "bilinear")  # compiles
    for levels in (3, 4):
        _, cost = timed(torus_kernel, (32, 32), levels, 1, 3, "bilinear")
        print(f"kernel of a 32 x 32 grid, {levels} levels: {shown(cost)}")
    image = load_sample_image("china.jpg")[100:228, 200:328] / 255.0
    missing = np.random.default_rng(0).random(image.shape[:2]) < 0.5
    X = np.where(missing[:, :, None], np.nan, image)
    _, cost = timed(CNTKInpainter(random_state=0).fit_transform, X)
    print(f"128 x 128 in colour, half of the pixels missing: {shown(cost)}")


def shown(cost):
    """Return the text of a Cost."""
    return f"{cost.seconds:.2f} s, {cost.cpu_seconds:.2f} CPU s"


EXPERIMENT = Experiment(
    doc=__doc__,
    key=("image", "mask", "model"),
    figures=("psnr", "ssim", "seconds", "cpu_seconds", "note"),
    run=run,
    report=report,
    flags={"data": None, "models": list(MODELS)},
    choices={"models": NAMES},
    own_flags=[
        flag("images", nargs="+", metavar="NAME", help="only these images"),
        flag("masks", nargs="+", help='only these masks, such as "random 50 %%"'),
        flag("show", "all", choices=("all", "means"), help="print images, or means"),
        flag("times", action="store_true", help="only time two sizes, keep nothing"),
    ],
    out="inpainting.csv",
)

if __name__ == "__main__":
    EXPERIMENT.main()
