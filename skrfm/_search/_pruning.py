"""How trials are compared on the validation rows, and which of them end."""

import numpy as np

# `halve` leaves at least so many candidates
_LEAST_HALVED = 4
# Standard errors of the paired difference by which a candidate must lose to end: to
# one of another ridge or exponent, and to any other, which a learned metric may
# overtake.
RIDGE_ERRORS, _OTHER_ERRORS = 2.0, 4.0


def relative_loss(trial, best, weight):
    """Return the mean loss of a trial divided by that of another."""
    own, other = weight @ trial.best.losses, weight @ best.best.losses
    return float(own / other) if other > 0 else np.inf


def drop_worse(trials, number, weight):
    """End trials that lose clearly, by the paired differences of their losses.

    Round 0 ends none: its scores, before any metric, say little about later rounds.
    """
    scored = [trial for trial in trials if trial.best is not None]
    if number == 0 or not scored:
        return
    best = max(scored, key=_best_score)
    for trials_of_path in by_path(scored).values():
        best_of_path = max(trials_of_path, key=_best_score)
        for trial in trials_of_path:
            losses = trial.best.losses
            errors = standard_errors(losses, best_of_path.best.losses, weight)
            lost = errors > RIDGE_ERRORS
            errors = standard_errors(losses, best.best.losses, weight)
            lost = lost or errors > _OTHER_ERRORS
            trial.active = trial.active and not lost


def standard_errors(losses, others, weight):
    """Return by how many standard errors losses exceed others; weights are counts."""
    mean, error = mean_excess(losses, others, weight)
    if mean <= 0:
        return 0.0
    return float(mean / error) if error > 0 else np.inf


def mean_excess(losses, others, weight):
    """Return by how much losses exceed others in the mean, and its standard error."""
    excess, total = losses - others, weight.sum()
    mean = weight @ excess / total
    return mean, np.sqrt(weight @ (excess - mean) ** 2) / total


def by_path(trials):
    """Return ``{path: trials}``: other ridges and exponents are together."""
    paths = {}
    for trial in trials:
        paths.setdefault(trial.candidate.path, []).append(trial)
    return paths


def halve(trials, number, weight=None):
    """End the worse half of the trials that are still active, down to a few.

    Round 0 ends none: its scores, before any metric, say little about later rounds.
    """
    if number == 0:
        return
    active = [trial for trial in trials if trial.active and trial.scores]
    count = max(_LEAST_HALVED, (len(active) + 1) // 2)
    for trial in sorted(active, key=_best_score, reverse=True)[count:]:
        trial.active = False


def _best_score(trial):
    return max(trial.scores)
