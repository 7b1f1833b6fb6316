"""dpnp: SYCL devices, which are Intel's GPUs, and CPUs through an OpenCL runtime."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import dpctl
import dpctl.memory
import dpctl.utils
import dpnp
from dpnp.backend.extensions.vm import _vm_impl as vector_math
from dpnp.tensor import Device

from anyback_nn.array_api import Array
from anyback_nn.backends.base import Backend
from anyback_nn.backends.libraries import BACKENDS
from anyback_nn.errors import BackendUnavailableError

__all__ = ["DpnpBackend"]


class DpnpBackend(Backend):
    """dpnp; ``dpnp:opencl:cpu:0`` and ``dpnp:gpu`` are devices as SYCL names them."""

    library = BACKENDS["dpnp"]
    namespace = "dpnp"

    @property
    def device(self) -> Any:
        self.use()
        return Device.create_device(self.device_name)

    @property
    def device_label(self) -> str:
        return f"{self.device.sycl_device.filter_string}, {self.device.sycl_device.name}"

    @property
    def has_device_memory(self) -> bool:
        return True  # of a CPU too: no other library can read its arrays

    def devices(self) -> list[str]:
        self.use()
        return [f"dpnp:{device.filter_string}" for device in dpctl.get_devices()]

    def check_process(self) -> None:
        if self.was_forked:
            raise self.explain_fork()

    def check_device(self) -> None:
        if not self.devices():
            raise BackendUnavailableError(
                f"backend {self.spec!r}: dpnp {dpnp.__version__} is installed, but finds no SYCL "
                "device. Install the driver of your GPU, or let it compute on the CPU: set the "
                "environment variable OCL_ICD_FILENAMES to the path of libintelocl.so, which pip "
                "has installed in the folder lib of the environment"
            )
        try:
            device = self.device
        except dpctl.SyclDeviceCreationError as error:
            raise self.no_such_device() from error
        if device.sycl_device.is_cpu:
            # On a CPU, oneMKL's vector functions (tanh) hold the GIL while they wait for the queue,
            # which may wait for the GIL: a deadlock after some hundred steps. dpnp's own do not.
            vector_math._is_available = lambda: False

    def synchronize(self, *arrays: Array) -> None:
        self.device.wait()

    def is_out_of_memory(self, error: BaseException) -> bool:
        return super().is_out_of_memory(error) or isinstance(error, dpctl.memory.USMAllocationError)

    def free_memory(self) -> int | None:
        device = self.device.sycl_device
        if device.is_cpu:
            return super().free_memory()
        free = dpctl.utils.intel_device_info(device).get("free_memory")
        return None if free is None else int(free)

    @contextlib.contextmanager
    def scope(self, dtype: str) -> Iterator[None]:
        self.use()
        yield
