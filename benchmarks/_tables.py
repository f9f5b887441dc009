"""Find, load and prepare the tables of the tabular benchmark.

A data folder holds ``tabular_grinsztajn/*.npz`` and ``tabular_extra/*.npz`` with
``X`` (categories as integer codes, NaN = missing), ``y``, ``task`` ("reg" or
"clf"), ``categorical_mask`` and sometimes ``test_mask`` (one or several known
test parts). Without a data folder the sets bundled with scikit-learn are used.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from _experiment import is_chosen
from sklearn import datasets
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

FOLDERS = ("tabular_grinsztajn", "tabular_extra")
MAX_TEST = 10_000


@dataclass(frozen=True)
class RawTable:
    """One table as stored: nothing imputed, encoded or split."""

    task: str
    X: np.ndarray
    y: np.ndarray
    categorical: np.ndarray
    test_mask: np.ndarray | None = None


@dataclass(frozen=True)
class Table:
    """One train/test split: encoded for any model, and as it is.

    Attributes
    ----------
    X_train, X_test : ndarray of float32
        Numbers imputed and scaled, categories one-hot encoded.
    y_train, y_test : ndarray
        Class numbers, or targets standardised on the training part.
    raw_train, raw_test : ndarray of float32
        The rows as they are: categories are integers and NaN is a missing value.
    categorical : ndarray of int or None
        Indices of the categorical columns of the raw rows, None without any.
    """

    name: str
    task: str
    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    raw_train: np.ndarray
    raw_test: np.ndarray
    categorical: np.ndarray | None


@dataclass(frozen=True)
class Split:
    """One train/test split of one table, which is read when it is first used."""

    name: str
    fold: int
    read: Callable
    max_train: int

    @property
    def table(self):
        """The Table, kept until that of another split is read."""
        return _load_once(self.name, self.read, self.fold, self.max_train)


def splits(args, max_train=10_000):
    """Yield the Splits of the tables and folds that the flags choose."""
    tables = find_tables(args.data)
    unknown = sorted(set(args.tables or ()) - set(tables))
    if unknown:
        raise SystemExit(f"no such tables: {unknown}; there are {list(tables)}")
    for name, read in tables.items():
        if is_chosen(name, args):
            for fold in range(getattr(args, "folds", 1)):
                yield Split(name, fold, read, max_train)


def _read_npz(path):
    """Read one table of the data folder."""
    with np.load(path, allow_pickle=False) as file:
        return RawTable(
            task=str(file["task"]),
            X=file["X"],
            y=file["y"],
            categorical=file["categorical_mask"].astype(bool),
            test_mask=file["test_mask"] if "test_mask" in file.files else None,
        )


def _read_bundled(loader, task):
    """Read one of scikit-learn's bundled sets."""
    X, y = loader(return_X_y=True)
    return RawTable(task, X, y, categorical=np.zeros(X.shape[1], dtype=bool))


def find_tables(data_dir=None):
    """Return ``{name: function that reads the RawTable}``, small tables first."""
    if data_dir is None:
        return {
            "wine": partial(_read_bundled, datasets.load_wine, "clf"),
            "diabetes": partial(_read_bundled, datasets.load_diabetes, "reg"),
            "breast_cancer": partial(_read_bundled, datasets.load_breast_cancer, "clf"),
            "digits": partial(_read_bundled, datasets.load_digits, "clf"),
        }
    paths = [p for folder in FOLDERS for p in Path(data_dir, folder).glob("*.npz")]
    if not paths:
        raise FileNotFoundError(f"no tables in {data_dir}: expected {FOLDERS}")
    paths.sort(key=lambda path: (path.stat().st_size, path.name))
    return {path.stem: partial(_read_npz, path) for path in paths}


def _known_test_rows(raw, fold):
    """Return the mask of the known test part of this fold, None without one."""
    mask = raw.test_mask
    if mask is None:
        return None
    mask = mask.astype(bool)
    if mask.ndim == 1:
        mask = mask[:, np.newaxis]
    return mask[:, fold] if fold < mask.shape[1] else None


def split_rows(raw, fold, max_train):
    """Return the row indices of the training and the test part of one fold.

    A known test part is used where the table has one for this fold. Otherwise
    three quarters of the rows, at most ``max_train``, are drawn for training
    (stratified for classification). The test part has at most ``MAX_TEST`` rows.
    """
    n = len(raw.y)
    test_mask = _known_test_rows(raw, fold)
    if test_mask is None:
        n_train = min(3 * n // 4, max_train)
        return train_test_split(
            np.arange(n),
            train_size=n_train,
            test_size=min(n - n_train, MAX_TEST),
            stratify=raw.y if raw.task == "clf" else None,
            random_state=fold,
        )
    rng = np.random.default_rng(fold)
    train = rng.permutation(np.flatnonzero(~test_mask))[:max_train]
    test = rng.permutation(np.flatnonzero(test_mask))[:MAX_TEST]
    return train, test


def _make_encoder(categorical):
    """Impute and scale numbers; one-hot categories, missing being one of them."""
    numbers = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
    )
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer(
        [
            ("numbers", numbers, np.flatnonzero(~categorical)),
            ("categories", one_hot, np.flatnonzero(categorical)),
        ],
        sparse_threshold=0.0,
    )


def load_table(name, read, fold=0, max_train=10_000):
    """Read, split and encode one table; return the Table.

    Everything is fitted on the training part. Regression targets are standardised
    by the mean and the standard deviation of the training part; features come as
    dense float32, encoded and as they are.
    """
    raw = read()
    train, test = split_rows(raw, fold, max_train)
    X = raw.X.astype(np.float64)
    encoder = _make_encoder(raw.categorical)
    X_train = encoder.fit_transform(X[train]).astype(np.float32)
    X_test = encoder.transform(X[test]).astype(np.float32)
    if raw.task == "clf":
        y = raw.y.astype(np.int64)
    else:
        y = raw.y.astype(np.float64)
        y = (y - y[train].mean()) / y[train].std()
    categorical = np.flatnonzero(raw.categorical)
    return Table(
        name=name,
        task=raw.task,
        X_train=X_train,
        y_train=y[train],
        X_test=X_test,
        y_test=y[test],
        raw_train=X[train].astype(np.float32),
        raw_test=X[test].astype(np.float32),
        categorical=categorical if len(categorical) else None,
    )


_load_once = lru_cache(maxsize=1)(load_table)
