"""The parameters of a recursion, and where it begins."""

from dataclasses import dataclass
from functools import cached_property

from .._backend import Kernel
from ..agop import FeatureMetric

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
    max_agop_samples : int, "auto" or None
        Rows in the average of the gradient outer products.
    solver : str
    seed : int
        Seeds subsamples of rows.
    category_sizes : tuple of int
        Numbers of levels of the categories, whose columns come last.
    scaling : str or None
        The scaling of the numbers, which decides what columns the rows have.
    weight_unit : float
        What the weights of the user were divided by, and so `alpha` is.
    level_statistics : {"targets", "targets+numbers"} or None
        Statistics of the levels of large categories, in columns before the levels.
    n_centers : int or None
        The number of rows that are centres of the kernel machine; None takes all.
    early_rows : int or None
        Rounds before the last one, if they are not scored, are fitted to a sample of at
        most so many rows, and to half of them before the last of these; None takes
        all.
    """

    kernel: Kernel
    alpha: float
    bandwidth: float | str = "median"
    max_iter: int = 5
    diagonal: bool = False
    n_components: int | float | None = None
    fit_intercept: bool = True
    center_gradients: bool = False
    max_agop_samples: int | str | None = None
    solver: str = "auto"
    seed: int = 0
    category_sizes: tuple[int, ...] = ()
    scaling: str | None = None
    weight_unit: float = 1.0
    level_statistics: str | None = None
    n_centers: int | None = None
    early_rows: int | None = None

    def has_centers(self, n_rows):
        """Return whether fewer than so many rows are centres."""
        return self.n_centers is not None and self.n_centers < n_rows

    @cached_property
    def kernel_name(self):
        """The kernel as it is shown, a string that takes long to make."""
        return repr(self.kernel)

    @property
    def path(self):
        """What a candidate shares with those of other ridges and exponents."""
        kernel = self.kernel
        norm = self.kernel_name if kernel.of_inner_products else kernel.norm_order
        kind = kernel.coordinatewise, self.diagonal
        return norm, *kind, self.scaling, self.level_statistics

    @property
    def ridge(self):
        """The ridge of a row of weight 1."""
        return self.alpha / self.weight_unit

    @property
    def lookup_sizes(self):
        """The sizes of the categories that metrics do not mix, and kernels look up.

        With a full metric these are the large categories only, which come last.
        """
        if self.kernel.of_inner_products:
            return ()
        if self.diagonal:
            return self.category_sizes
        return tuple(size for size in self.category_sizes if size > MIXED_LEVELS)

    @property
    def n_unmixed(self):
        """The number of columns at the end that a full metric weighs one by one."""
        return 0 if self.diagonal else sum(self.lookup_sizes)


@dataclass(frozen=True)
class Start:
    """Where a recursion begins: the number of its first round, and the metric there.

    A metric that was learned on some of the rows saves the rounds before.
    """

    number: int = 0
    metric: FeatureMetric = FeatureMetric()
