"""Callbacks that tests of several estimators use."""

from sklearn.utils._optional_dependencies import check_rich_support


class Recorder:
    """Keeps every task, and the predictions of every fitted estimator it gets."""

    def __init__(self):
        self.begun, self.ended, self.offered = [], [], []
        self.is_set_up = self.is_torn_down = False

    def setup(self, estimator, context):
        self.is_set_up = True

    def teardown(self, estimator, context):
        self.is_torn_down = True

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(context)

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, fitted_estimator=None
    ):
        self.ended.append(context)
        if fitted_estimator is not None:
            self.offered.append((context, fitted_estimator.predict(X), y))

    def rounds(self):
        return [context for context in self.ended if context.task_name == "round"]


class StopAfter:
    """Stops every run after the round with a given number."""

    def __init__(self, number):
        self.number = number

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        return context.task_name == "round" and context.task_id == self.number


def has_rich():
    try:
        check_rich_support("this test")
    except ImportError:
        return False
    return True
