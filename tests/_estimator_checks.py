"""Estimator checks of scikit-learn, also those that are for its own estimators only."""

from functools import partial
from unittest import SkipTest

import pytest
from sklearn.utils import estimator_checks

# scikit-learn runs them for its own estimators only
EXTRA_CHECKS = [
    "check_dataframe_column_names_consistency",
    "check_param_validation",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_inplace_ensure_writeable",
]

# What is checked of results, dtypes, parameters, and too little data, which remains for
# long searches. The others pass what a fit reads in other ways, and it reads that alike
# whatever its parameters are.
CHECKS_OF_RESULTS = {
    "check_class_weight_classifiers",
    "check_classifiers_one_label",
    "check_classifiers_one_label_sample_weights",
    "check_classifiers_train",
    "check_decision_proba_consistency",
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_estimator_cloneable",
    "check_estimators_dtypes",
    "check_estimators_overwrite_params",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_fit_idempotent",
    "check_get_params_invariance",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_no_attributes_set_in_init",
    "check_non_transformer_estimators_n_iter",
    "check_parameters_default_constructible",
    "check_regressor_multioutput",
    "check_regressors_train",
    "check_sample_weight_equivalence_on_dense_data",
    "check_set_params",
    "check_transformer_general",
    "check_transformer_n_iter",
    "check_transformer_preserve_dtypes",
}
assert all(hasattr(estimator_checks, name) for name in CHECKS_OF_RESULTS)


def parametrize_with_checks(estimators, *, keep=None, **options):
    """Parametrise a test by scikit-learn's function of this name.

    The name of an estimator is made once, and not for each of its checks.

    Parameters
    ----------
    estimators : list of estimators
    keep : callable, default=None
        Maps (estimator, check) to whether the pair is tested.
    **options
        Those of scikit-learn's function.
    """
    arguments, pairs = estimator_checks.parametrize_with_checks(
        estimators, **options
    ).args
    names, kept = {}, []
    for pair in pairs:
        estimator, check = getattr(pair, "values", pair)
        if keep is None or keep(estimator, check):
            if id(estimator) not in names:
                names[id(estimator)] = "".join(repr(estimator).split())
            test = f"{names[id(estimator)]}-{name_of(check)}"
            for mark in getattr(pair, "marks", ()):  # of a check that has to fail
                check = partial(failing, check, mark.kwargs["reason"])
            kept.append(pytest.param(estimator, check, id=test))
    return pytest.mark.parametrize(arguments, kept)


def failing(check, reason, estimator):
    """Run a check that has to fail, and report the reason.

    pytest reports what is marked as failing too, but for each it formats a traceback
    that nobody sees, which takes most of the time of these tests.
    """
    try:
        check(estimator)
    except SkipTest:
        raise
    except Exception:
        has_failed = True
    else:
        has_failed = False
    assert has_failed, f"This check passes, and should fail: {reason}"
    pytest.xfail(reason)


def name_of(check):
    """Return the name of a check and its options; its repr has an address in it."""
    options = ",".join(f"{key}={value}" for key, value in check.keywords.items())
    return f"{check.func.__name__}({options})" if options else check.func.__name__
