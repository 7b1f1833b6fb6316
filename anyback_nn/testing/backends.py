"""The backends as tests want them: the real ones, and variants that catch what those let pass.

=========================== ====================================================================
variant                     what it catches
=========================== ====================================================================
numpy:readonly              writing into an array that was handed in
array-api-strict:strictest  boolean indexing, shapes that depend on values, what is an extension
jax:eager                   differences between a step as a whole and its single operations
=========================== ====================================================================

A device of array-api-strict is a backend like any other (``"array-api-strict:device1"``): it
catches arrays that are made without ``device=`` and, with `no_host_reads`, values that are read
back; ``"array-api-strict:no_float64"`` catches float64 where float32 was asked for.

Like `anyback_nn.backend`, this imports nothing but the standard library until a backend is used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from anyback_nn.backend import Array, Backend, JaxBackend, NumpyBackend, StrictBackend
from anyback_nn.backend import select as select_real
from anyback_nn.errors import BackendUnavailableError

__all__ = ["MATRIX", "VARIANTS", "select", "under_test", "usable"]


class ReadOnlyNumpyBackend(NumpyBackend):
    """NumPy, with arrays that cannot be written to.

    Read-only are the arrays that are brought to it, and the arguments of a compiled step, but for
    those that the step may use up.
    """

    purpose = "testing that nothing writes into what it was given"
    recorded = Backend.recorded
    chained = Backend.chained

    @property
    def spec(self) -> str:
        return "numpy:readonly"

    def asarray(self, x: Any, dtype: str | None = None) -> Array:
        return _read_only(super().asarray(x, dtype))

    def compile(self, step: Callable[..., Any], donate: tuple[int, ...] = ()) -> Callable[..., Any]:
        from anyback_nn.network.parameters import map_leaves

        def guarded(*arguments: Any) -> Any:
            return step(
                *(
                    argument if position in donate else map_leaves(_read_only, argument)
                    for position, argument in enumerate(arguments)
                )
            )

        return guarded


def _read_only(x: Any) -> Any:
    """Make a view of an array that cannot be written to; anything else stays what it is."""
    import numpy as np

    if not isinstance(x, np.ndarray):
        return x
    x = x.view()
    x.flags.writeable = False
    return x


class StrictestBackend(StrictBackend):
    """array-api-strict without anything that the standard leaves optional."""

    purpose = "testing that code needs nothing optional of the standard"

    @property
    def spec(self) -> str:
        return "array-api-strict:strictest"


class EagerJaxBackend(JaxBackend):
    """JAX, one operation after another: nothing is compiled as a whole."""

    purpose = "testing JAX without jit"
    chained = Backend.chained

    @property
    def spec(self) -> str:
        return "jax:eager"

    def compile(self, step: Callable[..., Any], donate: tuple[int, ...] = ()) -> Callable[..., Any]:
        return step


VARIANTS: dict[str, Backend] = {
    variant.spec: variant
    for variant in (ReadOnlyNumpyBackend(), StrictestBackend(), EagerJaxBackend())
}
"""The backends that exist for tests only, by their specs."""

MATRIX: tuple[str, ...] = (
    "numpy",
    "numpy:readonly",
    "array-api-strict",
    "array-api-strict:device1",
    "array-api-strict:no_float64",
    "array-api-strict:strictest",
    "torch",
    "jax",
    "jax:eager",
    "cupy",
)
"""The specs to test with, each of which catches mistakes that the others do not."""


def select(spec: str | Backend | None = None) -> Backend:
    """Select a backend or a variant of one: as `anyback_nn.select`, and `VARIANTS` too.

    Examples
    --------
    >>> x = select("numpy:readonly").asarray([1.0])
    >>> x += 1
    Traceback (most recent call last):
    ...
    ValueError: output array is read-only
    """
    return select_real(VARIANTS.get(spec, spec) if isinstance(spec, str) else spec)


def usable(specs: Iterable[str] = MATRIX) -> tuple[list[Backend], dict[str, str]]:
    """Tell which backends can compute here.

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
    """Within it, the library of a backend allows only what the backend is for."""
    if not isinstance(backend, StrictestBackend):
        yield
        return
    import array_api_strict

    # The library has one set of flags for all of its arrays.
    with array_api_strict.ArrayAPIStrictFlags(
        boolean_indexing=False, data_dependent_shapes=False, enabled_extensions=()
    ):
        yield
