"""A fit that fails leaves the estimator as it was."""

from contextlib import contextmanager


@contextmanager
def restored_on_error(estimator):
    """Give the estimator back what it had, if an error ends the block."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        # the attributes of scikit-learn's callbacks are still to be torn down
        kept = {k: v for k, v in vars(estimator).items() if "callback" in k}
        vars(estimator).clear()
        vars(estimator).update(before | kept)
        raise
