"""Points in the plane, most of whose classes no straight line separates."""

from __future__ import annotations

import numpy as np

from anyback_nn.errors import DataError

__all__ = ["make_blobs", "make_circles", "make_moons", "make_spirals", "make_xor"]


def make_xor(
    n_samples: int = 1000, *, noise: float = 0.05, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw points of a square, whose opposite quarters are one class.

    With ``p`` uniform in [-1, 1]²::

        y = (p[0] > 0) xor (p[1] > 0)        x = p + noise * n,   n ~ N(0, 1)

    Parameters
    ----------
    n_samples : int
    noise : float
        Standard deviation of the noise on each coordinate.
    seed : int
        The same seed draws the same points.

    Returns
    -------
    x : ndarray of float32, shape (n_samples, 2)
    y : ndarray of int64, shape (n_samples,)

    Raises
    ------
    DataError
        If there are fewer samples than classes, or if the noise is negative.

    References
    ----------
    M. Minsky and S. Papert, *Perceptrons*, MIT Press, 1969: a single layer cannot learn it.

    Examples
    --------
    >>> x, y = make_xor(4, noise=0.0)
    >>> bool((((x > 0).sum(axis=1) == 1) == y).all())
    True
    """
    rng = _generator(n_samples, 2, noise, seed)
    points = rng.uniform(-1, 1, (n_samples, 2))
    y = ((points[:, 0] > 0) ^ (points[:, 1] > 0)).astype(np.int64)
    return _finish(points, y, noise, rng)


def make_circles(
    n_samples: int = 1000, *, noise: float = 0.1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw two circles, one inside the other.

    With ``t`` in even steps over [0, 1) and the radii 1 (class 0) and 1/2 (class 1)::

        x = r * (cos 2πt, sin 2πt) + noise * n,   n ~ N(0, 1)

    Results and errors are those of `make_xor`.

    Parameters
    ----------
    n_samples : int
    noise : float
        Standard deviation of the noise on each coordinate.
    seed : int
        The same seed draws the same points.

    Examples
    --------
    >>> x, y = make_circles(6, noise=0.0)
    >>> bool(np.allclose(np.hypot(*x.T), np.where(y == 0, 1.0, 0.5)))
    True
    """
    rng = _generator(n_samples, 2, noise, seed)
    y, t = _steps(n_samples, 2, endpoint=False)
    radius = np.where(y == 0, 1.0, 0.5)
    return _finish(_polar(radius, 2 * np.pi * t), y, noise, rng)


def make_moons(
    n_samples: int = 1000, *, noise: float = 0.1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw two interleaving half circles.

    With ``t`` in even steps over [0, 1]::

        class 0:  x = (cos πt, sin πt) + noise * n
        class 1:  x = (1 - cos πt, 1/2 - sin πt) + noise * n,   n ~ N(0, 1)

    Results and errors are those of `make_xor`.

    Parameters
    ----------
    n_samples : int
    noise : float
        Standard deviation of the noise on each coordinate.
    seed : int
        The same seed draws the same points.

    Examples
    --------
    >>> x, y = make_moons(100, noise=0.0)
    >>> float(x[y == 0, 1].min()) >= 0, float(x[y == 1, 1].max())
    (True, 0.5)
    """
    rng = _generator(n_samples, 2, noise, seed)
    y, t = _steps(n_samples, 2, endpoint=True)
    moon = _polar(np.ones(n_samples), np.pi * t)
    points = np.where(y[:, None] == 0, moon, np.array([1.0, 0.5]) - moon)
    return _finish(points, y, noise, rng)


def make_spirals(
    n_samples: int = 1000, *, n_classes: int = 3, noise: float = 0.03, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw spiral arms that wind around each other once.

    With ``t`` in even steps over [0, 1] and ``r = 0.1 + 0.9 t``, for class k of K::

        x = r * (cos 2π(t + k/K), sin 2π(t + k/K)) + noise * n,   n ~ N(0, 1)

    Results and errors are those of `make_xor`.

    Parameters
    ----------
    n_samples : int
    n_classes : int
        The number of arms, K, at least 2.
    noise : float
        Standard deviation of the noise on each coordinate.
    seed : int

    References
    ----------
    K. J. Lang and M. J. Witbrock, "Learning to tell two spirals apart", 1988.

    Examples
    --------
    >>> x, y = make_spirals(300, n_classes=3)
    >>> x.shape, np.bincount(y).tolist()
    ((300, 2), [100, 100, 100])
    """
    rng = _generator(n_samples, n_classes, noise, seed)
    y, t = _steps(n_samples, n_classes, endpoint=True)
    return _finish(_polar(0.1 + 0.9 * t, 2 * np.pi * (t + y / n_classes)), y, noise, rng)


def make_blobs(
    n_samples: int = 1000, *, n_classes: int = 3, noise: float = 0.5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw round clouds whose centres are on a circle of radius 2.

    For class k of K::

        x = 2 * (cos 2πk/K, sin 2πk/K) + noise * n,   n ~ N(0, 1)

    Results and errors are those of `make_xor`.

    Parameters
    ----------
    n_samples : int
    n_classes : int
        The number of clouds, K, at least 2.
    noise : float
        Standard deviation of the noise on each coordinate.
    seed : int
        The same seed draws the same points.

    Examples
    --------
    >>> x, y = make_blobs(8, n_classes=4, noise=0.0)
    >>> bool(np.allclose(x[y == 0], [2, 0])), np.bincount(y).tolist()
    (True, [2, 2, 2, 2])
    """
    rng = _generator(n_samples, n_classes, noise, seed)
    y = np.arange(n_samples) % n_classes
    return _finish(_polar(np.full(n_samples, 2.0), 2 * np.pi * y / n_classes), y, noise, rng)


def _generator(n_samples: int, n_classes: int, noise: float, seed: int) -> np.random.Generator:
    if n_classes < 2:
        raise DataError(f"n_classes is {n_classes}: expected at least 2")
    if n_samples < n_classes:
        raise DataError(f"n_samples is {n_samples}: expected at least one of each {n_classes}")
    if not noise >= 0:
        raise DataError(f"noise is {noise}: expected 0 or a positive standard deviation")
    return np.random.default_rng(seed)


def _steps(n_samples: int, n_classes: int, *, endpoint: bool) -> tuple[np.ndarray, np.ndarray]:
    """Assign the samples to the classes in turn, and space each class evenly over [0, 1]."""
    y = np.arange(n_samples) % n_classes
    in_class = np.bincount(y)[y]
    last = np.maximum(in_class - endpoint, 1)
    return y, (np.arange(n_samples) // n_classes) / last


def _polar(radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _finish(
    points: np.ndarray, y: np.ndarray, noise: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Add the noise and shuffle."""
    x = points + noise * rng.standard_normal(points.shape)
    order = rng.permutation(len(y))
    return x[order].astype(np.float32), y[order].astype(np.int64)
