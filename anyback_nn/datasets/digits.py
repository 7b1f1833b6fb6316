"""Handwritten digits that come with the package.

1,797 images of 8 by 8 points with values from 0 to 16: the test part of *Optical Recognition of
Handwritten Digits* by E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning Repository,
https://doi.org/10.24432/C50P49, licensed under CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/). The values are unchanged. The rows were shuffled
once and split, by class, into 1,437 for training and 360 for testing. The file has them in this
order, so that the split never depends on a random generator.
"""

from __future__ import annotations

from importlib import resources

import numpy as np

from anyback_nn.datasets.dataset import Dataset, Part, build_dataset
from anyback_nn.datasets.encoding import Encoding
from anyback_nn.datasets.features import Scaling
from anyback_nn.datasets.targets import fit_target

__all__ = ["DIGITS", "digits_parts", "load_digits"]

DIGITS = Scaling(n_features=64, scale=16.0)


def load_digits() -> Dataset:
    """Load the embedded digits.

    Returns
    -------
    Dataset
        1,437 training and 360 test images, ``x`` from 0 to 1, ten classes.

    References
    ----------
    E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, 1998, UCI Machine
    Learning Repository, https://doi.org/10.24432/C50P49, CC BY 4.0.

    Examples
    --------
    >>> digits = load_digits()
    >>> digits.x_train.shape, digits.x_test.shape, digits.n_outputs
    ((1437, 64), (360, 64), 10)
    """
    train, test = digits_parts()
    encoding = Encoding(DIGITS, fit_target(train.y, "classification"))
    return build_dataset("digits", train, test, encoding)


def digits_parts() -> tuple[Part, Part]:
    """Return the raw training and test part, as `build_dataset` takes them."""
    with (
        resources.files(__package__).joinpath("digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return (
            Part(arrays["x_train"], arrays["y_train"].astype(np.float64)),
            Part(arrays["x_test"], arrays["y_test"].astype(np.float64)),
        )
