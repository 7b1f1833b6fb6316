"""Select the array library and the device that compute.

A backend is named by a spec, ``NAME`` or ``NAME:DEVICE``: ``"numpy"``, ``"cupy"``, ``"cupy:1"``,
``"torch"``, ``"torch:cuda:0"``, ``"jax"``, ``"array-api-strict:device1"``. `select` turns the spec
into a `Backend` that is known to work; everything else in the package asks the arrays themselves
(``array_namespace(x)``) and the array API standard.

`BACKENDS` is the one declaration of what is supported: the test sessions, the test fixtures and the
table in the README are built from it. All that is particular to one library is in the module named
after it, which is imported when that library is selected.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import array_api_compat

from anyback_nn.array_api import Array
from anyback_nn.backends.base import Backend, load
from anyback_nn.backends.libraries import BACKENDS
from anyback_nn.errors import BackendUnavailableError
from anyback_nn.utils.messages import did_you_mean

__all__ = ["BACKENDS", "ENVIRONMENT_VARIABLE", "Backend", "list_imported", "select", "select_for"]

ENVIRONMENT_VARIABLE = "ANYBACK_NN_BACKEND"
"""The environment variable that names the backend if no argument does."""


def select(
    spec: str | Backend | None = None,
    *,
    masks_on_device: bool | None = None,
    tf32: bool | None = None,
) -> Backend:
    """Select the backend that computes.

    Parameters
    ----------
    spec : str or Backend, optional
        ``NAME`` or ``NAME:DEVICE``. Default: the environment variable ``ANYBACK_NN_BACKEND``; if
        unset, ``"numpy"``.
    masks_on_device : bool, optional
        Whether dropout masks are computed on the device, see `Backend`. Default: as the given
        backend, if it is one, else False.
    tf32 : bool, optional
        Whether products may be computed in TF32, see `Backend`. Default: as the given backend, if
        it is one, else False.

    Returns
    -------
    Backend
        A backend that can compute on this machine.

    Raises
    ------
    ValueError
        The name is not one of `BACKENDS`.
    BackendUnavailableError
        The library is not installed, or has no driver, no device or not that device, or no TF32.

    Examples
    --------
    >>> backend = select("numpy")
    >>> backend.spec, backend.asarray([1, 2], dtype="float32").dtype.name
    ('numpy', 'float32')
    """
    settings = {"masks_on_device": masks_on_device, "tf32": tf32}
    options: dict[str, Any] = {name: on for name, on in settings.items() if on is not None}
    if isinstance(spec, Backend):
        spec = replace(spec, **options) if options else spec
        spec.check()
        return spec
    if spec is None:
        named = os.environ.get(ENVIRONMENT_VARIABLE)
        try:
            return select(named or "numpy", **options)
        except (BackendUnavailableError, ValueError) as error:
            why = f" (chosen by the environment variable {ENVIRONMENT_VARIABLE})" if named else ""
            raise type(error)(f"{error}{why}") from error
    if not isinstance(spec, str):
        raise TypeError(f"expected the name of a backend, such as 'numpy', got {spec!r}")
    name, colon, device_name = spec.partition(":")
    if name not in BACKENDS or (colon and not device_name):
        is_gpu = name in ("cuda", "gpu")
        hint = " Did you mean 'cupy' or 'torch:cuda'?" if is_gpu else did_you_mean(name, BACKENDS)
        raise ValueError(
            f"unknown backend {spec!r}: expected NAME or NAME:DEVICE with NAME one of "
            f"{', '.join(BACKENDS)}.{hint}"
        )
    backend = load(BACKENDS[name], spec)(device_name or None, **options)
    backend.check()
    return backend


def list_imported() -> Iterator[Backend]:
    """Iterate over the backends, on their default devices, whose libraries have been imported."""
    for library in BACKENDS.values():
        if library.module in sys.modules:
            yield load(library)()


def select_for(x: Array) -> Backend:
    """Select the backend of the library and the device of an array.

    Parameters
    ----------
    x : array

    Returns
    -------
    Backend

    Raises
    ------
    TypeError
        No backend has arrays of this kind.

    Examples
    --------
    >>> import numpy as np
    >>> select_for(np.zeros(3)).spec
    'numpy'
    """
    for backend in list_imported():  # the library of an array has been imported
        if backend.owns(x):
            device = array_api_compat.device(x)
            others = (select(spec) for spec in backend.devices())
            return next((b for b in (backend, *others) if b.device == device), backend)
    raise TypeError(
        f"expected an array of one of {', '.join(BACKENDS)}, got {type(x).__module__}."
        f"{type(x).__name__}"
    )
