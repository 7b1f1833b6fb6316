"""A stand-in for CuPy that computes with NumPy: to see, without a GPU, what is done with CuPy.

It is as strict as CuPy where that matters here:

- its arrays are not NumPy's and do not mix with them, and nothing reads a value but ``get``;
- new memory holds what would show in every result;
- kernels are written in C, as far as it is used, and have parameters of declared dtypes;
- memory that a kernel writes must not be seen by it in another way: a GPU would read it now before,
  now after it is written.

It counts launches: calls of functions, but for those that give a view.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import array_api_compat
import numpy as np

import anyback_nn.backends

count = SimpleNamespace(launches=0, transfers=0)
"""How many functions have been called, and how many arrays have come from the host."""


# Arrays and functions -----------------------------------------------------------------------------


class Array:
    """Stands for ``cupy.ndarray``."""

    __array_ufunc__ = None
    __hash__ = None

    def __init__(self, host):
        self.host = host

    shape = property(lambda self: self.host.shape)
    dtype = property(lambda self: self.host.dtype)
    ndim = property(lambda self: self.host.ndim)
    size = property(lambda self: self.host.size)
    strides = property(lambda self: self.host.strides)
    mT = property(lambda self: Array(self.host.mT))
    device = property(lambda self: Device(0))
    flags = property(lambda self: self.host.flags)
    data = property(lambda self: SimpleNamespace(ptr=self.host.ctypes.data))

    def __getitem__(self, key):
        # Where NumPy gives a number, CuPy gives a view.
        key = key if isinstance(key, tuple) else (key,)
        return function(lambda array: array[key if ... in key else (*key, ...)])(self)

    def __setitem__(self, key, value):
        function(np.ndarray.__setitem__)(self, key, value)

    def reshape(self, *shape):
        return function(np.ndarray.reshape)(self, *shape)

    def astype(self, dtype, order="K", copy=True):
        return function(np.ndarray.astype)(self, dtype, order, copy=copy)

    def copy(self):
        return function(np.ndarray.copy)(self)

    def fill(self, value):
        function(np.ndarray.fill)(self, value)

    def get(self):
        return self.host.copy()

    def _read(self, *_):
        raise AssertionError("a value is read from the device")

    __bool__ = __float__ = __int__ = __index__ = __array__ = __iter__ = __len__ = _read


Array.__name__ = Array.__qualname__ = "ndarray"


def function(call):
    """Make one of CuPy's functions of one of NumPy's."""

    def launched(*arguments, **options):
        result = call(*map(opened, arguments), **{k: opened(one) for k, one in options.items()})
        if not isinstance(result, np.ndarray | np.generic):
            count.launches += result is None
            return result
        arrays = [one.host for one in arguments if isinstance(one, Array)]
        is_view = any(np.shares_memory(one, result) for one in arrays)
        count.launches += "out" in options or not is_view
        return options["out"] if "out" in options else Array(np.asarray(result))

    return launched


def opened(one):
    """Give what NumPy computes with."""
    if isinstance(one, np.ndarray):
        raise TypeError(f"Unsupported type {type(one)}")
    if isinstance(one, tuple | list):
        return type(one)(map(opened, one))
    return one.host if isinstance(one, Array) else one


def operator(name):
    call = function(getattr(np.ndarray, name))

    def method(self, *others):
        for one in others:
            if not isinstance(one, Array) and getattr(one, "__array_ufunc__", one) is None:
                return NotImplemented
        return call(self, *others)

    return method


def in_place(ufunc):
    return lambda self, other: function(ufunc)(self, other, out=self)


BINARY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide}
for _name, _ufunc in BINARY.items():
    setattr(Array, f"__i{_name}__", in_place(_ufunc))
    setattr(Array, f"__r{_name}__", operator(f"__r{_name}__"))
OTHERS = ("abs", "and", "eq", "ge", "gt", "invert", "le", "lt", "matmul", "ne", "neg", "or", "pow")
for _name in (*BINARY, *OTHERS):
    setattr(Array, f"__{_name}__", operator(f"__{_name}__"))


def array(x, dtype=None, copy=True):
    """Bring something to the device."""
    if isinstance(x, Array):
        wanted = dtype or x.dtype
        return x if x.dtype == wanted and not copy else x.astype(wanted)
    count.transfers += 1
    return Array(np.array(x, dtype=dtype))


def empty(shape, dtype=float):
    kind = np.dtype(dtype).kind
    return Array(np.full(shape, np.nan if kind == "f" else 1, dtype))


def matmul(a, b, out=None):
    # Into other memory CuPy would have to copy the result.
    assert out is None or out.flags.c_contiguous
    return function(np.matmul)(a, b, **({} if out is None else {"out": out}))


def smallest(a, axis=None, out=None, keepdims=False):
    # CuPy 14.2 hands ``out`` on as the dtype.
    assert out is None, "data type not understood"
    return function(np.min)(a, axis=axis, keepdims=keepdims)


# Kernels ------------------------------------------------------------------------------------------

TYPES = {
    "bool": np.bool_,
    "int": np.int32,
    "long long": np.int64,
    "float": np.float32,
    "double": np.float64,
}
TYPE = "|".join(TYPES)
SAME = (
    *("ceil", "copysign", "cos", "exp", "expm1", "fabs", "floor", "isfinite", "isinf", "isnan"),
    *("log", "log10", "log1p", "log2", "logical_not", "sin", "sqrt", "tan", "tanh", "where"),
)
NAMES = {
    **{name: getattr(np, name) for name in SAME},
    "atan2": np.arctan2,
    "max": np.fmax,
    "min": np.fmin,
    "pow": np.power,
    "NAN": np.float32("nan"),
    **{
        f"to_{dtype.__name__}": lambda one, dtype=dtype: np.asarray(one).astype(dtype)
        for dtype in TYPES.values()
    },
}
"""What the Python of a kernel calls: most of it has NumPy's names in C."""


class ElementwiseKernel:
    """Stands for ``cupy.ElementwiseKernel``: computes what its statements in C say."""

    made: ClassVar[list[ElementwiseKernel]] = []

    def __init__(self, in_params, out_params, operation, name, *, preamble, no_return, options):
        assert options == ("--fmad=false",)
        assert no_return
        self.inputs, self.outputs = declared(in_params), declared(out_params)
        self.operation = operation
        self.statements = [translated(line) for line in operation.splitlines()]
        self.made.append(self)

    def __call__(self, *arguments):
        count.launches += 1
        dtypes = self.inputs | self.outputs
        found = dict(zip(dtypes, arguments, strict=True))
        arrays = {name: one.host for name, one in found.items() if isinstance(one, Array)}
        refuse_overlaps([arrays[name] for name in self.outputs], arrays.values())
        shape = np.broadcast_shapes(*(one.shape for one in arrays.values()))
        values = {name: seen(one, dtypes[name], shape) for name, one in found.items()}
        for target, kind, code in self.statements:
            with np.errstate(all="ignore"):
                value = eval(code, {"__builtins__": {}} | NAMES, values)
            if kind is None:
                assert arrays[target].shape == shape, "Out shape is mismatched"
                arrays[target][...] = value
            else:
                values[target] = np.asarray(value).astype(kind)


def declared(params):
    """Read parameters such as ``"float32 a0, bool a1"``."""
    pairs = [one.split() for one in params.split(",")] if params else []
    return {name: np.dtype(dtype) for dtype, name in pairs}


def seen(one, dtype, shape):
    """Give what a kernel sees of an argument."""
    if not isinstance(one, Array):
        assert type(one) in (bool, int, float), f"Unsupported type {type(one)}"
        return dtype.type(one)
    assert one.dtype == dtype, f"Type is mismatched. {one.dtype} {dtype}"
    return np.broadcast_to(one.host, shape)


def refuse_overlaps(outputs, arrays):
    for written in outputs:
        for one in arrays:
            same = written.__array_interface__ == one.__array_interface__
            assert same or not np.shares_memory(written, one), "memory that overlaps"


def translated(line):
    """Translate ``float v1 = a0 * a1;`` or ``o0 = v1;`` to a target, a dtype and Python."""
    found = re.fullmatch(rf"(?:({TYPE}) )?([vo]\d+) = (.+);", line)
    assert found, line
    kind, target, code = found.groups()
    assert (kind is None) == (target[0] == "o"), line
    return target, kind and TYPES[kind], python(code)


def python(code):
    """Translate an expression."""
    if "?" in code:
        condition, _, others = code.partition(" ? ")
        first, _, second = others.partition(" : ")
        return f"where({python(condition)}, {python(first)}, {python(second)})"
    code = re.sub(rf"\(({TYPE})\)(\w+)", lambda m: f"to_{TYPES[m[1]].__name__}({m[2]})", code)
    return re.sub(r"!(\w+)", r"logical_not(\1)", code)


# The module ---------------------------------------------------------------------------------------


class Device:
    """Stands for ``cupy.cuda.Device``: the first one."""

    def __init__(self, device=None):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __eq__(self, other):
        return isinstance(other, Device)

    __hash__ = None

    def synchronize(self):
        pass


def module(name, source, **own):
    """Make a module with NumPy's functions, and others."""
    made = ModuleType(name)
    made.__spec__, made.__path__ = ModuleSpec(name, None), []
    for known, one in vars(source).items():
        if not known.startswith("_") and not isinstance(one, ModuleType):
            is_function = callable(one) and not isinstance(one, type)
            setattr(made, known, function(one) if is_function else one)
    vars(made).update(own)
    return made


def modules():
    """Make CuPy's modules, by their names."""
    runtime = SimpleNamespace(
        CUDARuntimeError=RuntimeError,
        driverGetVersion=lambda: 13000,
        getDevice=lambda: 0,
        getDeviceCount=lambda: 1,
        memGetInfo=lambda: (2**30, 2**30),
    )
    nothing = SimpleNamespace()
    made = (
        cuda := module("cupy.cuda", nothing, Device=Device, runtime=runtime),
        device := module("cupy.cuda.device", nothing, Device=Device),
        linalg := module("cupy.linalg", np.linalg),
        fft := module("cupy.fft", np.fft),
        module(
            "cupy",
            np,
            __version__="14.2.0",
            ElementwiseKernel=ElementwiseKernel,
            array=array,
            asarray=partial(array, copy=False),
            asnumpy=Array.get,
            cuda=cuda,
            empty=empty,
            fft=fft,
            get_default_memory_pool=lambda: SimpleNamespace(free_bytes=lambda: 0),
            linalg=linalg,
            matmul=matmul,
            min=smallest,
            may_share_memory=lambda a, b: np.may_share_memory(a.host, b.host),
            ndarray=Array,
        ),
    )
    cuda.device = device
    return {one.__name__: one for one in (*made, ModuleType("cupyx"))}


MODULES = modules()
"""The stand-in, and what has been imported with it: others remember its class of arrays."""


@contextmanager
def installed(modules: dict[str, ModuleType] = MODULES) -> Iterator[ModuleType]:
    """Let CuPy be these modules inside the context; default: the stand-in."""
    before = exchange(modules)
    try:
        yield modules["cupy"]
    finally:
        modules.update(exchange(before))


def exchange(modules):
    """Let these be CuPy's modules, and those that import it, and no others; return the others."""
    before = {name: one for name, one in sys.modules.items() if re.fullmatch(OF_CUPY, name)}
    for name in before:
        del sys.modules[name]
    sys.modules.update(modules)
    for parent in (array_api_compat, anyback_nn.backends):
        vars(parent).pop("cupy", None)
        if (name := f"{parent.__name__}.cupy") in modules:
            parent.cupy = modules[name]
    return before


OF_CUPY = r"((array_api_compat|anyback_nn\.backends)\.)?cupyx?(\..+)?"
