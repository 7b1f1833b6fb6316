"""Modules of release 0.1 under their old names, for one release.

Code that imports them gets a `DeprecationWarning`; estimators and models that were pickled with
that release can be loaded.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, cast

__all__ = ["MOVED", "RENAMED", "install"]

MOVED: dict[str, tuple[str, ...]] = {
    "anyback_nn.backend": (
        "anyback_nn.backends",
        "anyback_nn.array_api",
        "anyback_nn.backends.numpy",
        "anyback_nn.backends.strict",
        "anyback_nn.backends.torch",
        "anyback_nn.backends.jax",
        "anyback_nn.backends.cupy",
    ),
    "anyback_nn.network.parameters": ("anyback_nn.network.layout", "anyback_nn.tree"),
    "anyback_nn.sklearn.solvers": ("anyback_nn.optim.like_sklearn",),
    "anyback_nn.training.optimizers": ("anyback_nn.optim.optimizers",),
    "anyback_nn.training.schedules": ("anyback_nn.optim.schedules",),
}
"""The old name of each module, and the modules in which its public names are now."""

RENAMED = {
    "is_host": "is_numpy",
    "lies_on_host": "on_host",
    "Storage": "Packed",
    "leaves": "tree_leaves",
    "map_leaves": "tree_map",
    "named": "tree_named_leaves",
    "stacked": "tree_stack",
}
"""Public names of these modules that are others now."""


class _Finder:
    """Finds a module under its old name and loads it.

    It has no base class of `importlib.abc`: that import takes longer than that of this package.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, cast(Any, self)) if name in MOVED else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Let the default module be created."""

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        warnings.warn(
            f"{name} has moved and will be removed: import from {MOVED[name][0]}",
            DeprecationWarning,
            stacklevel=2,
        )

        def find(attribute: str) -> Any:
            if attribute.startswith("__"):
                raise AttributeError(attribute)
            attribute = RENAMED.get(attribute, attribute)
            for new in MOVED[name]:
                # A backend cannot be imported without its library.
                with contextlib.suppress(ImportError):
                    if hasattr(importlib.import_module(new), attribute):
                        return getattr(sys.modules[new], attribute)
            return _missing_backend(name, attribute)

        module.__dict__["__getattr__"] = find


def _missing_backend(module: str, name: str) -> Any:
    """Return a stand-in for a backend without its library, so that pickles of it load."""
    base = importlib.import_module("anyback_nn.backends.base")
    for library in base.BACKENDS.values():
        if library.backend.endswith(f".{name}"):
            return base.missing(library)
    raise AttributeError(f"module {module!r} has no attribute {name!r}")


def install() -> None:
    """Let old names be imported."""
    sys.meta_path.append(_Finder())
