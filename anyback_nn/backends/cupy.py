"""CuPy: NVIDIA GPUs.

Traced steps are verified: a program is replayed at once, which compiles all of its
kernels, and used only if it computes what the step itself did.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

import array_api_compat.cupy as compat
import cupy
import cupyx
import numpy as np

from anyback_nn.array_api import Array
from anyback_nn.backends.base import Backend
from anyback_nn.backends.libraries import BACKENDS
from anyback_nn.backends.transfer import Transfer
from anyback_nn.errors import BackendUnavailableError
from anyback_nn.jit.functions import (
    call_with_out,
    concatenation,
    copying,
    elementwise,
    in_place_functions,
    shape_functions,
)
from anyback_nn.jit.fusion import GpuRules, KernelTemplate
from anyback_nn.jit.graph import Op, TraceError
from anyback_nn.jit.rules import TraceRules
from anyback_nn.jit.scan import TracedScan
from anyback_nn.jit.tracer import Tracer
from anyback_nn.tree import tree_map, tree_stack

__all__ = ["RULES", "CupyBackend", "CupyRules"]


class CupyBackend(Backend):
    """CuPy; ``cupy:1`` is the second GPU."""

    library = BACKENDS["cupy"]
    namespace = "array_api_compat.cupy"
    steps_per_call = 16

    @property
    def device(self) -> Any:
        return cupy.cuda.Device(int(self.device_name or 0))

    @property
    def has_device_memory(self) -> bool:
        return True

    def devices(self) -> list[str]:
        return [f"cupy:{index}" for index in range(cupy.cuda.runtime.getDeviceCount())]

    def check_process(self) -> None:
        if self.was_forked:
            raise self.explain_fork()

    def check_device(self) -> None:
        # The import succeeds without a GPU, so each thing that can be missing is checked.
        runtime = cupy.cuda.runtime
        if runtime.driverGetVersion() == 0:
            raise BackendUnavailableError(
                f"backend {self.spec!r}: CuPy {cupy.__version__} is installed, but this machine "
                "has no NVIDIA driver. Install the driver of your GPU, or use another backend, "
                "such as 'numpy'"
            )
        self.use()
        try:
            runtime.getDeviceCount()
        except runtime.CUDARuntimeError as error:
            raise BackendUnavailableError(
                f"backend {self.spec!r}: CuPy {cupy.__version__} and an NVIDIA driver are "
                f"installed, but no GPU can be used ({error}). Check it with nvidia-smi (and "
                "CUDA_VISIBLE_DEVICES, or the container's GPU option), or use another backend, "
                "such as 'numpy'"
            ) from error
        super().check_device()
        try:
            with self.device:
                (cupy.zeros(1) + 1.0).get()
        except Exception as error:  # CuPy raises errors of many kinds for libraries it lacks
            raise BackendUnavailableError(
                f"backend {self.spec!r}: CuPy {cupy.__version__} finds the GPU but cannot compute "
                f"on it ({type(error).__name__}: {error}). Install it with the CUDA libraries: "
                f"pip install '{self.library.requirement}' (for a driver of CUDA 12: "
                "anyback-nn[cuda12])"
            ) from error

    def transfer(self) -> Callable[[Sequence[tuple[Any, str]]], list[Array]]:
        return Transfer(
            self,
            stream=cupy.cuda.Stream(non_blocking=True),
            current=cupy.cuda.get_current_stream,
            event=partial(cupy.cuda.Event, disable_timing=True),
            pinned=partial(cupyx.empty_pinned, dtype="uint8"),
            send=lambda pinned, target, stream: target.set(pinned, stream=stream),
        )

    @property
    def trace_rules(self) -> TraceRules | None:
        return RULES

    def scan(
        self, step: Callable[..., Any], donate: tuple[int, ...] = ()
    ) -> Callable[..., Any] | None:
        def move(leaf: Any) -> Any:
            return leaf if leaf is None or isinstance(leaf, list) else cupy.asarray(leaf)

        def move_together(xs: Iterable[Any]) -> Iterator[Any]:
            # Each kind of array is moved to the device once for all steps.
            xs = list(xs)
            stacked = tree_map(move, tree_stack(xs))

            def take(i: int) -> Any:
                return tree_map(lambda leaf: None if leaf is None else leaf[i], stacked)

            return map(take, range(len(xs)))

        rules = self.trace_rules
        return None if rules is None else TracedScan(step, donate, rules, move_together)

    def synchronize(self, *arrays: Array) -> None:
        self.device.synchronize()

    def is_out_of_memory(self, error: BaseException) -> bool:
        # CuPy's own error is a MemoryError; CUDA and cuBLAS say it in words.
        messages = ("cudaErrorMemoryAllocation", "CUBLAS_STATUS_ALLOC_FAILED")
        return super().is_out_of_memory(error) or any(part in str(error) for part in messages)

    def free_memory(self) -> int | None:
        with self.device:
            free, _ = cupy.cuda.runtime.memGetInfo()
            # CuPy caches what it has freed.
            return int(free) + int(cupy.get_default_memory_pool().free_bytes())

    @contextlib.contextmanager
    def scope(self, dtype: str) -> Iterator[None]:
        # Some of CuPy's creation functions ignore `device=`: the current device decides.
        self.use()
        with self.device, self._products():
            yield

    @contextlib.contextmanager
    def _products(self) -> Iterator[None]:
        """Allow TF32 in products inside the context, if it is switched on."""
        if not self.tf32:
            yield
            return
        # The documented setting, the variable CUPY_TF32, is read before the first product only.
        from cupy._core import _routines_linalg as products

        before = products.get_compute_type("float32")
        products.set_compute_type("float32", products.COMPUTE_TYPE_TF32)
        try:
            yield
        finally:
            products.set_compute_type("float32", before)


# How functions are traced ------------------------------------------------------------------------


def reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule of a reduction along axes."""

    def call(x: Tracer, /, *, axis: Any = None, keepdims: bool = False) -> Any:
        return call_with_out(function, x, axis=axis, keepdims=keepdims)

    return call


def minimum(x: Tracer, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    """Trace a minimum along axes."""
    # CuPy 14 takes ``out`` for a dtype here.
    return copying(lambda array: cupy.min(array, axis=axis, keepdims=keepdims))(x)


def power(x: Any, exponent: Any, /) -> Any:
    """Trace ``x ** exponent``, for which CuPy has several functions."""
    if isinstance(exponent, float | int):
        if exponent == 2:
            return elementwise(cupy.square)(x)
        if exponent in (-1, 0.5):
            raise TraceError("a power that CuPy computes in a special way")
    return elementwise(cupy.power)(x, exponent)


def choose(condition: Any, x: Any, y: Any, *, out: Any = None) -> Any:
    """Return a choice, or write it into an array: CuPy's own function takes no ``out``."""
    chosen = cupy.where(condition, x, y)
    return chosen if out is None else cupy.copyto(out, chosen)


def cast(x: Any, *, out: Any) -> None:
    """Write elements into an array of another dtype."""
    cupy.copyto(out, x, casting="unsafe")


def astype(x: Tracer, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """Trace a cast."""
    if not copy and x.dtype == dtype:
        return x
    return x.emit(
        x.array.astype(dtype), lambda out: Op(cast, (x.view,), {"out": out}, "elementwise")
    )


def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    """Trace a choice of rows by their indices."""
    return call_with_out(cupy.take, x, indices, axis)


# The expressions are those of CuPy's own functions, so they are as accurate.
_COMPARISONS = {
    "equal": "==",
    "greater": ">",
    "greater_equal": ">=",
    "less": "<",
    "less_equal": "<=",
    "not_equal": "!=",
}
_TEMPLATES = {
    **{
        name: KernelTemplate(f"{name}({{0}})")
        for name in (
            *("ceil", "cos", "exp", "expm1", "floor", "log", "log10", "log1p", "log2", "sin"),
            *("sqrt", "tan", "tanh"),
        )
    },
    "abs": KernelTemplate("fabs({0})"),
    "atan2": KernelTemplate("atan2({0}, {1})"),
    "divide": KernelTemplate("{0} / {1}"),
    "maximum": KernelTemplate("(isnan({0}) | isnan({1})) ? ({type})NAN : max({0}, {1})"),
    "minimum": KernelTemplate("(isnan({0}) | isnan({1})) ? ({type})NAN : min({0}, {1})"),
    "pow": KernelTemplate("pow({0}, {1})"),
    "sign": KernelTemplate("(({0} < 0) | ({0} > 0)) ? copysign(({type})1, {0}) : {0} - {0}"),
    "add": KernelTemplate("{0} + {1}", "if"),
    "multiply": KernelTemplate("{0} * {1}", "if"),
    "negative": KernelTemplate("-{0}", "if"),
    "square": KernelTemplate("{0} * {0}", "if"),
    "subtract": KernelTemplate("{0} - {1}", "if"),
    **{
        name: KernelTemplate(f"{{0}} {sign} {{1}}", "bif", "bool")
        for name, sign in _COMPARISONS.items()
    },
    **{
        name: KernelTemplate(f"{name}({{0}})", result="bool")
        for name in ("isfinite", "isinf", "isnan")
    },
    **{name: KernelTemplate("{0} & {1}", "b") for name in ("bitwise_and", "logical_and")},
    **{name: KernelTemplate("{0} | {1}", "b") for name in ("bitwise_or", "logical_or")},
    **{name: KernelTemplate("!{0}", "b") for name in ("bitwise_invert", "logical_not")},
}
_NAMES = {"abs": "absolute", "atan2": "arctan2", "bitwise_invert": "invert", "pow": "power"}
"""CuPy's names that differ from those of the standard."""
_ELEMENTWISE = {name: getattr(cupy, _NAMES.get(name, name)) for name in _TEMPLATES}
_NAN = """
#ifndef NAN
#define NAN __int_as_float(0x7fffffff)
#endif
"""


class CupyRules(GpuRules):
    """How CuPy's functions are traced, on the current device."""

    array = cupy.ndarray
    namespace = compat
    functions: ClassVar = {
        **{name: elementwise(function) for name, function in _ELEMENTWISE.items()},
        "matmul": elementwise(cupy.matmul, kind="other"),
        **{name: reduction(getattr(cupy, name)) for name in ("all", "any", "max", "mean", "sum")},
        **shape_functions(compat),
        "argmax": reduction(cupy.argmax),
        "astype": astype,
        "concat": concatenation(cupy.concatenate, out_by_name=False),
        "min": minimum,
        "pow": power,
        "take": take,
        "vecdot": copying(compat.vecdot),
        "where": elementwise(choose, same_dtype=slice(1, None)),
    }
    in_place: ClassVar = in_place_functions(_ELEMENTWISE)
    copy = staticmethod(cupy.copyto)
    fill = staticmethod(cupy.ndarray.fill)
    templates: ClassVar = {
        **{_ELEMENTWISE[name]: template for name, template in _TEMPLATES.items()},
        cast: KernelTemplate("({type}){0}", "bif", "any"),
        choose: KernelTemplate("{0} ? {1} : {2}", "bif", same_dtype=slice(1, None)),
    }

    def kernel(self, inputs: str, outputs: str, statements: str) -> Callable[..., Any]:
        # CuPy compiles it, once, when it is first called. Contracted into one operation, a product
        # and a sum would be rounded once only.
        emit: Callable[..., Any] = cupy.ElementwiseKernel(
            inputs,
            outputs,
            statements,
            "anyback_nn_fused",
            preamble=_NAN,
            no_return=True,
            options=("--fmad=false",),
        )
        return emit

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return cupy.empty(shape, dtype)

    def scalar(self, number: Any, dtype: Any) -> Any:
        # CuPy's functions, and kernels, convert it to the dtype of the array.
        return number

    def clone(self, array: Any) -> Any:
        return array.copy()

    def address(self, array: Any) -> tuple[Any, ...]:
        return array.data.ptr, array.strides

    def is_contiguous(self, array: Any) -> bool:
        return bool(array.flags.c_contiguous)

    def overlap(self, a: Any, b: Any) -> bool:
        return bool(cupy.may_share_memory(a, b))

    def verify(self, result: Any, expected: Any, before: Any) -> float:
        result, expected = cupy.asnumpy(result), cupy.asnumpy(expected)
        if expected.dtype.kind != "f" or not expected.size:
            return float(not np.array_equal(result, expected))
        if not np.isfinite(expected).all():
            return 1.0
        # Half of the digits of the largest change must be right, where it has not been rounded off.
        changed = expected if before is None else expected - cupy.asnumpy(before)
        epsilon = float(np.finfo(expected.dtype).eps)
        allowed = math.sqrt(epsilon) * np.abs(changed).max() + 8 * epsilon * np.abs(expected).max()
        return float(np.mean(~(np.abs(result - expected) <= allowed)))


RULES = CupyRules()
