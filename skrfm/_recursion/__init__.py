"""The recursion: fit, average the gradient outer products, reweight, repeat."""

from ._distances import Distances, parse_bandwidth
from ._rounds import (
    Candidate,
    PreparedData,
    Round,
    Start,
    Workspace,
    fit_round,
    next_metric,
    run,
)

__all__ = [
    "Candidate",
    "Distances",
    "PreparedData",
    "Round",
    "Start",
    "Workspace",
    "fit_round",
    "next_metric",
    "parse_bandwidth",
    "run",
]
