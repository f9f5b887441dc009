"""The recursion: fit, average the gradient outer products, reweight, repeat."""

from ._centers import fit_centers, size_of_round
from ._placement import clustered_rows, place_centers
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
    fit_round,
    learns_anew,
    next_metric,
    run,
)
from ._system import Workspace, round_agop

__all__ = [
    "Candidate",
    "Distances",
    "PreparedData",
    "Round",
    "Start",
    "Workspace",
    "clustered_rows",
    "fit_centers",
    "fit_round",
    "learns_anew",
    "median_distance",
    "most_gradient_rows",
    "next_metric",
    "parse_bandwidth",
    "place_centers",
    "round_agop",
    "run",
    "shares_distances",
    "size_of_round",
]
