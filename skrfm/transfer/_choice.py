"""Which methods of transfer are possible, and the choice among them."""

import numpy as np

from .._search import mean_excess
from ._methods import fit_models
from ._target import residual_regressor


def possible_methods(estimator, rows):
    """Return the methods that a target model and its TransferRows allow."""
    methods = ["none"]
    has_scores = rows.scores.shape[1] > 0
    if has_scores:
        methods += ["projection", "concat"]
    has_regressor = residual_regressor(estimator) is not None
    if has_regressor and rows.source_outputs is not None:
        methods.append("translation")
    if has_regressor and has_scores:
        methods.append("both")
    return methods


def requested_method(method, methods, *, estimator, source, rows):
    """Return the method that a parameter `method` names, or None for "auto".

    Parameters
    ----------
    method : str
        The parameter.
    methods : list of str
        The possible methods.
    estimator : estimator
        The model of the target.
    source : estimator or None
    rows : TransferRows
    """
    if method == "auto":
        return None
    if method == "outputs":
        order = ("translation", "concat", "none")
        return next(name for name in order if name in methods)
    if method in methods:
        return method
    if source is not None and rows.scores.shape[1] == 0:
        return "none"  # a warning about constant scores was given
    possible = f"Methods that work here: {', '.join(methods)}."
    if source is None:
        raise ValueError(f'method="{method}" needs a source_estimator. {possible}')
    if residual_regressor(estimator) is None:
        kind = type(estimator).__name__
        raise ValueError(
            f'method="{method}" needs a regressor of residual scores, which is known '
            f"for RFMClassifier and not for {kind}. {possible}"
        )
    raise ValueError(
        f'method="{method}" needs a source with the outputs of the target (as many, or '
        f"all its classes). {possible}"
    )


def choose_model(task, methods, rows, y, weight):
    """Fit all methods; return the chosen model, its method, and `cv_results_`."""
    models = fit_models(task, methods, rows, y, weight)
    losses = np.array([task.losses(model.unseen, y) for model in models])
    # rows that every method has an output for
    scored = np.isfinite(losses).all(axis=0)
    weight = np.ones(len(y)) if weight is None else weight.astype(np.float64)
    best, results = compare(
        losses[:, scored],
        weight[scored],
        methods,
        has_fitted_class=task.has_fitted_class(y)[scored],
    )
    results = {"method": np.array(methods), **results}
    return models[best], methods[best], results


def compare(losses, weight, methods, *, has_fitted_class):
    """Return the index of the model to take, and the results of all models.

    A method is taken in place of no transfer if it is better by more than a standard
    error of the difference. Translation is compared first, because no other method is
    as good as the source where there is nothing to correct; the others must be better
    than translation, if that is taken, by more than a standard error in turn.

    Parameters
    ----------
    losses : ndarray of shape (n_models, n)
        Losses of each model on rows that it has not seen.
    weight : ndarray of shape (n,)
    methods : list of str
        The methods of the models; the first is "none".
    has_fitted_class : boolean ndarray of shape (n,)
        Rows on which methods other than translation can be compared with "none".

    Returns
    -------
    best : int
    results : dict of ndarray
        "mean_loss", "mean_gain" and "gain_error".
    """
    gain, error = _gains(losses, weight, base=0)
    results = {"mean_loss": losses @ weight / weight.sum()}
    results |= {"mean_gain": gain, "gain_error": error}
    is_translation = np.array(methods) == "translation"
    best = _best_above(losses, weight, base=0, candidates=is_translation)
    if has_fitted_class.sum() > 1:
        best = _best_above(
            losses[:, has_fitted_class],
            weight[has_fitted_class],
            base=best,
            candidates=~is_translation,
        )
    return best, results


def _best_above(losses, weight, *, base, candidates):
    """Return the candidate of largest gain over a model by more than its error.

    `base` is the index of the model, which is returned if there is no such candidate;
    `candidates` is a mask.
    """
    gain, error = _gains(losses, weight, base=base)
    clear = [i for i in np.flatnonzero(candidates) if gain[i] > error[i]]
    return max(clear, key=lambda i: gain[i], default=base)


def _gains(losses, weight, *, base):
    """Return the mean gains of models over one of them, and their standard errors."""
    pairs = [mean_excess(losses[base], own, weight) for own in losses]
    gains, errors = zip(*pairs, strict=True)
    return np.array(gains), np.array(errors)
