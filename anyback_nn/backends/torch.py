"""PyTorch, its tensors only: no autograd."""

from __future__ import annotations

import contextlib
import itertools
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

import array_api_compat.torch as compat
import numpy as np
import torch

from anyback_nn.array_api import Array
from anyback_nn.backends.base import PROCESSES, Backend
from anyback_nn.backends.libraries import BACKENDS
from anyback_nn.backends.transfer import Transfer
from anyback_nn.jit.functions import (
    call_with_out,
    concatenation,
    copying,
    elementwise,
    in_place_functions,
    shape_functions,
)
from anyback_nn.jit.graph import Buffer, Op, TraceError, View
from anyback_nn.jit.rules import TraceRules
from anyback_nn.jit.scan import TracedScan
from anyback_nn.jit.tracer import ScalarTracer, Tracer
from anyback_nn.tree import tree_map

__all__ = ["RULES", "TorchBackend", "TorchRules"]


class TorchBackend(Backend):
    """PyTorch; ``torch:cuda:0`` is its first GPU."""

    library = BACKENDS["torch"]
    namespace = "array_api_compat.torch"
    steps_per_call = 16

    @property
    def device(self) -> Any:
        device = torch.device(self.device_name or "cpu")
        if device.type == "cpu" or device.index is not None:
            return device
        # "cuda" and "cuda:0" are one device, but only the second is how a tensor names it.
        return torch.empty(0, device=device).device

    @property
    def has_device_memory(self) -> bool:
        return bool(self.device.type == "cuda")

    def devices(self) -> list[str]:
        specs = ["torch:cpu"]
        specs += [f"torch:cuda:{index}" for index in range(torch.cuda.device_count())]
        if torch.backends.mps.is_available():
            specs.append("torch:mps")
        return specs

    def kinds(self) -> list[str]:
        first = {spec.split(":")[1]: spec for spec in reversed(self.devices())}
        return [self.name, *(first[kind] for kind in ("cuda", "mps") if kind in first)]

    @property
    def runtime(self) -> str:
        return f"torch:{(self.device_name or 'cpu').partition(':')[0]}"

    def check_process(self) -> None:
        if not self.was_forked:
            return
        if self.runtime != "torch:cpu":
            raise self.explain_fork()
        PROCESSES[self.runtime] = os.getpid()
        if torch.get_num_threads() > 1:
            # OpenMP would wait for threads that are in the other process.
            torch.set_num_threads(1)
            warnings.warn(
                "PyTorch computes with one thread in this process, which was forked from one in "
                "which PyTorch had been used. Start processes by 'spawn' or 'forkserver' for more",
                RuntimeWarning,
                stacklevel=2,
            )

    def check_device(self) -> None:
        try:
            torch.empty(0, device=torch.device(self.device_name or "cpu"))
        except Exception as error:  # RuntimeError, AssertionError, NotImplementedError
            raise self.no_such_device() from error

    def asarray(self, x: Any, dtype: str | None = None) -> Array:
        array = super().asarray(x, dtype)
        return array.detach()

    def _from_numpy(self, x: Any) -> Array:
        # PyTorch takes neither read-only memory nor negative strides.
        writable = x.flags.writeable and all(stride >= 0 for stride in x.strides)
        return super()._from_numpy(x if writable else np.array(x))

    @property
    def trace_rules(self) -> TraceRules | None:
        # Not yet tested on other devices.
        return RULES if self.device.type == "cpu" else None

    def scan(
        self, step: Callable[..., Any], donate: tuple[int, ...] = ()
    ) -> Callable[..., Any] | None:
        def as_tensor(leaf: Any) -> Any:
            return leaf if leaf is None or isinstance(leaf, float) else torch.from_numpy(leaf)

        def as_tensors(xs: Iterable[Any]) -> Iterator[Any]:
            return (tree_map(as_tensor, x) for x in xs)

        rules = self.trace_rules
        return None if rules is None else TracedScan(step, donate, rules, as_tensors)

    def transfer(self) -> Callable[[Sequence[tuple[Any, str]]], list[Array]]:
        if not self.has_device_memory:
            return super().transfer()

        def send(pinned: Any, target: Any, stream: Any) -> None:
            with torch.cuda.stream(stream):
                target.copy_(pinned, non_blocking=True)

        return Transfer(
            self,
            stream=torch.cuda.Stream(self.device),
            current=partial(torch.cuda.current_stream, self.device),
            event=torch.cuda.Event,
            pinned=partial(torch.empty, dtype=torch.uint8, pin_memory=True),
            send=send,
        )

    def synchronize(self, *arrays: Array) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type != "cpu":
            getattr(torch, self.device.type).synchronize()

    def is_out_of_memory(self, error: BaseException) -> bool:
        if super().is_out_of_memory(error) or isinstance(error, torch.OutOfMemoryError):
            return True
        # The allocators of the CPU (also that of Windows) and of Apple's GPUs have no class.
        messages = ("out of memory", "DefaultCPUAllocator: can't allocate", "not enough memory")
        return isinstance(error, RuntimeError) and any(part in str(error) for part in messages)

    def is_without_values(self, error: BaseException) -> bool:
        # Not the error that an array is on another device. The words are those of reads, of
        # moves, of conversions, and of operations whose shapes depend on values.
        words = ("meta tensor", "meta device type", "tensors on meta", "register_meta")
        return self.device.type == "meta" and any(part in str(error).lower() for part in words)

    def free_memory(self) -> int | None:
        if self.device.type == "cpu":
            return super().free_memory()
        if self.device.type != "cuda":
            return None
        free, _ = torch.cuda.mem_get_info(self.device)
        # PyTorch caches what it has freed.
        cached = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return int(free) + int(cached)

    @contextlib.contextmanager
    def scope(self, dtype: str) -> Iterator[None]:
        self.use()
        with contextlib.ExitStack() as settings:
            if torch.is_inference_mode_enabled():
                # Arrays that are made in this mode could not be written to after it.
                settings.enter_context(torch.inference_mode(False))
                settings.enter_context(torch.no_grad())
            if self.tf32:
                # A setting of the whole process.
                products = torch.backends.cuda.matmul
                settings.callback(setattr, products, "fp32_precision", products.fp32_precision)
                products.fp32_precision = "tf32"
            yield


# How functions are traced ------------------------------------------------------------------------


def reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule of a reduction along axes."""

    def call(x: Tracer, /, *, axis: Any = None, keepdims: bool = False) -> Any:
        dims = tuple(range(x.ndim)) if axis is None else axis
        if dims == ():
            raise TraceError("a reduction of no axes")
        return call_with_out(function, x, dims, keepdims)

    return call


def total(function: Callable[..., Any]) -> Callable[..., Any]:
    """Trace a sum or a mean of real numbers."""
    along_axes = reduction(function)

    def call(x: Tracer, /, *, axis: Any = None, keepdims: bool = False) -> Any:
        if not x.rules.is_real(x.dtype):
            raise TraceError("a reduction of integers")
        if axis is None and not keepdims:
            # With ``out=``, PyTorch adds up in another order.
            return copying(function)(x)
        return along_axes(x, axis=axis, keepdims=keepdims)

    return call


def divide(x: Any, y: Any, /) -> Any:
    """Trace a quotient."""
    if isinstance(x, float | int | ScalarTracer):
        # PyTorch divides a number by an array in this way.
        return elementwise(torch.mul)(elementwise(torch.reciprocal)(y), x)
    return elementwise(torch.div)(x, y)


def power(x: Any, exponent: Any, /) -> Any:
    """Trace ``x ** exponent``."""
    if not isinstance(exponent, float | int):
        return elementwise(torch.pow)(x, exponent)
    # PyTorch computes powers by some numbers in special ways, powers by arrays in none.
    return call_with_out(torch.pow, x, exponent, kind="elementwise")


def argmax(x: Tracer, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """Trace the index of the largest element."""
    return call_with_out(torch.argmax, x, axis, keepdims)


def astype(x: Tracer, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """Trace a cast."""
    if not copy and x.dtype == dtype:
        return x
    return x.emit(
        x.array.to(dtype, copy=True, memory_format=torch.contiguous_format),
        lambda out: Op(torch.Tensor.copy_, (out, x.view), kind="elementwise"),
    )


def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    """Trace a choice of rows by their indices."""
    return call_with_out(torch.index_select, x, 0 if axis is None else axis, indices)


_ELEMENTWISE = {
    "abs": torch.abs,
    "add": torch.add,
    "atan2": torch.atan2,
    "bitwise_and": torch.bitwise_and,
    "bitwise_invert": torch.bitwise_not,
    "bitwise_or": torch.bitwise_or,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "divide": torch.div,
    "equal": torch.eq,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "floor": torch.floor,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "log": torch.log,
    "log10": torch.log10,
    "log1p": torch.log1p,
    "log2": torch.log2,
    "logical_and": torch.logical_and,
    "logical_not": torch.logical_not,
    "logical_or": torch.logical_or,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "multiply": torch.mul,
    "negative": torch.neg,
    "not_equal": torch.ne,
    "sign": torch.sign,
    "sin": torch.sin,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "subtract": torch.sub,
    "tan": torch.tan,
    "tanh": torch.tanh,
}


class TorchRules(TraceRules):
    """How PyTorch's functions are traced, on the CPU."""

    array = torch.Tensor
    namespace = compat
    functions: ClassVar = {
        **{name: elementwise(function) for name, function in _ELEMENTWISE.items()},
        "matmul": elementwise(torch.matmul, kind="other"),
        "isfinite": copying(torch.isfinite),
        "isinf": copying(torch.isinf),
        "isnan": copying(torch.isnan),
        "vecdot": copying(compat.vecdot),
        "sum": total(torch.sum),
        "mean": total(torch.mean),
        "max": reduction(torch.amax),
        "min": reduction(torch.amin),
        "all": reduction(torch.all),
        "any": reduction(torch.any),
        **shape_functions(compat),
        "argmax": argmax,
        "divide": divide,
        "astype": astype,
        "concat": concatenation(torch.cat, out_by_name=True),
        "pow": power,
        "take": take,
        "where": elementwise(torch.where, same_dtype=slice(1, None)),
    }
    in_place: ClassVar = in_place_functions(_ELEMENTWISE)
    copy = staticmethod(torch.Tensor.copy_)
    fill = staticmethod(torch.Tensor.fill_)
    # Its calls take longer than NumPy's, and divide their work between threads.
    tile_bytes = 2**20

    def rewrite(self, ops: list[Op], outputs: Iterable[Buffer]) -> list[Op]:
        """Let comparisons return real numbers: a cast after them takes ten times as long."""
        uses = Counter(view.buffer for op in ops for view in op.views)
        outputs, rewritten = set(outputs), ops[:1]
        for before, op in itertools.pairwise(ops):
            boolean, cast = before.result, op.result
            alone = boolean is not None and boolean not in outputs and uses[boolean] == 2
            if alone and _is_cast(op, boolean) and _compares(before, cast):
                out = {"out": op.arguments[0]}
                rewritten[-1] = Op(before.function, before.arguments, out, "elementwise", cast)
            else:
                rewritten.append(op)
        return rewritten

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return torch.empty(shape, dtype=dtype)

    def scalar(self, number: Any, dtype: Any) -> Any:
        return torch.tensor(number, dtype=dtype)

    def clone(self, array: Any) -> Any:
        return array.clone()

    def address(self, array: Any) -> tuple[Any, ...]:
        return array.data_ptr(), array.stride()

    def is_contiguous(self, array: Any) -> bool:
        return bool(array.is_contiguous())

    def overlap(self, a: Any, b: Any) -> bool:
        return _start(a) < _end(b) and _start(b) < _end(a)


COMPARISONS = (torch.eq, torch.ne, torch.gt, torch.ge, torch.lt, torch.le)


def _compares(op: Op, like: Buffer | None) -> bool:
    """Return whether an operation compares real numbers of the same dtype as this memory."""
    if op.function not in COMPARISONS or like is None:
        return False
    operands = (x.buffer if isinstance(x, View) else x for x in op.arguments)
    return like.dtype.is_floating_point and all(x.dtype == like.dtype for x in operands)


def _is_cast(op: Op, buffer: Buffer | None) -> bool:
    """Return whether an operation casts all of this memory."""
    if op.function is not torch.Tensor.copy_ or buffer is None:
        return False
    source = op.arguments[1]
    return isinstance(source, View) and source.buffer is buffer and not source.path


def _start(x: torch.Tensor) -> int:
    return int(x.data_ptr())


def _end(x: torch.Tensor) -> int:
    """Return where the memory of an array ends."""
    steps = (step * (n - 1) for step, n in zip(x.stride(), x.shape))
    return int(x.data_ptr() + x.element_size() * (1 + sum(steps)))


RULES = TorchRules()
