"""From what a user passes to arrays: reading, encoding and scaling tables."""

from ._blocks import RowBlocks
from ._data import ClassTargets, Data, NumericTargets, validate_weight, weight_unit_of
from ._device import (
    DEVICES,
    InnerDeviceMixin,
    Placement,
    check_n_jobs,
    from_gpu,
    outer_placement_of,
    placement_of,
    require_same_placement,
    to_host,
)
from ._level_statistics import LEVEL_STATISTICS, LevelStatistics, kinds_of_statistics
from ._limits import (
    BYTES_OF_PAIR,
    most_centers,
    resolve_centers,
    rows_in_memory,
    rows_of_leaf,
    search_rows,
)
from ._names import names_of_columns
from ._predictions import HostScoreMixin, in_batches
from ._reader import (
    MAX_LEVELS,
    TableReader,
    needs_reading,
    read_numbers,
    refuse_dates,
    values_of_column,
)
from ._sampled import SampledTable, sample_large_table
from ._stream import find_source, in_memory, rows_of_block, validate_or_stream
from ._table import SCALINGS, Coding, TableEncoder, moments
from ._validation import (
    TrainingSet,
    TrainingTable,
    read_rows,
    read_training,
    validate_numbers,
    validate_rows,
    validate_training,
    validate_validation_set,
)

__all__ = [
    "BYTES_OF_PAIR",
    "DEVICES",
    "LEVEL_STATISTICS",
    "MAX_LEVELS",
    "SCALINGS",
    "ClassTargets",
    "Coding",
    "Data",
    "HostScoreMixin",
    "InnerDeviceMixin",
    "LevelStatistics",
    "NumericTargets",
    "Placement",
    "RowBlocks",
    "SampledTable",
    "TableEncoder",
    "find_source",
    "values_of_column",
    "TableReader",
    "TrainingSet",
    "TrainingTable",
    "check_n_jobs",
    "from_gpu",
    "in_batches",
    "in_memory",
    "kinds_of_statistics",
    "moments",
    "most_centers",
    "names_of_columns",
    "needs_reading",
    "outer_placement_of",
    "placement_of",
    "read_numbers",
    "read_rows",
    "read_training",
    "refuse_dates",
    "require_same_placement",
    "resolve_centers",
    "rows_in_memory",
    "rows_of_block",
    "rows_of_leaf",
    "sample_large_table",
    "search_rows",
    "to_host",
    "validate_numbers",
    "validate_or_stream",
    "validate_rows",
    "validate_training",
    "validate_validation_set",
    "validate_weight",
    "weight_unit_of",
]
