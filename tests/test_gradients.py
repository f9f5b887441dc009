"""AGOP of any estimator: closed forms and differences beside slow references."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import make_column_transformer
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import (
    GaussianProcessClassifier,
    GaussianProcessRegressor,
    kernels,
)
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    SGDClassifier,
)
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, NuSVC
from sklearn.tree import DecisionTreeRegressor

from skrfm import (
    LinRFMRegressor,
    RecursiveFeatures,
    RFMClassifier,
    RFMRegressor,
    TransferKernel,
    XRFMClassifier,
    XRFMRegressor,
)
from skrfm.inspection import agop, agop_alignment, feature_ansatz

# networks of a few iterations are as good as any to differentiate
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
rng = np.random.default_rng(0)
X = rng.normal(size=(60, 3)) * [1.0, 2.0, 0.5] + [0.0, 1.0, 0.0]
Y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]
TWO, THREE = Y > 0, np.digitize(Y, [-0.5, 0.5])
# off the training rows, where kernels such as Laplace have no kink
ROWS = rng.normal(size=(12, 3)) * [1.0, 2.0, 0.5] + [0.0, 1.0, 0.0]


def naive(function, rows, h=1e-3, weight=None):
    """The AGOP by loops, with differences of fourth order."""
    weight = np.ones(len(rows)) if weight is None else weight
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for row, share in zip(rows, weight, strict=True):
        J = []
        for column in range(len(row)):
            step = np.eye(len(row))[column] * h

            def moved(times, row=row, step=step):
                return np.ravel(function((row + times * step)[None, :]))

            J.append((8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * h))
        total += share * np.array(J) @ np.array(J).T
    return total / weight.sum()


def assert_close(found, wanted, share):
    assert np.abs(found - wanted).max() <= share * np.abs(wanted).max()


SMALL_NET = {"hidden_layer_sizes": (8, 5), "max_iter": 20, "random_state": 0}
REGRESSORS = [
    LinearRegression(),
    PoissonRegressor(),
    PLSRegression(2),
    LinRFMRegressor(alpha=0.01),
    MLPRegressor(activation="tanh", **SMALL_NET),
    MLPRegressor(activation="logistic", **SMALL_NET),
    *(SVR(kernel=kernel, gamma=0.05) for kernel in ("rbf", "linear", "poly")),
    SVR(kernel="sigmoid", gamma=0.01),
    *(
        KernelRidge(kernel=kernel, gamma=0.1)
        for kernel in ("rbf", "laplacian", "polynomial", "cosine")
    ),
    KernelRidge(kernel="sigmoid", gamma=0.01, alpha=5.0),
    RFMRegressor(kernel="gaussian", alpha=0.1, max_iter=1, validation=None),
    RFMRegressor(kernel="laplace", alpha=0.1, max_iter=1, validation=None),
    RFMRegressor(kernel="l1_laplace", alpha=0.1, max_iter=1, validation=None),
    RFMRegressor(kernel="ntk", alpha=0.1, max_iter=1, validation=None),
    RFMRegressor(alpha=0.1, cv=2, random_state=0),  # an average of two
    FrozenEstimator(SVR().fit(X, Y)),
    make_pipeline(RobustScaler(), PCA(2), MinMaxScaler(), SVR()),
    make_pipeline(StandardScaler(with_mean=False), MaxAbsScaler(), Ridge()),
    RecursiveFeatures(SVR(), validation=None, max_iter=1),
]
PROCESSES = [
    kernels.RBF([1.0, 2.0, 1.5]),
    *(kernels.Matern(1.2, nu=nu) for nu in (0.5, 1.5, 2.5, np.inf)),
    kernels.Matern([1.2, 1.0, 2.0], nu=1.9),
    kernels.RationalQuadratic(1.2, 0.7),
    kernels.ExpSineSquared(2.0, 9.0) + kernels.WhiteKernel(3.0),
    kernels.DotProduct(1.0) ** 2,
    kernels.ConstantKernel(2.0) * kernels.RBF(1.0) * kernels.DotProduct(0.5),
    kernels.PairwiseKernel(gamma=0.2, metric="laplacian"),
]


@pytest.mark.parametrize("model", REGRESSORS, ids=lambda m: repr(m)[:50])
def test_closed_forms_of_regressors(model):
    y = np.exp(Y / 2) if isinstance(model, PoissonRegressor) else Y
    model.fit(X, y)
    # short steps, since kernels with kinks have none of these derivatives near them
    wanted = naive(model.predict, ROWS, h=3e-6)
    assert_close(agop(model, ROWS, method="analytic"), wanted, 1e-6)


@pytest.mark.parametrize("kernel", PROCESSES, ids=repr)
def test_closed_forms_of_gaussian_processes(kernel):
    model = GaussianProcessRegressor(
        kernel, optimizer=None, alpha=0.1, normalize_y=True
    )
    model.fit(X, np.column_stack([Y, Y**2]))
    wanted = naive(model.predict, ROWS, h=3e-6)
    assert_close(agop(model, ROWS, method="analytic"), wanted, 1e-6)


@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize(
    "kernel",
    [
        kernels.RBF(1.5),
        kernels.Matern([1.2, 1.0, 2.0], nu=1.5) + kernels.WhiteKernel(0.1),
        # of which the variance of a row depends on the row
        kernels.ConstantKernel(0.3) * kernels.DotProduct(1.0) ** 2,
    ],
    ids=repr,
)
def test_closed_forms_of_gaussian_process_classifiers(kernel, y):
    model = GaussianProcessClassifier(kernel, optimizer=None).fit(X, y)
    wanted = naive(model.predict_proba, ROWS, h=1e-3)
    assert_close(agop(model, ROWS, method="analytic"), wanted, 1e-6)


def test_pairs_of_gaussian_process_classifiers_have_no_probabilities():
    model = GaussianProcessClassifier(multi_class="one_vs_one", optimizer=None)
    model.fit(X, THREE)
    with pytest.raises(ValueError, match="one_vs_one"):
        agop(model, ROWS)


@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        SGDClassifier(loss="log_loss", random_state=0),
        LinearDiscriminantAnalysis(),
        LinearSVC(),
        MLPClassifier(activation="tanh", **SMALL_NET),
        SVC(C=2.0),
        SVC(decision_function_shape="ovo"),
        NuSVC(nu=0.2),
        RFMClassifier(
            kernel="gaussian", scaling="clipped", max_iter=1, validation="loo"
        ),
    ],
    ids=lambda m: repr(m)[:40],
)
def test_closed_forms_of_classifiers(model, y):
    model.fit(X, y)
    has_proba = hasattr(model, "predict_proba")
    function = model.predict_proba if has_proba else model.decision_function
    wanted = naive(function, ROWS, h=3e-5)
    assert_close(agop(model, ROWS, method="analytic"), wanted, 1e-6)
    if has_proba and hasattr(model, "decision_function"):
        found = agop(
            model, ROWS, method="analytic", response_method="decision_function"
        )
        assert_close(found, naive(model.decision_function, ROWS, h=3e-5), 1e-6)


@pytest.mark.parametrize(
    "model",
    [
        Ridge(),
        MLPRegressor(activation="tanh", **SMALL_NET),
        SVR(),
        KernelRidge(kernel="rbf", gamma=0.1),
        GaussianProcessRegressor(kernels.RBF(1.5), optimizer=None, alpha=0.1),
    ],
    ids=lambda m: type(m).__name__,
)
def test_differences_are_near_closed_forms(model):
    model.fit(X, Y)
    assert_close(
        agop(model, ROWS, method="differences"),
        agop(model, ROWS, method="analytic"),
        1e-3,
    )


def test_the_scaling_of_a_classifier_by_quantiles_is_smoothed():
    model = RFMClassifier(kernel="gaussian", scaling="quantile", validation="loo")
    model.fit(X, TWO)
    analytic = agop(model, ROWS, method="analytic")
    assert agop_alignment(analytic, agop(model, ROWS, step=0.1)) > 0.99


class Halved(SVR):
    """A subclass that predicts otherwise."""

    def predict(self, X):
        return super().predict(X) / 2


def test_a_subclass_that_predicts_otherwise_is_differentiated_as_it_is():
    model, plain = Halved().fit(X, Y), SVR().fit(X, Y)
    with pytest.raises(ValueError, match="by differences only"):
        agop(model, ROWS, method="analytic")
    assert_close(agop(model, ROWS), agop(plain, ROWS) / 4, 1e-3)


class Stairs(RegressorMixin, BaseEstimator):
    """Constant but for steps of 0.2, of a kind that nobody knows."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):
        return np.floor(5 * np.asarray(X)[:, 0])


def test_predictions_found_to_be_constant_but_for_steps_get_long_steps():
    rows = rng.normal(size=(400, 3))
    G = agop(Stairs().fit(rows), rows)
    assert abs(G[0, 0] - 25) < 3  # the square of the slope of the ramp
    assert np.abs(G - np.diag([G[0, 0], 0, 0])).max() == 0


def test_the_leading_direction_of_any_kind_of_estimator():
    rows = rng.normal(size=(1000, 10))
    y = rows[:, 0] + rows[:, 1] + 0.1 * rng.normal(size=1000)
    wanted = np.zeros(10)
    wanted[:2] = 0.5**0.5
    for model in (
        KNeighborsRegressor(10, weights="distance"),
        SVR(C=10),
        RandomForestRegressor(30, random_state=0),
    ):
        G = agop(model.fit(rows, y), rows, max_samples=300, random_state=0)
        leading = np.linalg.eigh(G)[1][:, -1]
        assert abs(leading @ wanted) > np.cos(np.deg2rad(5)), model


def test_steps_of_a_tree_are_averages_over_deviations():
    tree = DecisionTreeRegressor(max_depth=4, random_state=0).fit(X, Y)
    steps, std = (0.3, 0.7), ROWS.std(axis=0)
    J = np.zeros((len(ROWS), 3))
    for share in steps:
        for column in range(3):
            step = np.eye(3)[column] * share * std
            change = tree.predict(ROWS + step) - tree.predict(ROWS - step)
            J[:, column] += change / (2 * share * std[column]) / len(steps)
    assert_close(agop(tree, ROWS, step=steps), J.T @ J / len(ROWS), 1e-12)


def test_weights_count_as_repeats_and_rows_of_weight_zero_are_absent():
    weight = np.arange(12) % 3
    tree = DecisionTreeRegressor(max_depth=4, random_state=0).fit(X, Y)
    for model in (SVR().fit(X, Y), tree):
        found = agop(model, ROWS, sample_weight=weight)
        assert_close(found, agop(model, np.repeat(ROWS, weight, axis=0)), 1e-10)
    wanted = naive(SVR().fit(X, Y).predict, ROWS, weight=weight)
    assert_close(agop(SVR().fit(X, Y), ROWS, sample_weight=weight), wanted, 1e-6)


def test_memory_is_bounded_and_does_not_change_the_result():
    tree = DecisionTreeRegressor(max_depth=4, random_state=0).fit(X, Y)
    for model in (SVR().fit(X, Y), tree):
        whole = agop(model, X)
        with config_context(working_memory=1e-3):  # a KB
            assert_close(agop(model, X), whole, 1e-10)


def test_only_so_many_rows_are_averaged():
    model = SVR().fit(X, Y)
    few = agop(model, X, max_samples=20, random_state=0)
    assert_close(agop(model, X, max_samples=20, random_state=0), few, 1e-12)
    assert np.abs(few - agop(model, X)).max() > 1e-6
    assert_close(agop(model, X, max_samples=60), agop(model, X), 1e-12)


def test_a_constant_column_has_no_gradient():
    rows = np.column_stack([ROWS, np.ones(12)])
    tree = DecisionTreeRegressor().fit(np.column_stack([X, np.ones(60)]), Y)
    G = agop(tree, rows)
    assert not G[3].any()
    assert G[0, 0] > 0


# -- tables ---------------------------------------------------------------------------


LEAF = {"kernel": "gaussian", "alpha": 0.1, "max_iter": 1, "validation": None}


@pytest.mark.parametrize("temperature", [0.3, 0.1, 0.0])
@pytest.mark.parametrize("scaling", ["clipped", None])
def test_closed_forms_of_trees(temperature, scaling):
    leaf = RFMRegressor(scaling=scaling, **LEAF)
    options = {"max_leaf_size": 16, "temperature": temperature, "random_state": 0}
    tree = XRFMRegressor(leaf, n_trees=2, **options).fit(X, np.stack([Y, Y**2], 1))
    assert tree.n_leaves_ == 8
    rows = ROWS[:6]
    wanted = naive(tree.predict, rows, h=1e-5)
    assert_close(agop(tree, rows, method="analytic"), wanted, 1e-6)
    leaf = RFMClassifier(scaling=scaling, **LEAF)
    for y in (TWO, THREE, np.where(X[:, 0] > 0.3, 2, THREE)):
        model = XRFMClassifier(leaf, **options).fit(X, y)
        wanted = naive(model.predict_proba, rows, h=1e-5)
        assert_close(agop(model, rows, method="analytic"), wanted, 1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_trees_with_categories_by_their_numbers(seed):
    kind = np.where(np.random.default_rng(seed).random(60) > 0.5, "a", "b")
    frame = pd.DataFrame({"one": X[:, 0], "kind": pd.Categorical(kind)})
    frame["two"] = X[:, 1]
    frame.loc[::7, "two"] = np.nan
    tree = XRFMRegressor(RFMRegressor(**LEAF), max_leaf_size=20, random_state=0)
    tree.fit(frame, Y + (kind == "a"))
    found = agop(tree, frame, features=["one", "two"], method="analytic")
    differences = agop(
        tree, frame, features=["one", "two"], method="differences", step=1e-5
    )
    assert_close(found, differences, 1e-4)


SMOOTH = RFMRegressor(scaling="clipped", **LEAF)


@pytest.mark.parametrize("method", ["none", "projection", "concat"])
@pytest.mark.parametrize("response", ["auto", "predict"])
def test_closed_forms_of_transfers(method, response):
    source = MLPRegressor(activation="tanh", **SMALL_NET).fit(X, Y)
    model = TransferKernel(source, SMOOTH, method=method, response=response)
    model.fit(X[:40], np.stack([Y, X[:, 0]], axis=1)[:40])
    wanted = naive(model.predict, ROWS, h=1e-4)
    assert_close(agop(model, ROWS, method="analytic"), wanted, 1e-6)


@pytest.mark.parametrize("method", ["translation", "both"])
def test_closed_forms_of_transfers_with_corrections(method):
    source = SVR(C=3.0).fit(X, Y)
    model = TransferKernel(source, SMOOTH, method=method, random_state=0)
    model.fit(X[:40], (Y + X[:, 0])[:40])
    wanted = naive(model.predict, ROWS, h=1e-4)
    assert_close(agop(model, ROWS, method="analytic"), wanted, 1e-6)


@pytest.mark.parametrize(
    "method", ["none", "projection", "concat", "translation", "both"]
)
@pytest.mark.parametrize("y", [TWO, np.array([2, 0, 1])[THREE]], ids=["two", "three"])
def test_closed_forms_of_transfers_of_classes(method, y):
    # the source has a class more, and classes in another order
    labels = np.where(X[:, 2] > 0.6, 3, y)
    source = LogisticRegression().fit(X, labels)
    target = RFMClassifier(scaling="clipped", **LEAF)
    model = TransferKernel(source, target, method=method, random_state=0)
    model.fit(X[:40], y[:40].astype(int))
    wanted = naive(model.predict_proba, ROWS, h=1e-5)
    assert_close(agop(model, ROWS, method="analytic"), wanted, 1e-6)


def test_transfers_of_other_parts_are_differentiated():
    source = DecisionTreeRegressor(max_depth=4).fit(X, Y)
    model = TransferKernel(source, SMOOTH, method="projection").fit(X, Y)
    with pytest.raises(ValueError, match="by differences only"):
        agop(model, ROWS, method="analytic")
    assert np.isfinite(agop(model, ROWS)).all()
    frame = pd.DataFrame(X, columns=list("abc"))
    model = TransferKernel(SVR().fit(frame, Y), SMOOTH, method="concat").fit(frame, Y)
    assert np.isfinite(agop(model, frame)).all()


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
def test_columns_of_numbers_of_a_data_frame(library):
    kind = np.where(rng.random(60) > 0.5, "a", "b")
    columns = {"one": X[:, 0], "kind": kind, "two": X[:, 1]}
    frame = library.DataFrame(columns)
    encoder = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["kind"]), remainder="passthrough"
    )
    model = make_pipeline(encoder, SVR()).fit(frame, Y + (kind == "a"))
    with pytest.raises(ValueError, match="'kind' of X are no numbers"):
        agop(model, frame)
    found = agop(model, frame[:5], features=["two", "one"])

    def predict(row, kind):
        values = {"one": row[:, 1], "kind": [kind], "two": row[:, 0]}
        return model.predict(library.DataFrame(values))

    wanted = np.mean(
        [
            naive(lambda row, k=k: predict(row, k), X[[i]][:, [1, 0]])
            for i, k in enumerate(kind[:5])
        ],
        axis=0,
    )
    assert_close(found, wanted, 1e-3)


def test_features_are_given_by_index_or_mask():
    model = SVR().fit(X, Y)
    whole = agop(model, ROWS)
    assert_close(
        agop(model, ROWS, features=[2, 0]), whole[np.ix_([2, 0], [2, 0])], 1e-9
    )
    found = agop(model, ROWS, features=[True, False, True])
    assert_close(found, whole[np.ix_([0, 2], [0, 2])], 1e-9)


def test_an_rfm_with_categories_by_its_numbers():
    frame = pd.DataFrame({"one": X[:, 0], "two": X[:, 1]})
    frame["kind"] = pd.Categorical(np.where(rng.random(60) > 0.5, "a", "b"))
    model = RFMRegressor(kernel="gaussian", alpha=0.1, validation="loo", max_iter=1)
    model.fit(frame, Y + (frame["kind"] == "a"))
    found = agop(model, frame, features=["one", "two"], method="analytic")
    differences = agop(model, frame, features=["one", "two"], method="differences")
    assert_close(found, differences, 1e-3)


# -- errors ---------------------------------------------------------------------------


def test_errors_name_the_argument():
    model = SVR().fit(X, Y)
    with pytest.raises(NotFittedError):
        agop(SVR(), X)
    with pytest.raises(ValueError, match="'predict_proba', but SVR has"):
        agop(model, X, response_method="predict_proba")
    with pytest.raises(ValueError, match="'predict', but SVC is a classifier"):
        agop(SVC().fit(X, TWO), X, response_method="predict")
    with pytest.raises(ValueError, match="features has 'four', which is no column"):
        agop(model, X, features=["four"])
    with pytest.raises(ValueError, match="none twice"):
        agop(model, X, features=[0, 0])
    with pytest.raises(ValueError, match="step must be positive"):
        agop(model, X, step=[0.1, -1.0])
    with pytest.raises(ValueError, match="The 'method' parameter of agop"):
        agop(model, X, method="exact")
    with pytest.raises(ValueError, match="non-zero number"):
        agop(model, X, sample_weight=np.zeros(60))


# -- alignment and ansatz -------------------------------------------------------------


def test_the_alignment_is_a_cosine_with_a_power():
    A = rng.normal(size=(4, 4))
    A, B = A @ A.T, np.diag([4.0, 1.0, 1.0, 0.0])
    wanted = np.sum(A * B) / np.linalg.norm(A) / np.linalg.norm(B)
    assert agop_alignment(A, B) == pytest.approx(wanted)
    assert agop_alignment(3 * A @ A, A, power=2) == pytest.approx(1)
    assert agop_alignment(A, 1e200 * A) == pytest.approx(1)
    assert np.isnan(agop_alignment(A, np.zeros((4, 4))))
    with pytest.raises(ValueError, match="same shape"):
        agop_alignment(A, np.eye(3))
    with pytest.raises(ValueError, match="A must be a symmetric matrix"):
        agop_alignment(np.triu(np.ones((3, 3))), np.eye(3))
    with pytest.raises(ValueError, match="power must be positive"):
        agop_alignment(A, B, power=0)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_the_ansatz_compares_weights_with_gradients_by_inputs_of_layers(activation):
    net = MLPRegressor(activation=activation, **SMALL_NET)
    net.fit(X, np.column_stack([Y, Y**2]))
    first, second, last = net.coefs_
    activate = {
        "relu": lambda z: np.maximum(z, 0),
        "tanh": np.tanh,
        "logistic": lambda z: 1 / (1 + np.exp(-z)),
        "identity": lambda z: z,
    }[activation]

    def from_hidden(hidden):
        hidden = activate(hidden @ second + net.intercepts_[1])
        return hidden @ last + net.intercepts_[2]

    inputs = activate(ROWS @ first + net.intercepts_[0])
    G = naive(net.predict, ROWS, h=1e-5), naive(from_hidden, inputs, h=1e-5)
    wanted = [
        agop_alignment(W @ W.T, g, power=0.5)
        for W, g in zip((first, second), G, strict=True)
    ]
    assert feature_ansatz(net, ROWS) == pytest.approx(wanted, abs=1e-6)
    initial = [W - 1 for W in net.coefs_]
    ones = [agop_alignment(np.ones_like(g), g) for g in G]
    found = feature_ansatz(net, ROWS, power=1, initial_coefs=initial)
    assert found == pytest.approx(ones, abs=1e-6)


def test_the_ansatz_of_a_pipeline_and_a_classifier():
    net = MLPClassifier(**SMALL_NET)
    model = make_pipeline(StandardScaler(), net).fit(X, THREE)
    scaled = model[0].transform(X)
    assert feature_ansatz(model, X) == pytest.approx(feature_ansatz(model[1], scaled))
    with pytest.raises(ValueError, match="estimator must be an MLPRegressor"):
        feature_ansatz(SVR().fit(X, Y), X)
    with pytest.raises(ValueError, match="initial_coefs must have the shapes"):
        feature_ansatz(model, X, initial_coefs=[np.ones((2, 2))])
