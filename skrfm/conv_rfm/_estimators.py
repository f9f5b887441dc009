"""The convolutional Recursive Feature Machine as a regressor and a classifier."""

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, MultiOutputMixin, RegressorMixin

from .._backend import FloatArray, Table
from .._search import Calibration, ClassificationCriterion
from .._tables import ClassTargets
from ._base import BaseConvRFM


class ConvRFMRegressor(MultiOutputMixin, RegressorMixin, BaseConvRFM):
    """Regression on images with a learned metric of their patches.

    A Recursive Feature Machine of patches [1]_. It alternates between kernel ridge
    regression, with the tangent kernel of a convolutional network whose first layer
    sees patches through a metric, and a new metric: the average over images and their
    patches of the outer products of the gradients of the predictor in a patch. Its
    eigenvectors resemble edge detectors on natural images.

    Parameters
    ----------
    image_shape : tuple of int, default=None
        (height, width) or (height, width, n_channels) of images that are passed as
        rows of pixels. None takes the shape of images with three or four axes. Without
        it rows of pixels are square images of one channel, if their number is a
        square, and otherwise images of one row.
    patch_size : int, default=3
        Height and width of the patches, and of the windows of later convolutions.
    depth : int, default=2
        Number of convolutions of the network, each followed by a ReLU.
    padding : {"same", "valid", "circular"}, default="same"
        What patches have beyond the border: zeros, nothing (each convolution makes the
        image smaller) or the opposite side of the image.
    pool_size : int or "global", default=1
        Height and width of the windows over which the last convolution is averaged
        before the readout [2]_. With 1 the kernel compares pixels of equal position;
        with more, pixels that are up to ``pool_size - 1`` apart in each direction, so
        that small shifts matter less; with "global" all pairs of pixels, so that it
        hardly matters where something is. The time grows with the number of such
        distances, ``(2 * pool_size - 1) ** 2``.
    max_iter : int, default=3
        Number of updates of the metric in each layer. With 0 the model is ridge
        regression with the kernel :class:`~skrfm.kernels.CNTK`, whose readout is
        "flatten" for ``pool_size=1`` and "mean" for "global".
    alphas : array-like of float or "auto", default="auto"
        Ridges to choose from, on the diagonal of a kernel matrix that is divided by the
        mean of its diagonal. ``"auto"`` is the powers of ten from 1e-6 to 10, and half
        a power beside the best of them. A warning tells where the best of given ridges
        is at an edge and clearly better than the next.
    fit_intercept : bool, default=True
        Whether the weighted mean of the targets is subtracted before the fit and added
        to the predictions.
    n_layers : int, default=1
        With more than one layer, the images are filtered by random filters that are
        drawn from N(0, M), M being the metric of the layer, and negative responses are
        set to 0. The next layer learns a metric of the patches of these images. The
        last layer is the one with the best leave-one-out score.
    n_filters : int, default=32
        Number of random filters between two layers.
    max_agop_samples : int or None, default=50
        The largest number of images, drawn at random, over which outer products of
        gradients are averaged. None takes all. As each has many patches, few are
        enough: the accuracy is the same with 200, at twice the cost of the fit.
    random_state : int, RandomState or None, default=None
        Seed of the images of the average, and of the random filters.
    device : {"cpu", "cuda", None}, default=None
        Device of the computation: ``"cuda"`` is a GPU, by CuPy, and ``"cpu"`` the host.
        None follows the images of each call: arrays of CuPy are computed on the GPU,
        and their predictions are such arrays. Fitted attributes are arrays of NumPy.

    Attributes
    ----------
    metric_ : ndarray of shape (n_patch, n_patch)
        The metric M of the patches of the images, scaled to a largest diagonal entry
        of 1; ``n_patch = patch_size * patch_size * n_channels``. The identity for
        round 0. With several layers that of the best round of the first.
    filters_ : ndarray of shape (n_patch, patch_size, patch_size, n_channels)
        The eigenvectors of the metric as images, by falling eigenvalues; for round 0,
        of the average gradient outer product of the predictor.
    eigenvalues_ : ndarray of shape (n_patch,)
        Their eigenvalues, as shares of the largest.
    alpha_ : float
        The chosen ridge.
    best_iter_ : int
        The round that was kept; 0 is before any metric was learned.
    best_layer_ : int
        The layer that was kept; 0 is the one of the images themselves.
    n_iter_ : int
        Number of rounds that were fitted in all layers.
    history_ : dict of ndarrays
        Columns ``layer``, ``iter``, ``alpha``, ``seconds`` and ``score`` (the
        leave-one-out R²) of all rounds.
    image_shape_ : tuple of (int, int, int)
        Height, width and number of channels of the images.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X has names that are all strings.

    See Also
    --------
    ConvRFMClassifier : The classifier.
    skrfm.kernels.CNTK : The kernel of round 0.

    Notes
    -----
    The ridge and the round are chosen by leave-one-out residuals in closed form, of
    training images alone. The metric of a late round has seen the image that is left
    out, so that scores of late rounds are optimistic; a metric of patches has few
    parameters, and on digits the accuracy on new images rose with them.

    The kernel matrix takes the square of the number of images in memory, and its
    decomposition the cube in time; pairs of images cost pixels times layers, times the
    distances of `pool_size`. That suits up to some thousand small images. Predictions
    compare new images with all training images, in blocks, whose memory does not grow
    with the number of new ones.

    Pixels are not centred or scaled. All is computed in float64; outputs have the
    precision of X.

    References
    ----------
    .. [1] D. Beaglehole, A. Radhakrishnan, P. Pandit and M. Belkin, "Mechanism of
       feature learning in convolutional neural networks", arXiv:2309.00570, 2023.
    .. [2] Z. Li, R. Wang, D. Yu, S. S. Du, W. Hu, R. Salakhutdinov and S. Arora,
       "Enhanced convolutional neural tangent kernels", arXiv:1911.00809, 2019.

    Examples
    --------
    The frequency of a wave, whatever its phase:

    >>> import numpy as np
    >>> from skrfm import ConvRFMRegressor
    >>> rng = np.random.default_rng(0)
    >>> y, phase = rng.uniform(0, 1, 100), rng.uniform(0, 6, 100)
    >>> angle = y[:, None, None] * np.arange(8) + phase[:, None, None]
    >>> X = np.sin(angle + np.arange(8)[:, None])
    >>> model = ConvRFMRegressor(max_iter=1, random_state=0).fit(X[:80], y[:80])
    >>> model.score(X[80:], y[80:]) > 0.9
    True
    """

    def predict(self, X: Table) -> FloatArray:
        """Predict the targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width[, n_channels]) or \
                (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        return self._decoded(X)


class ConvRFMClassifier(ClassifierMixin, BaseConvRFM):
    """Classification of images with a learned metric of their patches.

    A Recursive Feature Machine of patches [1]_. It alternates between kernel ridge
    regression, with the tangent kernel of a convolutional network whose first layer
    sees patches through a metric, and a new metric: the average over images and their
    patches of the outer products of the gradients of the predictor in a patch. Its
    eigenvectors resemble edge detectors on natural images.

    Parameters
    ----------
    image_shape : tuple of int, default=None
        (height, width) or (height, width, n_channels) of images that are passed as
        rows of pixels. None takes the shape of images with three or four axes. Without
        it rows of pixels are square images of one channel, if their number is a
        square, and otherwise images of one row.
    patch_size : int, default=3
        Height and width of the patches, and of the windows of later convolutions.
    depth : int, default=2
        Number of convolutions of the network, each followed by a ReLU.
    padding : {"same", "valid", "circular"}, default="same"
        What patches have beyond the border: zeros, nothing (each convolution makes the
        image smaller) or the opposite side of the image.
    pool_size : int or "global", default=1
        Height and width of the windows over which the last convolution is averaged
        before the readout [2]_. With 1 the kernel compares pixels of equal position;
        with more, pixels that are up to ``pool_size - 1`` apart in each direction, so
        that small shifts matter less; with "global" all pairs of pixels, so that it
        hardly matters where something is. The time grows with the number of such
        distances, ``(2 * pool_size - 1) ** 2``.
    max_iter : int, default=3
        Number of updates of the metric in each layer. With 0 the model is ridge
        regression with the kernel :class:`~skrfm.kernels.CNTK`, whose readout is
        "flatten" for ``pool_size=1`` and "mean" for "global".
    alphas : array-like of float or "auto", default="auto"
        Ridges to choose from, on the diagonal of a kernel matrix that is divided by the
        mean of its diagonal. ``"auto"`` is the powers of ten from 1e-6 to 10, and half
        a power beside the best of them. A warning tells where the best of given ridges
        is at an edge and clearly better than the next.
    fit_intercept : bool, default=True
        Whether the weighted mean of the targets is subtracted before the fit and added
        to the predictions.
    n_layers : int, default=1
        With more than one layer, the images are filtered by random filters that are
        drawn from N(0, M), M being the metric of the layer, and negative responses are
        set to 0. The next layer learns a metric of the patches of these images. The
        last layer is the one with the best leave-one-out score.
    n_filters : int, default=32
        Number of random filters between two layers.
    max_agop_samples : int or None, default=50
        The largest number of images, drawn at random, over which outer products of
        gradients are averaged. None takes all. As each has many patches, few are
        enough: the accuracy is the same with 200, at twice the cost of the fit.
    random_state : int, RandomState or None, default=None
        Seed of the images of the average, and of the random filters.
    device : {"cpu", "cuda", None}, default=None
        Device of the computation: ``"cuda"`` is a GPU, by CuPy, and ``"cpu"`` the host.
        None follows the images of each call: arrays of CuPy are computed on the GPU,
        and their predictions are such arrays. Fitted attributes are arrays of NumPy.

    Attributes
    ----------
    metric_ : ndarray of shape (n_patch, n_patch)
        The metric M of the patches of the images, scaled to a largest diagonal entry
        of 1; ``n_patch = patch_size * patch_size * n_channels``. The identity for
        round 0. With several layers that of the best round of the first.
    filters_ : ndarray of shape (n_patch, patch_size, patch_size, n_channels)
        The eigenvectors of the metric as images, by falling eigenvalues; for round 0,
        of the average gradient outer product of the predictor.
    eigenvalues_ : ndarray of shape (n_patch,)
        Their eigenvalues, as shares of the largest.
    alpha_ : float
        The chosen ridge.
    best_iter_ : int
        The round that was kept; 0 is before any metric was learned.
    best_layer_ : int
        The layer that was kept; 0 is the one of the images themselves.
    n_iter_ : int
        Number of rounds that were fitted in all layers.
    history_ : dict of ndarrays
        Columns ``layer``, ``iter``, ``alpha``, ``seconds`` and ``score`` (minus the
        leave-one-out log-loss at the best calibration)
        of all rounds.
    image_shape_ : tuple of (int, int, int)
        Height, width and number of channels of the images.
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X has names that are all strings.

    See Also
    --------
    ConvRFMRegressor : The regressor.
    skrfm.kernels.CNTK : The kernel of round 0.

    Notes
    -----
    The ridge and the round are chosen by leave-one-out residuals in closed form, of
    training images alone. The metric of a late round has seen the image that is left
    out, so that scores of late rounds are optimistic; a metric of patches has few
    parameters, and on digits the accuracy on new images rose with them.

    The kernel matrix takes the square of the number of images in memory, and its
    decomposition the cube in time; pairs of images cost pixels times layers, times the
    distances of `pool_size`. That suits up to some thousand small images. Predictions
    compare new images with all training images, in blocks, whose memory does not grow
    with the number of new ones.

    Pixels are not centred or scaled. All is computed in float64; outputs have the
    precision of X.

    References
    ----------
    .. [1] D. Beaglehole, A. Radhakrishnan, P. Pandit and M. Belkin, "Mechanism of
       feature learning in convolutional neural networks", arXiv:2309.00570, 2023.
    .. [2] Z. Li, R. Wang, D. Yu, S. S. Du, W. Hu, R. Salakhutdinov and S. Arora,
       "Enhanced convolutional neural tangent kernels", arXiv:1911.00809, 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrfm import ConvRFMClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X = X.reshape(-1, 8, 8) / 16
    >>> model = ConvRFMClassifier(max_iter=1, random_state=0).fit(X[:400], y[:400])
    >>> model.filters_.shape
    (9, 3, 3, 1)
    >>> round(model.score(X[-200:], y[-200:]), 2)
    0.9
    """

    _criterion = ClassificationCriterion()
    _multi_output = False

    def _fit_targets(self, y, weight):
        targets = ClassTargets.fit(y, weight, name=type(self).__name__)
        self.classes_ = targets.classes
        return targets

    def _calibrate(self, outputs, targets):
        known = outputs, targets.Y, targets.weight
        return Calibration.fit(*known).with_curve(*known)

    def decision_function(self, X: Table) -> FloatArray:
        """Return the outputs of the kernel machine.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width[, n_channels]) or \
                (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            One score per class; for two classes the score of the second class, whose
            sign decides.
        """
        return self._decoded(X)

    def predict(self, X: Table) -> np.ndarray:
        """Predict class labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width[, n_channels]) or \
                (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        outputs, placement = self._outputs(X)
        targets: Any = self._coding
        return placement.labels_to_caller(targets.labels(outputs))

    def predict_proba(self, X: Table) -> FloatArray:
        """Predict class probabilities.

        The outputs are calibrated as those of :class:`~skrfm.RFMClassifier`, on
        leave-one-out outputs of the kept round, which are optimistic.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width[, n_channels]) or \
                (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        outputs, placement = self._outputs(X)
        proba = self._calibration.probabilities(outputs).astype(outputs.dtype)
        return placement.to_caller(proba)
