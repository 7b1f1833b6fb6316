"""array-api-strict: the standard and nothing else, to find code that relies on more."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import array_api_strict
import numpy as np

from anyback_nn.backends.base import Backend
from anyback_nn.backends.libraries import BACKENDS

__all__ = ["StrictBackend"]


class StrictBackend(Backend):
    """array-api-strict: ``array-api-strict:device1`` pretends to be a device of its own."""

    library = BACKENDS["array-api-strict"]
    namespace = "array_api_strict"
    packed = False

    @property
    def device(self) -> Any:
        return array_api_strict.Device(self.device_label)

    @property
    def device_label(self) -> str:
        return self.device_name or "CPU_DEVICE"

    def devices(self) -> list[str]:
        devices = array_api_strict.__array_namespace_info__().devices()
        return [f"{self.name}:{device._device}" for device in devices]

    @contextlib.contextmanager
    def scope(self, dtype: str) -> Iterator[None]:
        # Its arrays compute with NumPy. As on the other libraries, what is not finite is found and
        # reported, not warned about.
        with np.errstate(all="ignore"):
            yield
