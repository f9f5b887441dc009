"""Missing pixels of images: CNTKInpainter beside other methods.

    python benchmarks/inpainting.py [--data DIR] [--images camera ...] [--masks ...]

Prints the peak signal-to-noise ratio and the structural similarity over the missing
pixels and the whole image, and seconds, by image and mask. With ``--data`` images and
masks are those of ``DIR/inpainting/images_open.npz``, otherwise the two photographs
that come with scikit-learn. Biharmonic inpainting and the structural similarity need
scikit-image. Figures that are in the CSV file are not computed again.
"""

import argparse
import warnings
from pathlib import Path
from time import perf_counter

import numpy as np
from _records import Records, format_table
from sklearn.datasets import load_sample_image

from skrfm import CNTKInpainter, LinRFMCompleter
from skrfm.completion._images._image_kernel import torus_kernel

try:
    from skimage.metrics import structural_similarity
    from skimage.restoration import inpaint_biharmonic
except ImportError:
    structural_similarity = inpaint_biharmonic = None

FIELDS = ("image", "mask", "model", "psnr", "ssim", "seconds", "note")
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
                kind, _, rest = name.partition("_")
                if kind == "img":
                    images[rest] = file[name] / 255
                elif not rest.startswith("random"):
                    masks[rest] = file[name]
    rng = np.random.default_rng(0)
    shape = next(iter(images.values())).shape[:2]
    random = {f"random {share} %": rng.random(shape) >= share / 100 for share in SHARES}
    return images, random | masks


def cntk(image, observed):
    """The estimator with its defaults."""
    X = np.where(observed[:, :, None], image, np.nan)
    model = CNTKInpainter(random_state=0)
    filled = model.fit_transform(X)
    weights = {f"{u} {t:g}": round(w, 3) for (u, t), w in model.weights_.items()}
    return filled, str(weights)


def lin_rfm(image, observed):
    """Low-rank completion of each channel."""
    planes = []
    for k in range(image.shape[2]):
        X = np.where(observed, image[:, :, k], np.nan)
        planes.append(LinRFMCompleter(max_rank=40, random_state=0).fit_transform(X))
    return np.stack(planes, axis=-1), ""


def biharmonic(image, observed):
    """scikit-image's."""
    return inpaint_biharmonic(image, ~observed, channel_axis=-1), ""


MODELS = {"CNTKInpainter": cntk, "LinRFMCompleter": lin_rfm}
if inpaint_biharmonic is not None:
    MODELS["biharmonic"] = biharmonic


def run(records, images, masks, models):
    """Compute the figures that are not there."""
    for mask, observed in masks.items():
        for name, image in images.items():
            image = image.reshape(*observed.shape, -1)
            for model in models:
                if records.has(name, mask, model):
                    continue
                figures = measure(MODELS[model], image, observed)
                records.add(image=name, mask=mask, model=model, **figures)
                print(name, mask, model, f"{figures['psnr']:.2f}", flush=True)


def measure(function, image, observed):
    """Return the figures of a method on an image."""
    start = perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        filled, note = function(image, observed)
    seconds = perf_counter() - start
    filled = np.clip(filled, 0, 1)
    error = np.mean((filled - image)[~observed] ** 2)
    ssim = ""
    if structural_similarity is not None:
        ssim = structural_similarity(filled, image, channel_axis=-1, data_range=1)
    psnr = -10 * np.log10(error)
    return {"psnr": psnr, "ssim": ssim, "seconds": seconds, "note": note}


def report(rows, shown):
    """Print a table of each figure, and its means over images."""
    models = [model for model in MODELS if any(r["model"] == model for r in rows)]
    table = {(r["mask"], r["image"], r["model"]): r for r in rows}
    places = list(dict.fromkeys((r["mask"], r["image"]) for r in rows))
    for figure in ("psnr", "ssim", "seconds"):
        lines, means = [], {}
        for place in places:
            found = [table.get((*place, model), {}).get(figure) for model in models]
            cells = [float(cell) if cell else None for cell in found]
            lines.append([", ".join(place), *cells])
            if None not in cells:
                means.setdefault(place[0], []).append(cells)
        for mask, cells in means.items():
            line = [f"{mask}, mean of {len(cells)}", *map(float, np.mean(cells, 0))]
            lines.append(line)
        if shown == "means":
            lines = lines[len(places) :]
        print(f"\n{figure}\n" + format_table(["mask, image", *models], lines))


def print_seconds():
    """Time what does not depend on the image, and a small image from end to end."""
    torus_kernel((16, 16), 2, 1, 3, "bilinear")  # compiles
    for levels in (3, 4):
        start = perf_counter()
        torus_kernel((32, 32), levels, 1, 3, "bilinear")
        seconds = perf_counter() - start
        print(f"kernel of a 32 x 32 grid, {levels} levels: {seconds:.2f} s")
    image = load_sample_image("china.jpg")[100:228, 200:328] / 255.0
    missing = np.random.default_rng(0).random(image.shape[:2]) < 0.5
    start = perf_counter()
    CNTKInpainter(random_state=0).fit_transform(
        np.where(missing[:, :, None], np.nan, image)
    )
    seconds = perf_counter() - start
    print(f"128 x 128 in colour, half of the pixels missing: {seconds:.2f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder with inpainting/images_open.npz")
    parser.add_argument("--images", nargs="*", help="some of the images")
    parser.add_argument("--masks", nargs="*", help='such as "random 50 %%" or text')
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=MODELS)
    parser.add_argument("--show", default="all", choices=["all", "means"])
    parser.add_argument("--report", action="store_true", help="run nothing, print")
    parser.add_argument("--times", action="store_true", help="time two sizes, and end")
    results = Path(__file__).parent / "results" / "inpainting.csv"
    parser.add_argument("--results", default=results, type=Path)
    args = parser.parse_args()
    if args.times:
        print_seconds()
        return
    records = Records(args.results, FIELDS, ("image", "mask", "model"))
    if not args.report:
        images, masks = load(args.data)
        images = {
            k: v for k, v in images.items() if not args.images or k in args.images
        }
        masks = {k: v for k, v in masks.items() if not args.masks or k in args.masks}
        run(records, images, masks, args.models)
    report(records.rows, args.show)


if __name__ == "__main__":
    main()
