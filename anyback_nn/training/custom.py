"""Parts of a model that users define: layers, losses, optimisers and metrics that may be anything.

Those of this library are frozen, and equal ones compute the same. A user's may compare equal and
compute something else, or be changed after they were compiled.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np

__all__ = ["Recompiled", "custom_parts", "is_own"]


def is_own(part: Any) -> bool:
    """Return whether a layer, loss, optimiser or metric is defined in this library."""
    definition = part if hasattr(part, "__qualname__") else type(part)
    if not str(getattr(definition, "__module__", "")).startswith("anyback_nn."):
        return False
    # A loss of this library may be that of another one.
    return not hasattr(part, "loss") or is_own(part.loss)


def custom_parts(parts: Iterable[Any]) -> list[Any]:
    """List the parts that equal ones cannot take the place of.

    Functions are not among them: they are equal only to themselves.
    """
    return [part for part in parts if not is_own(part) and not isinstance(part, FunctionType)]


class Recompiled:
    """A compiled function that is built again when an attribute of a custom part has changed.

    ``build`` builds and compiles it again. It contains attributes of ``parts`` as constants.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        build: Callable[[], Callable[..., Any]],
        parts: list[Any],
    ) -> None:
        self.function, self.build, self.parts = function, build, parts
        self.attributes = _describe(parts)

    def __call__(self, *arguments: Any) -> Any:
        if self.attributes != _describe(self.parts):
            self.function = self.build()
        result = self.function(*arguments)
        # After the call, because a part may change itself while it is traced.
        self.attributes = _describe(self.parts)
        return result


def _describe(parts: list[Any]) -> Any:
    """Return a value that is another one when an attribute of a part has changed."""
    buffer = io.BytesIO()
    try:
        _Description(buffer).dump(parts)
    except Exception:  # there are attributes that cannot be pickled, each with an error of its own
        return [
            {name: id(value) for name, value in getattr(part, "__dict__", {}).items()}
            for part in parts
        ]
    return buffer.getvalue()


class _Description(pickle.Pickler):
    """Pickles the contents of objects, but only the identity of what does not change."""

    def persistent_id(self, obj: Any) -> int | None:
        constant = isinstance(obj, type | FunctionType | BuiltinFunctionType | ModuleType)
        # Not an array of another library, which would be read from its device.
        foreign = hasattr(obj, "__dlpack__") and not isinstance(obj, np.ndarray)
        return id(obj) if constant or foreign else None
