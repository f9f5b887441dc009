"""The recursion: fit, average the gradient outer products, reweight, repeat."""

from ._prepared import (
    Distances,
    PreparedData,
    median_distance,
    most_gradient_rows,
    parse_bandwidth,
    shares_distances,
)
from ._rounds import (
    Candidate,
    Round,
    Start,
    Workspace,
    fit_round,
    next_metric,
    round_agop,
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
    "median_distance",
    "most_gradient_rows",
    "next_metric",
    "parse_bandwidth",
    "round_agop",
    "run",
    "shares_distances",
]
