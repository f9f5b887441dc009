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
