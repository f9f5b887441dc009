"""The parameters of one recursion."""

from dataclasses import dataclass

from .._backend import Kernel

# A full metric mixes a category of up to so many levels with the other columns; the
# levels of a larger one, which would make it much larger, get weights only.
MIXED_LEVELS = 32


@dataclass(frozen=True)
class Candidate:
    """The parameters of one recursion: all that defines it except the data.

    Attributes
    ----------
    kernel : Kernel
    alpha : float
        The ridge.
    bandwidth : float or str
        A number, or a multiple of the median distance such as "3*median".
    max_iter : int
        The last round; round 0 has no metric.
    diagonal : bool
        Whether the metric is diagonal.
    n_components : int, float or None
        Truncation of the metric.
    fit_intercept, center_gradients : bool
    max_agop_samples : int or None
        Rows in the average of the gradient outer products.
    solver : str
    seed : int
        Seeds subsamples of rows.
    category_sizes : tuple of int
        Numbers of levels of the categories, whose columns come last.
    scaling : str or None
        The scaling of the numbers, which decides what columns the rows have.
    """

    kernel: Kernel
    alpha: float
    bandwidth: float | str = "median"
    max_iter: int = 5
    diagonal: bool = False
    n_components: int | float | None = None
    fit_intercept: bool = True
    center_gradients: bool = False
    max_agop_samples: int | None = None
    solver: str = "auto"
    seed: int = 0
    category_sizes: tuple[int, ...] = ()
    scaling: str | None = None

    @property
    def lookup_sizes(self):
        """The sizes of the categories that metrics do not mix, and kernels look up.

        With a full metric these are the large categories only, which come last.
        """
        if self.kernel.of_inner_products:
            return ()
        if self.diagonal:
            # truncation leaves columns out and changes their order
            return self.category_sizes if self.n_components is None else ()
        return tuple(size for size in self.category_sizes if size > MIXED_LEVELS)

    @property
    def n_unmixed(self):
        """The number of columns at the end that a full metric weighs one by one."""
        return 0 if self.diagonal else sum(self.lookup_sizes)
