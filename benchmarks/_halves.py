"""The open tables in two halves, fixed before any default was chosen.

Defaults are chosen by what they do on `CHOOSING`; what is claimed of them comes
from `REPORTING`. Tables of one origin (Brazilian houses, bank marketing,
California housing) share a half. The halves were drawn at random within
regression and classification and must not be changed.
"""

CHOOSING = (
    "abalone_reg",
    "adult_raw",
    "analcatdata_supreme",
    "bike_sharing_demand",
    "california_clf",
    "churn_modelling",
    "cmc_raw",
    "cpu_act",
    "geo_origin_music",
    "heloc",
    "houses",
    "mozilla4",
    "phoneme",
    "qsar_biodeg",
    "sick",
    "uciR_gas",
    "uciR_keggdirected",
    "uciR_kin40k",
    "visualizing_soil",
    "wind",
    "yprop_4_1",
)
REPORTING = (
    "bank_marketing_num",
    "bank_marketing_raw",
    "brazil_rent",
    "brazilian_houses",
    "car_msrp",
    "coil2000",
    "colleges_usnews",
    "credit_g_raw",
    "default_credit_card",
    "diabetes130us",
    "elevators",
    "first_order_theorem_proving",
    "magic_telescope",
    "miami_housing",
    "mv",
    "seattlecrime6",
    "space_ga",
    "uciR_parkinsons",
    "uciR_protein",
    "uciR_sml",
)
HALVES = {"choosing": CHOOSING, "reporting": REPORTING}
