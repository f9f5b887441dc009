"""Random tables, targets, weights and parameters: a finite result or a clear error.

200 examples by default; SKRFM_FUZZ_EXAMPLES sets another number.
"""

import copy
import os
import re
import warnings

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skrfm import (
    LinRFMCompleter,
    LinRFMRegressor,
    NTKMatrixCompleter,
    RFMClassifier,
    RFMClassifierCV,
    RFMRegressor,
    RFMRegressorCV,
    TransferKernel,
    XRFMClassifier,
    XRFMRegressor,
)
from skrfm.kernels import NTK, GeneralizedLaplace, LpqLaplace

# the examples of the default run are always the same ones
EXAMPLES = int(os.environ.get("SKRFM_FUZZ_EXAMPLES", 200))
DERANDOMIZE = "SKRFM_FUZZ_EXAMPLES" not in os.environ

# what an error names: an argument, or rows or classes in the words of scikit-learn
NAMED = re.compile(
    r"\b(X|y|sample_weight|cv|alphas?|kernel|validation\w*|metric_type|bandwidth"
    r"|n_components|max_iter|solver|scaling|max_leaf_size|max_candidates|tol|power"
    r"|max_rank|source_estimator|target_estimator|row_features|col_features)\b"
    r"|sample\(s\)|Sample weights|classes"
)


# -- tables ---------------------------------------------------------------------------


def objects(values):
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


NUMBERS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "float32": lambda rng, n: rng.normal(size=n).astype(np.float32),
    "offset": lambda rng, n: 1e9 + rng.normal(size=n),
    "constant": lambda rng, n: np.full(n, 0.1),
    "zero": lambda rng, n: np.zeros(n),
    "tiny": lambda rng, n: 1e-200 * rng.normal(size=n),
    "huge": lambda rng, n: 1e200 * rng.normal(size=n),
    "tails": lambda rng, n: rng.standard_cauchy(size=n) ** 3,
    "integers": lambda rng, n: rng.integers(-3, 3, n),
    "boolean": lambda rng, n: rng.random(n) < 0.5,
    "missing": lambda rng, n: np.where(rng.random(n) < 0.4, np.nan, rng.normal(size=n)),
    "absent": lambda rng, n: np.full(n, np.nan),
}
COLUMNS = {
    **NUMBERS,
    "nullable": lambda rng, n: pd.array(
        [None if rng.random() < 0.3 else int(rng.integers(9)) for _ in range(n)],
        "Int64",
    ),
    "category": lambda rng, n: pd.Categorical(
        objects([[None, "a", "b", "c"][k] for k in rng.integers(0, 4, n)])
    ),
    "levels": lambda rng, n: pd.Categorical(rng.integers(0, 30, n)),
    "mixed": lambda rng, n: pd.Categorical(
        objects([["a", 1, 2.5, ("t", 1)][k] for k in rng.integers(0, 4, n)])
    ),
    "objects": lambda rng, n: objects(
        [[None, 1, 2.5, pd.NA][k] for k in rng.integers(0, 4, n)]
    ),
    "text": lambda rng, n: objects([["red", "blue"][k] for k in rng.integers(0, 2, n)]),
    "date": lambda rng, n: pd.date_range("2024", periods=n),
}
TARGETS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "constant": lambda rng, n: np.full(n, 3.7),
    "huge": lambda rng, n: 1e190 * rng.normal(size=n),
    "tiny": lambda rng, n: 1e-190 * rng.normal(size=n),
    "offset": lambda rng, n: 1.7e9 + rng.normal(size=n),
    "outputs": lambda rng, n: rng.normal(size=(n, 2)),
}
LABELS = {
    "two": lambda rng, n: rng.integers(0, 2, n),
    "words": lambda rng, n: np.array(["b", "a", "c"])[rng.integers(0, 3, n)],
    "one": lambda rng, n: np.zeros(n),
    "many": lambda rng, n: rng.integers(0, 8, n),
    "boolean": lambda rng, n: rng.random(n) < 0.3,
}
WEIGHTS = {
    "none": lambda rng, n: None,
    "ones": lambda rng, n: np.ones(n),
    "counts": lambda rng, n: rng.integers(0, 4, n),
    "shares": lambda rng, n: rng.dirichlet(np.ones(n)),
    "small": lambda rng, n: 1e-12 * rng.random(n),
    "zeros": lambda rng, n: np.zeros(n),
}
PARAMETERS = st.fixed_dictionaries(
    {
        "kernel": st.sampled_from(
            ["auto", "laplace", "gaussian", "l1_laplace"]
            + [LpqLaplace(p=1.5, q=0.8), GeneralizedLaplace(exponent=0.7), NTK()]
        ),
        "alpha": st.sampled_from(["auto", 0.0, 1e-3, 1.0]),
        "max_iter": st.integers(0, 2),
        "validation": st.sampled_from(["auto", "cv", "loo", "holdout", None]),
        "scaling": st.sampled_from(["auto", "clipped", "quantile", "standard", None]),
        "metric_type": st.sampled_from(["auto", "diag", "full"]),
        "n_components": st.sampled_from([None, 1, 0.9]),
        "bandwidth": st.sampled_from(["median", "3*median", 2.0]),
        "fit_intercept": st.booleans(),
        "center_gradients": st.booleans(),
        "random_state": st.just(0),
    }
)


@st.composite
def tables(draw):
    n = draw(st.one_of(st.integers(1, 8), st.integers(9, 60)))
    frame = draw(st.booleans())
    kinds = draw(
        st.lists(
            st.sampled_from(sorted(COLUMNS if frame else NUMBERS)),
            min_size=1,
            max_size=5,
        )
    )
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    with warnings.catch_warnings():  # pandas warns of levels that are tuples
        warnings.simplefilter("ignore")
        columns = {f"c{k}": COLUMNS[kind](rng, n) for k, kind in enumerate(kinds)}
    X = pd.DataFrame(columns) if frame else np.column_stack(list(columns.values()))
    return X, rng


@st.composite
def problems(draw):
    X, rng = draw(tables())
    n = len(X)
    classifies = draw(st.booleans())
    y = draw(st.sampled_from(sorted(LABELS if classifies else TARGETS)))
    y = (LABELS if classifies else TARGETS)[y](rng, n)
    weight = WEIGHTS[draw(st.sampled_from(sorted(WEIGHTS)))](rng, n)
    parameters = draw(PARAMETERS)
    kind = draw(
        st.sampled_from(["alone", "alone", "alone", "search", "tree", "linear"])
    )
    alone = (RFMClassifier if classifies else RFMRegressor)(**parameters)
    if kind == "search":
        search = RFMClassifierCV if classifies else RFMRegressorCV
        model = search(n_candidates=4, max_iter=1, cv=2, random_state=0)
    elif kind == "tree":
        tree = XRFMClassifier if classifies else XRFMRegressor
        model = tree(alone, max_leaf_size=20, random_state=0)
    else:
        model = alone
    return model, X, y, weight


# -- the properties -------------------------------------------------------------------


def fitted(model, X, y, weight):
    """Return the fitted model, or None after an error that names an argument."""
    try:
        return model.fit(X, y, sample_weight=weight)
    except (ValueError, TypeError) as error:
        message = str(error)
        assert NAMED.search(message), (type(error), message)
        return None


def same(a, b):
    if isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b)
    elif a is not None:
        assert_array_equal(a, b)


def check(model, X, y, weight):
    """Fit; check that the input is as it was, and that predictions are sound."""
    before = copy.deepcopy((X, y, weight))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = fitted(model, X, y, weight)
        for given_array, kept in zip((X, y, weight), before, strict=True):
            same(given_array, kept)
        if fit is None:
            return
        method = getattr(fit, "predict_proba", fit.predict)
        outputs = np.asarray(method(X))
        assert np.isfinite(outputs).all()
        if 0 in {model.get_params().get(k) for k in ("alpha", "estimator__alpha")}:
            return  # coefficients have no bound, and rounding errors none either
        # the prediction of a row does not depend on the other rows of its batch
        row = len(X) // 2
        alone = method(X.iloc[[row]] if isinstance(X, pd.DataFrame) else X[[row]])
    size = np.abs(outputs).max()
    dtypes = [X[c].dtype for c in X] if isinstance(X, pd.DataFrame) else [X.dtype]
    tolerance = 2e-6 if "float32" in map(str, dtypes) else 1e-9
    assert_allclose(alone[0], outputs[row], rtol=tolerance, atol=tolerance * size)


def fuzz(examples):
    """Return the settings of a test with so many examples by default."""
    return settings(
        max_examples=examples if DERANDOMIZE else EXAMPLES,
        derandomize=DERANDOMIZE,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@fuzz(EXAMPLES)
@given(problems())
def test_a_finite_result_or_a_clear_error(problem):
    check(*problem)


LINEAR_PARAMETERS = st.fixed_dictionaries(
    {
        "alpha": st.sampled_from(["auto", 1e-6, 0.1, 10.0]),
        "power": st.sampled_from([0.25, 0.5]),
        "max_iter": st.sampled_from([1, 50]),
        "validation": st.sampled_from(["cv", "loo"]),
        "fit_intercept": st.booleans(),
        "random_state": st.just(0),
    }
)


@fuzz(60)
@given(tables(), LINEAR_PARAMETERS, st.data())
def test_linear_regressors_and_transfer(table, parameters, data):
    X, rng = table
    y = TARGETS[data.draw(st.sampled_from(sorted(TARGETS)))](rng, len(X))
    weight = WEIGHTS[data.draw(st.sampled_from(sorted(WEIGHTS)))](rng, len(X))
    if data.draw(st.booleans()):
        model = LinRFMRegressor(**parameters)
    else:
        kernel = data.draw(st.sampled_from(["laplace", "gaussian"]))
        source = RFMRegressor(kernel=kernel, max_iter=1, random_state=0)
        model = TransferKernel(source, RFMRegressor(max_iter=0), random_state=0)
    check(model, X, y, weight)


@fuzz(60)
@given(tables(), st.data())
def test_completers(table, data):
    X, rng = table
    if data.draw(st.booleans()):
        model = LinRFMCompleter(
            solver=data.draw(
                st.sampled_from(["auto", "exact", "alternating", "two-sided"])
            ),
            max_rank=data.draw(st.sampled_from([None, 1, 3])),
            random_state=0,
        )
        features = {}
    else:
        given_features = data.draw(st.booleans())
        features = {"row_features": rng.normal(size=(len(X), 2))}
        features = features if given_features else {}
        model = NTKMatrixCompleter(center=data.draw(st.booleans()))
    before = copy.deepcopy(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            completed = np.asarray(model.fit_transform(X, **features))
        except (ValueError, TypeError) as error:
            assert NAMED.search(str(error)), (type(error), str(error))
            return
        finally:
            same(X, before)
    assert completed.shape == X.shape and np.isfinite(completed).all()
    observed = ~np.asarray(pd.isna(X))
    numbers = np.where(observed, X, 0).astype(float)
    if model.keep_observed:
        assert_allclose(completed[observed], numbers[observed], rtol=1e-6)
