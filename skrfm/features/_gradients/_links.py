"""From the outputs of a model to its response, with the chain rule.

A link maps outputs (b, c) and their Jacobian (b, c, d) to those of the response.
"""

import numpy as np
from scipy.special import expit, softmax


def identity(F, J):
    """Return the outputs as they are."""
    return F, J


def exponential(F, J):
    """Return elementwise exponentials, as of models with a logarithmic link."""
    mean = np.exp(F)
    return mean, mean[:, :, None] * J


def logistic(F, J):
    """Return elementwise logistic functions, as of several labels."""
    share = expit(F)
    return share, (share * (1 - share))[:, :, None] * J


def two_classes(F, J):
    """Return probabilities of two classes, of one output that is their log-odds."""
    share, slope = logistic(F, J)
    return np.hstack([1 - share, share]), np.concatenate([-slope, slope], axis=1)


def softmax_of_classes(F, J):
    """Return probabilities of the classes, one output for each."""
    share = softmax(F, axis=1)
    mean = np.einsum("bc,bcd->bd", share, J)
    return share, share[:, :, None] * (J - mean[:, None, :])


def softmax_of_both_signs(F, J):
    """Return probabilities of two classes, a softmax of one output and its negative."""
    return two_classes(2 * F, 2 * J)


def one_versus_rest(F, J):
    """Return logistic functions of the classes, divided by their sum."""
    return shares_of_sum(*logistic(F, J))


def shares_of_sum(F, J):
    """Return the outputs divided by their sum."""
    total = F.sum(axis=1)[:, None]
    share = F / total
    sum_of_slopes = J.sum(axis=1, keepdims=True)
    return share, (J - share[:, :, None] * sum_of_slopes) / total[:, :, None]


def votes_of_pairs(n_classes):
    """Return the link from all pairs of classes to the scores of the classes.

    Scores are the votes, and x / (3 (|x| + 1)) of the sums x of the outputs for each
    class. Votes are constant but for the boundaries of pairs.
    """
    first, second = np.triu_indices(n_classes, k=1)
    pairs = np.arange(len(first))
    signs = np.zeros((n_classes, len(pairs)))
    signs[first, pairs], signs[second, pairs] = 1, -1

    def link(F, J):
        sums = F @ signs.T
        winners = np.where(F >= 0, 1.0, -1.0)
        votes = np.maximum(winners[:, None, :] * signs, 0).sum(axis=2)
        scores = votes + sums / (3 * (np.abs(sums) + 1))
        slope = 1 / (3 * (np.abs(sums) + 1) ** 2)
        return scores, slope[:, :, None] * np.einsum("kp,bpd->bkd", signs, J)

    return link


#: what may be between the margins of a classifier, one or many, and probabilities
LINKS_OF_ONE = (two_classes, softmax_of_both_signs)
LINKS_OF_MANY = (softmax_of_classes, one_versus_rest, logistic)
