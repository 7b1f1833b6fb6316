"""Backends for tests: the real ones, and variants that find mistakes which those do not.

=========================== ====================================================================
variant                     what it finds
=========================== ====================================================================
numpy:readonly              writing into an array that is not donated
array-api-strict:strictest  boolean indexing, shapes that depend on values, what is an extension
jax:eager                   differences between a step as a whole and its single operations
=========================== ====================================================================

A device of array-api-strict is a backend like any other: ``"array-api-strict:device1"`` finds
arrays that are created without ``device=`` and, with `no_host_reads`, values that are read back;
``"array-api-strict:no_float64"`` finds float64 in computations in float32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from functools import cache
from typing import Any, ClassVar

import numpy as np

from anyback_nn.array_api import Array
from anyback_nn.backends import BACKENDS, Backend
from anyback_nn.backends import select as select_real
from anyback_nn.backends.base import load
from anyback_nn.errors import BackendUnavailableError
from anyback_nn.testing.matrix import MATRIX
from anyback_nn.tree import tree_map

__all__ = ["VARIANTS", "select", "under_test", "usable"]


class Variant(Backend):
    """A backend for tests: a base class in addition to that of the library."""

    variant: ClassVar[str]

    def __reduce__(self) -> Any:
        return _restore, (self.spec, asdict(self))

    @property
    def spec(self) -> str:
        return f"{self.name}:{self.variant}"


class ReadOnly(Variant):
    """NumPy, with arrays that cannot be written to.

    Read-only are the arrays that are moved to it, and the arguments of a compiled step, but for
    those that are donated.
    """

    variant = "readonly"
    trace_rules = None

    def asarray(self, x: Any, dtype: str | None = None) -> Array:
        return _read_only(super().asarray(x, dtype))

    def jit(
        self, function: Callable[..., Any], donate: tuple[int, ...] = (), *, replay: bool = False
    ) -> Callable[..., Any]:
        def guarded(*arguments: Any) -> Any:
            return function(
                *(
                    argument if position in donate else tree_map(_read_only, argument)
                    for position, argument in enumerate(arguments)
                )
            )

        return guarded


class Strictest(Variant):
    """array-api-strict without anything that the standard leaves optional."""

    variant = "strictest"


class Eager(Variant):
    """JAX, one operation after another: nothing is compiled as a whole."""

    variant = "eager"

    def jit(
        self, function: Callable[..., Any], donate: tuple[int, ...] = (), *, replay: bool = False
    ) -> Callable[..., Any]:
        return function

    def scan(
        self, step: Callable[..., Any], donate: tuple[int, ...] = ()
    ) -> Callable[..., Any] | None:
        return None


VARIANTS: dict[str, type[Variant]] = {
    "numpy:readonly": ReadOnly,
    "array-api-strict:strictest": Strictest,
    "jax:eager": Eager,
}
"""The backends that exist for tests only, by their specs."""


def _read_only(x: Any) -> Any:
    """Return a view of an array that cannot be written to; anything else stays what it is."""
    if not isinstance(x, np.ndarray):
        return x
    x = x.view()
    x.flags.writeable = False
    return x


@cache
def _combine(variant: type[Variant], backend: type[Backend]) -> type[Backend]:
    """Create the variant of a library's backend: one class, so that two of them are equal."""
    return type(f"{variant.__name__}{backend.__name__}", (variant, backend), {})


def select(spec: str | Backend | None = None) -> Backend:
    """Select a backend or a variant of one: as `anyback_nn.select`, and `VARIANTS` too.

    Parameters
    ----------
    spec : str or Backend, optional
        Also one of `VARIANTS`, such as ``"numpy:readonly"``.

    Returns
    -------
    Backend

    Examples
    --------
    >>> x = select("numpy:readonly").asarray([1.0])
    >>> x += 1
    Traceback (most recent call last):
    ...
    ValueError: output array is read-only
    """
    if not isinstance(spec, str) or spec not in VARIANTS:
        return select_real(spec)
    library = BACKENDS[spec.partition(":")[0]]
    return select_real(_combine(VARIANTS[spec], load(library, spec))())  # type: ignore[arg-type]


def usable(specs: Iterable[str] = MATRIX) -> tuple[list[Backend], dict[str, str]]:
    """Return which backends can compute here.

    Parameters
    ----------
    specs : iterable of str
        Specs of backends and variants. Default: the rows of the test matrix, `MATRIX`.

    Returns
    -------
    backends : list of Backend
    missing : dict of str to str
        The specs of the others, with the reason.

    Examples
    --------
    >>> backends, missing = usable(["numpy", "numpy:readonly"])
    >>> [backend.spec for backend in backends], missing
    (['numpy', 'numpy:readonly'], {})
    """
    backends, missing = [], {}
    for spec in specs:
        try:
            backends.append(select(spec))
        except BackendUnavailableError as error:
            missing[spec] = str(error)
    return backends, missing


@contextlib.contextmanager
def under_test(backend: Backend) -> Iterator[None]:
    """Restrict the library of a backend to what the backend is for, inside the context."""
    if not isinstance(backend, Strictest):
        yield
        return
    # The library has one set of flags for all of its arrays.
    with backend.xp.ArrayAPIStrictFlags(
        boolean_indexing=False, data_dependent_shapes=False, enabled_extensions=()
    ):
        yield


def _restore(spec: str, settings: dict[str, Any]) -> Backend:
    """Unpickle a variant."""
    return replace(select(spec), **settings)
