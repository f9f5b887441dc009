"""MatrixCompleter in drevalpy, the benchmark of drug-response models, beside its own.

    pip install drevalpy  # the only script that needs it
    python benchmarks/dreval.py --data DIR [--cases ctrp] [--splits LCO LDO] [--report]

The open screens of drug_screen.py are written in the format of the package, which
splits them, loads their features, trains the models and has them predict: left out are
pairs (LPO), cell lines (LCO), tissues (LTO) or drugs (LDO). Its models take their first
set of parameters. "Normalised" Pearson's correlation is that after the predictions of
its mean effects are taken out.

With ``MODEL_FACTORY[model.get_model_name()] = model`` and ``model = model_class()``,
its own ``drug_response_experiment(models=[model], ...)`` takes the model as well.
"""

import importlib
import tempfile
from contextlib import redirect_stdout
from os import devnull
from pathlib import Path

import numpy as np
import pandas as pd
from _dreval_model import EXPRESSION, CompleterModel
from _experiment import Experiment, flag, timed
from _report import format_table, grouped, mean_of
from _screens import N_FOLDS, load, pearson

MEANS, OWN = "NaiveMeanEffectsPredictor", "MatrixCompleter"
MODELS = (MEANS, "RandomForest", "GradientBoosting", OWN)


def model_class():
    """Return MatrixCompleter as a class of models of the package."""
    utils = importlib.import_module("drevalpy.models.utils")
    base = importlib.import_module("drevalpy.models.drp_model").DRPModel
    members = {
        "load_expression": staticmethod(utils.load_and_select_gene_features),
        "load_fingerprints": staticmethod(utils.load_drug_fingerprint_features),
    }
    return type(OWN, (CompleterModel, base), members)


def write_screen(screen, name, folder):
    """Write a screen in the format of the package; return its table of responses.

    Parameters
    ----------
    screen : Screen
    name : str
        The name of the data set.
    folder : Path
        The folder of all data sets.
    """
    m, n = screen.Y.shape
    cells = pd.Index([f"cell{i}" for i in range(m)], name="cell_line_name")
    drugs = pd.Index([str(i) for i in range(n)], name="pubchem_id")
    genes = [f"gene{i}" for i in range(screen.rows.shape[1])]
    at, prints = folder / name, "pubchem_id_to_demorgan_128_map.csv"
    (at / "drug_fingerprints").mkdir(parents=True)
    (folder / "meta" / "gene_lists").mkdir(parents=True)
    pd.DataFrame(screen.rows, cells, genes).to_csv(at / f"{EXPRESSION}.csv")
    bits = pd.DataFrame(screen.columns.T.astype(int), columns=drugs)
    bits.to_csv(at / "drug_fingerprints" / prints, index=False)
    # the package drops duplicates among the other columns
    names = pd.DataFrame({"cellosaurus_id": cells}, cells)
    if screen.tissues is not None:
        names["tissue"] = screen.tissues
    names.to_csv(at / "cell_line_names.csv")
    pd.DataFrame({"drug_name": drugs}, drugs).to_csv(at / "drug_names.csv")
    genes = pd.DataFrame({"Symbol": genes})
    genes.to_csv(folder / "meta" / "gene_lists" / "landmark_genes.csv", index=False)
    rows, cols = np.nonzero(~np.isnan(screen.Y))
    table = {"response": screen.Y[rows, cols]}
    table |= {"cell_line_name": cells[rows], "pubchem_id": drugs[cols]}
    if screen.tissues is not None:
        table["tissue"] = screen.tissues[rows]
    responses = at / f"{name}.csv"
    pd.DataFrame(table).to_csv(responses, index=False)
    return responses


def run(args, records):
    """Measure the cases."""
    package = importlib.import_module("drevalpy.models")
    models = {name: package.MODEL_FACTORY.get(name) for name in MODELS}
    models[OWN] = model_class()
    datasets = importlib.import_module("drevalpy.datasets.dataset")
    for case in args.cases:
        screen = load(case, args.data)
        with tempfile.TemporaryDirectory() as folder:
            table = write_screen(screen, case, Path(folder))
            responses = datasets.DrugResponseDataset.from_csv(table, dataset_name=case)
            for split in args.splits:
                if split == "LTO" and screen.tissues is None:
                    continue
                folds = responses.split_dataset(N_FOLDS, split, split_validation=False)
                for fold, parts in enumerate(folds[: args.folds]):
                    key = {"case": case, "split": split, "fold": fold}
                    chosen = {m: models[m] for m in args.models or MODELS}
                    measure_fold(records, key, chosen, parts, folder)


def measure_fold(records, key, models, parts, folder):
    """Measure the models on one fold of the package."""
    keys = {name: key | {"model": name} for name in models}
    if all(map(records.has, keys.values())):
        return
    means = importlib.import_module("drevalpy.models").MODEL_FACTORY[MEANS]
    effects, _ = predictions(means, parts, folder)
    for name, of_model in keys.items():
        records.once(of_model, measure, models[name], parts, folder, effects)


def measure(model, parts, folder, effects):
    """Return the scores of a model on the pairs that are left out, and its costs."""
    predicted, cost = timed(predictions, model, parts, folder)
    predicted, true = predicted
    error = true - predicted
    return {
        "r2": 1 - float(np.mean(error**2) / np.var(true)),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "pearson": pearson(true, predicted),
        "normalised_pearson": pearson(true - effects, predicted - effects),
        **cost.figures(),
    }


def predictions(model, parts, folder):
    """Return predictions by the package of the pairs that are left out, and values."""
    experiment = importlib.import_module("drevalpy.experiment")
    with Path(devnull).open("w") as nothing, redirect_stdout(nothing):
        predicted = experiment.train_and_predict(
            model=model(),
            hpams=model.get_hyperparameter_set()[0],
            path_data=folder,
            train_dataset=parts["train"],
            prediction_dataset=parts["test"],
        )
    return predicted.predictions, predicted.response


def report(rows, args):
    """Print the means of the folds as tables."""
    for (case, split), of_split in grouped(rows, "case", "split").items():
        lines = [
            [model, len(group), *(mean_of(group, name) for name in FIGURES)]
            for model, group in grouped(of_split, "model").items()
        ]
        print("\n" + format_table([f"{case}, {split}", "runs", *FIGURES], lines))


CASES = ("ctrp", "gdsc", "prism", "response")
SPLITS = ("LPO", "LCO", "LTO", "LDO")
FIGURES = ("r2", "rmse", "pearson", "normalised_pearson", "seconds", "cpu_seconds")
EXPERIMENT = Experiment(
    doc=__doc__,
    key=("case", "split", "model", "fold"),
    figures=FIGURES,
    run=run,
    report=report,
    flags={"folds": N_FOLDS, "models": None},
    choices={"cases": CASES},
    own_flags=[
        flag(
            "splits", list(SPLITS), choices=SPLITS, nargs="+", help="what is left out"
        ),
    ],
    out="dreval.csv",
    needs_data=True,
)

if __name__ == "__main__":
    EXPERIMENT.main()
