"""MatrixCompleter as a model of drevalpy, the benchmark of drug-response models.

The package itself isn't imported here: `CompleterModel` is joined with its base class
where it is used (see dreval.py).
"""

from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler

from skrfm import MatrixCompleter

EXPRESSION, FINGERPRINTS = "gene_expression", "fingerprints"


class CompleterModel:
    """The abstract members of drevalpy's DRPModel, by a MatrixCompleter.

    Responses are a matrix of cell lines × drugs, with the expression of genes and the
    fingerprints of molecules as features. All cell lines and drugs that have features
    are rows and columns, also those without a response, and the matrix is completed in
    `train`. Where `predict` gets others, as it does with another data set, it completes
    the matrix again with them.

    Attributes
    ----------
    load_expression, load_fingerprints : staticmethod
        ``load_and_select_gene_features`` and ``load_drug_fingerprint_features`` of
        drevalpy.models.utils.
    gene_list : str or None
        The name of the list of genes that are used; None takes all.
    """

    early_stopping = False
    is_single_drug_model = False
    cell_line_views = [EXPRESSION]
    drug_views = [FINGERPRINTS]
    gene_list = "landmark_genes"
    load_expression: staticmethod
    load_fingerprints: staticmethod

    def __init__(self):
        super().__init__()
        self._parameters = {}
        self._responses = self._cells = self._drugs = self._completed = None

    @classmethod
    def get_model_name(cls):
        """Return the name of the model."""
        return "MatrixCompleter"

    @classmethod
    def get_hyperparameter_set(cls):
        """Return one set, of defaults: methods are chosen on hidden entries."""
        return [{}]

    def build_model(self, hyperparameters):
        """Take the parameters of the completer."""
        self.log_hyperparameters(hyperparameters)
        self._parameters = {"random_state": 0} | hyperparameters

    def load_cell_line_features(self, data_path, dataset_name):
        """Return the expression of genes of the cell lines."""
        return self.load_expression(
            feature_type=EXPRESSION,
            gene_list=self.gene_list,
            data_path=data_path,
            dataset_name=dataset_name,
        )

    def load_drug_features(self, data_path, dataset_name):
        """Return the fingerprints of the drugs."""
        return self.load_fingerprints(data_path, dataset_name)

    def train(
        self,
        output,
        cell_line_input,
        drug_input=None,
        output_earlystopping=None,
        model_checkpoint_dir="checkpoints",
    ):
        """Complete the matrix of cell lines × drugs."""
        self._responses = responses(output)
        self._cells = features_of(cell_line_input, EXPRESSION)
        self._drugs = features_of(drug_input, FINGERPRINTS)
        self._completed = self._complete(self._cells, self._drugs)

    def predict(self, cell_line_ids, drug_ids, cell_line_input, drug_input=None):
        """Return the predictions of pairs of cell lines and drugs."""
        cells, drugs = (
            np.asarray(ids).astype(str) for ids in (cell_line_ids, drug_ids)
        )
        completed = self._completed
        if not (
            np.isin(cells, completed.index).all()
            and np.isin(drugs, completed.columns).all()
        ):
            completed = self._complete(
                union(self._cells, features_of(cell_line_input, EXPRESSION)),
                union(self._drugs, features_of(drug_input, FINGERPRINTS)),
            )
        rows = completed.index.get_indexer(cells)
        cols = completed.columns.get_indexer(drugs)
        return completed.to_numpy()[rows, cols]

    def _complete(self, cells, drugs):
        """Return predictions of all pairs, also of those that were trained on."""
        shown = self._responses
        # as other models of the package do; scaled by cell lines with responses only
        expression = np.arcsinh(cells)
        scaler = StandardScaler().fit(expression.loc[shown.index])
        sides = {
            "row_features": scaler.set_output(transform="pandas").transform(expression)
        }
        columns = shown.columns
        if drugs is not None:
            sides["col_features"], columns = drugs, drugs.index
        completer = MatrixCompleter(keep_observed=False, **self._parameters)
        return completer.fit_transform(
            shown.reindex(index=cells.index, columns=columns), **sides
        )

    def save(self, directory):
        """Save what was learned."""
        state = {name: vars(self)[name] for name in STATE}
        joblib.dump(state, Path(directory) / FILE)

    @classmethod
    def load(cls, directory):
        """Return a model that was saved."""
        model = cls()
        vars(model).update(joblib.load(Path(directory) / FILE))
        return model


FILE = "completer.joblib"
STATE = "_parameters", "_responses", "_cells", "_drugs", "_completed"


def responses(output):
    """Return the matrix of cell lines × drugs, of means where pairs are repeated."""
    table = pd.DataFrame(
        {
            "cell": np.asarray(output.cell_line_ids).astype(str),
            "drug": np.asarray(output.drug_ids).astype(str),
            "response": np.asarray(output.response, dtype=float),
        }
    )
    return table.pivot_table("response", "cell", "drug", aggfunc="mean")


def features_of(dataset, view):
    """Return a view of a FeatureDataset, with a row for each identifier."""
    if dataset is None:
        return None
    if view not in dataset.view_names:
        raise ValueError(
            f"the features have no view {view!r}, only {list(dataset.view_names)}: "
            "pass those that this model loads."
        )
    identifiers = np.unique(np.asarray(dataset.identifiers))
    matrix = np.asarray(dataset.get_feature_matrix(view, identifiers), dtype=float)
    names = [f"{view} {i}" for i in range(matrix.shape[1])]
    return pd.DataFrame(matrix, identifiers.astype(str), names)


def union(known, further):
    """Return features of rows of both; those that are known stay."""
    if known is None or further is None:
        return known
    return pd.concat([known, further.drop(index=known.index, errors="ignore")])
