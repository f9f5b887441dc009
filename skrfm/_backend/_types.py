"""The types of arguments and results."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: an array of NumPy, CuPy or another library that follows the array API standard
Array: TypeAlias = Any
#: the namespace of such a library
Namespace: TypeAlias = Any
#: a table: an array, a data frame of pandas or polars, or nested sequences
Table: TypeAlias = Any
#: an array, or what converts to one
Vector: TypeAlias = ArrayLike | Array
FloatArray: TypeAlias = NDArray[np.floating]
IntArray: TypeAlias = NDArray[np.integer]
BoolArray: TypeAlias = NDArray[np.bool_]
#: a seed or generator, as `sklearn.utils.check_random_state` accepts it
Seed: TypeAlias = int | np.random.RandomState | None
