"""What works with NumPy, and on a GPU fails, or waits: code as it is written every day."""

import numpy as np
from array_api_compat import array_namespace


def medians(x):
    """Compute the median of every row, which the standard has no function for."""
    return np.median(x, axis=1)


def within_unit(x):
    """Scale an array down so that nothing in it is larger than 1."""
    largest = array_namespace(x).max(x)
    if largest > 1:
        x = x / largest
    return x
