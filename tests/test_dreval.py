"""The model of drevalpy, on made-up data in its format and a stand-in of its base."""

import importlib
from abc import ABC, abstractmethod
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import StandardScaler

from skrfm import LinRFMCompleter, MatrixCompleter, NTKMatrixCompleter

FOLDER = Path(__file__).parents[1] / "benchmarks"
CELLS, DRUGS, GENES, BITS = 24, 14, 6, 16
LOW_RANK = LinRFMCompleter(max_iter=5, alpha=0.1, tol=1e-2, solver="alternating")
KERNEL = NTKMatrixCompleter(alphas=[0.1, 1.0, 10.0])
FAST = {"low_rank": LOW_RANK, "kernel": KERNEL, "cv": 2}


class Base(ABC):
    """The members of drevalpy 1.6's DRPModel that a model must or may use."""

    def __init__(self):
        self.logged = None

    def log_hyperparameters(self, hyperparameters):
        self.logged = hyperparameters

    @classmethod
    @abstractmethod
    def get_model_name(cls): ...

    @property
    @abstractmethod
    def cell_line_views(self): ...

    @property
    @abstractmethod
    def drug_views(self): ...

    @abstractmethod
    def build_model(self, hyperparameters): ...

    @abstractmethod
    def train(
        self,
        output,
        cell_line_input,
        drug_input=None,
        output_earlystopping=None,
        model_checkpoint_dir="checkpoints",
    ): ...

    @abstractmethod
    def predict(self, cell_line_ids, drug_ids, cell_line_input, drug_input=None): ...

    @abstractmethod
    def load_cell_line_features(self, data_path, dataset_name): ...

    @abstractmethod
    def load_drug_features(self, data_path, dataset_name): ...


class Features:
    """What a model uses of drevalpy's FeatureDataset."""

    def __init__(self, view, table):
        self.view_names, self._table = [view], table
        self.identifiers = np.array(table.index)

    def get_feature_matrix(self, view, identifiers):
        assert view in self.view_names
        return self._table.loc[identifiers].to_numpy()

    def only(self, identifiers):
        return Features(self.view_names[0], self._table.loc[identifiers])


def load_expression(feature_type, gene_list, data_path, dataset_name):
    """Read what load_and_select_gene_features reads."""
    table = pd.read_csv(
        f"{data_path}/{dataset_name}/{feature_type}.csv", index_col="cell_line_name"
    )
    genes = pd.read_csv(f"{data_path}/meta/gene_lists/{gene_list}.csv")["Symbol"]
    return Features(feature_type, table[genes])


def load_fingerprints(data_path, dataset_name):
    """Read what load_drug_fingerprint_features reads."""
    folder = Path(data_path) / dataset_name / "drug_fingerprints"
    table = pd.read_csv(folder / "pubchem_id_to_demorgan_128_map.csv").T
    return Features("fingerprints", table)


@pytest.fixture
def scripts(monkeypatch):
    """The modules of the adapter and of the script."""
    monkeypatch.syspath_prepend(FOLDER)
    return SimpleNamespace(
        model=importlib.import_module("_dreval_model"),
        script=importlib.import_module("dreval"),
        screens=importlib.import_module("_screens"),
    )


@pytest.fixture
def model_class(scripts):
    """The model, with the stand-ins in place of the package."""

    class Model(scripts.model.CompleterModel, Base):
        load_expression = staticmethod(load_expression)
        load_fingerprints = staticmethod(load_fingerprints)

    return Model


@pytest.fixture
def screen(scripts, tmp_path):
    """A screen of what features tell, in files; its table of responses."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(CELLS, GENES))
    columns = rng.integers(0, 2, size=(DRUGS, BITS))
    Y = rows @ rng.normal(size=(GENES, BITS)) @ columns.T / BITS
    Y += rows[:, :1] + columns[:, 0]
    Y[rng.random(Y.shape) < 0.2] = np.nan
    tissues = np.array(["lung", "skin"])[np.arange(CELLS) % 2]
    made_up = scripts.screens.Screen(
        Y=Y, rows=rows, columns=columns, kernel=None, entry_folds=[], tissues=tissues
    )
    path = scripts.script.write_screen(made_up, "made_up", tmp_path)
    table = pd.read_csv(path, dtype={"pubchem_id": str})
    return SimpleNamespace(table=table, folder=tmp_path, Y=Y, rows=rows, bits=columns)


def output_of(table):
    """What a model uses of drevalpy's DrugResponseDataset."""
    return SimpleNamespace(
        response=table["response"].to_numpy(),
        cell_line_ids=table["cell_line_name"].to_numpy().astype(str),
        drug_ids=table["pubchem_id"].to_numpy().astype(str),
    )


def pairs_of(table):
    return table["cell_line_name"].to_numpy(), table["pubchem_id"].to_numpy()


def trained(model_class, screen, shown, **parameters):
    """A model trained on rows of the table, with the features of all."""
    model = model_class()
    model.build_model(FAST | parameters)
    features = loaded(model, screen)
    model.train(output_of(shown), *features)
    return model, features


def loaded(model, screen):
    given = str(screen.folder), "made_up"
    return model.load_cell_line_features(*given), model.load_drug_features(*given)


def test_the_model_has_every_abstract_member(model_class):
    assert len(Base.__abstractmethods__) == 8
    model = model_class()
    assert model.get_model_name() == "MatrixCompleter"
    assert model.get_hyperparameter_set() == [{}]
    assert not model.early_stopping
    assert not model.is_single_drug_model
    model.build_model({"combine": "best"})
    assert model.logged == {"combine": "best"}


def test_the_files_hold_the_screen(model_class, screen):
    cells, drugs = loaded(model_class(), screen)
    ids = [f"cell{i}" for i in range(CELLS)]
    assert_allclose(cells.get_feature_matrix("gene_expression", ids), screen.rows)
    ids = [str(i) for i in range(DRUGS)]
    assert_array_equal(drugs.get_feature_matrix("fingerprints", ids), screen.bits)
    names = pd.read_csv(screen.folder / "made_up" / "cell_line_names.csv")
    assert names["tissue"].tolist() == ["lung", "skin"] * (CELLS // 2)
    assert len(screen.table) == np.count_nonzero(~np.isnan(screen.Y))


@pytest.mark.parametrize("left_out", ["pairs", "cells", "drugs"])
def test_predictions_are_those_of_a_matrix_completer(model_class, screen, left_out):
    table = screen.table
    test = {
        "pairs": np.arange(len(table)) % 4 == 0,
        "cells": table["cell_line_name"].isin(["cell2", "cell9"]).to_numpy(),
        "drugs": table["pubchem_id"].isin(["3", "8"]).to_numpy(),
    }[left_out]
    model, features = trained(model_class, screen, table[~test])
    got = model.predict(*pairs_of(table[test]), *features)

    rows = table["cell_line_name"].str[4:].astype(int).to_numpy()
    cols = table["pubchem_id"].astype(int).to_numpy()
    shown = screen.Y.copy()
    shown[rows[test], cols[test]] = np.nan
    expression = np.arcsinh(screen.rows)
    seen = ~np.isnan(shown).all(axis=1)
    expression = StandardScaler().fit(expression[seen]).transform(expression)
    # in the order of the identifiers, which determines the folds
    of_cells, of_drugs = (np.argsort([str(i) for i in range(n)]) for n in shown.shape)
    completer = MatrixCompleter(keep_observed=False, random_state=0, **FAST)
    full = np.empty_like(shown)
    full[np.ix_(of_cells, of_drugs)] = completer.fit_transform(
        shown[np.ix_(of_cells, of_drugs)],
        row_features=expression[of_cells],
        col_features=screen.bits[of_drugs],
    )
    assert_allclose(got, full[rows[test], cols[test]])
    assert np.corrcoef(got, table["response"][test])[0, 1] > 0.5


def test_repeated_pairs_count_by_their_mean(scripts, screen):
    twice = screen.table.assign(response=screen.table["response"] + 2)
    both = output_of(pd.concat([screen.table, twice]))
    got = scripts.model.responses(both)
    for cell, drug, value in got.stack().reset_index().itertuples(index=False):
        i, j = int(cell[4:]), int(drug)
        assert_allclose(value, screen.Y[i, j] + 1)


def test_unknown_cell_lines_and_drugs_are_completed_when_they_come(model_class, screen):
    table = screen.table
    new = (table["cell_line_name"] == "cell5") | (table["pubchem_id"] == "4")
    model = model_class()
    model.build_model(FAST)
    cells, drugs = loaded(model, screen)
    model.train(
        output_of(table[~new]),
        cells.only([f"cell{i}" for i in range(CELLS) if i != 5]),
        drugs.only([str(i) for i in range(DRUGS) if i != 4]),
    )
    before = model.predict(*pairs_of(table[~new]), cells, drugs)
    got = model.predict(*pairs_of(table[new]), cells, drugs)
    true = table["response"][new]
    assert np.mean((got - true) ** 2) < np.mean((true - table["response"].mean()) ** 2)
    assert_array_equal(model.predict(*pairs_of(table[~new]), cells, drugs), before)


def test_without_fingerprints_the_expression_is_enough(model_class, screen):
    model = model_class()
    model.build_model(FAST)
    cells, _ = loaded(model, screen)
    model.train(output_of(screen.table), cells)
    got = model.predict(*pairs_of(screen.table), cells)
    assert np.corrcoef(got, screen.table["response"])[0, 1] > 0.8


def test_a_saved_model_predicts_the_same(model_class, screen, tmp_path):
    model, features = trained(model_class, screen, screen.table)
    model.save(str(tmp_path))
    again = model_class.load(str(tmp_path))
    assert_array_equal(
        again.predict(*pairs_of(screen.table), *features),
        model.predict(*pairs_of(screen.table), *features),
    )


def test_missing_views_are_named(model_class, screen):
    model = model_class()
    model.build_model(FAST)
    cells, drugs = loaded(model, screen)
    with pytest.raises(ValueError, match="no view 'gene_expression', only"):
        model.train(output_of(screen.table), drugs, cells)
