"""The types of arguments and results."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: an array of NumPy, CuPy or another library that follows the array API standard
Array: TypeAlias = Any
#: the namespace of such a library
Namespace: TypeAlias = Any
#: a table: an array, a data frame of pandas or polars, or nested sequences
Table: TypeAlias = Any
#: an array, or what converts to one. ArrayLike, a union of eight types, would fill
#: signatures with itself in the help of every method.
Vector: TypeAlias = Any
FloatArray: TypeAlias = NDArray[np.floating]
IntArray: TypeAlias = NDArray[np.integer]
BoolArray: TypeAlias = NDArray[np.bool_]
#: a seed or generator, as `sklearn.utils.check_random_state` accepts it
Seed: TypeAlias = int | np.random.RandomState | None
