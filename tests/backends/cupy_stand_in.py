"""A stand-in for CuPy that computes with NumPy, to test without a GPU what is done with CuPy.

It is as strict as CuPy where that matters here:

- its arrays are not NumPy's and do not mix with them, and nothing reads a value but ``get``;
- new memory holds what would show in every result;
- kernels are written in C, as far as it is used, and have parameters of declared dtypes;
- memory that a kernel writes must not overlap with what else it uses: on a GPU some elements would
  be read before and some after they are written.

It counts launches: calls of functions, except those that return a view.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import array_api_compat
import numpy as np

import anyback_nn.backends

count = SimpleNamespace(launches=0, transfers=0)
"""The launches of functions and kernels, and the arrays that were moved from the host."""


# Arrays and functions -----------------------------------------------------------------------------


class Array:
    """``cupy.ndarray``."""

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
        # Where NumPy returns a number, CuPy returns a view.
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
    """Return one of CuPy's functions, made from one of NumPy's."""

    def launched(*arguments, **options):
        result = call(*map(unwrap, arguments), **{k: unwrap(x) for k, x in options.items()})
        if not isinstance(result, np.ndarray | np.generic):
            count.launches += result is None
            return result
        is_view = any(np.shares_memory(x.host, result) for x in arguments if isinstance(x, Array))
        count.launches += "out" in options or not is_view
        return options["out"] if "out" in options else Array(np.asarray(result))

    return launched


def unwrap(x):
    """Return what NumPy computes with."""
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}")
    if isinstance(x, tuple | list):
        return type(x)(map(unwrap, x))
    return x.host if isinstance(x, Array) else x


def operator(name):
    call = function(getattr(np.ndarray, name))

    def method(self, *others):
        for x in others:
            if not isinstance(x, Array) and getattr(x, "__array_ufunc__", x) is None:
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
    """Move an array to the device."""
    if isinstance(x, Array):
        dtype = dtype or x.dtype
        return x if x.dtype == dtype and not copy else x.astype(dtype)
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
    # CuPy 14.2 takes ``out`` for the dtype.
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
        f"to_{dtype.__name__}": lambda x, dtype=dtype: np.asarray(x).astype(dtype)
        for dtype in TYPES.values()
    },
}
"""What the Python of a kernel calls: most of it has NumPy's names in C."""


class ElementwiseKernel:
    """``cupy.ElementwiseKernel``: computes its statements in C."""

    def __init__(self, in_params, out_params, operation, name, *, preamble, no_return, options):
        assert options == ("--fmad=false",)
        assert no_return
        self.inputs, self.outputs = parse_params(in_params), parse_params(out_params)
        self.statements = [parse_statement(line) for line in operation.splitlines()]

    def __call__(self, *arguments):
        count.launches += 1
        dtypes = self.inputs | self.outputs
        named = dict(zip(dtypes, arguments, strict=True))
        arrays = {name: x.host for name, x in named.items() if isinstance(x, Array)}
        refuse_overlaps([arrays[name] for name in self.outputs], arrays.values())
        shape = np.broadcast_shapes(*(x.shape for x in arrays.values()))
        values = {name: elements(x, dtypes[name], shape) for name, x in named.items()}
        for target, kind, code in self.statements:
            with np.errstate(all="ignore"):
                value = eval(code, {"__builtins__": {}} | NAMES, values)
            if kind is None:
                assert arrays[target].shape == shape, "Out shape is mismatched"
                arrays[target][...] = value
            else:
                values[target] = np.asarray(value).astype(kind)


def parse_params(params):
    """Return the dtypes of parameters such as ``"float32 a0, bool a1"`` by their names."""
    pairs = [param.split() for param in params.split(",")] if params else []
    return {name: np.dtype(dtype) for dtype, name in pairs}


def elements(x, dtype, shape):
    """Return what a kernel sees of an argument."""
    if not isinstance(x, Array):
        assert type(x) in (bool, int, float), f"Unsupported type {type(x)}"
        return dtype.type(x)
    assert x.dtype == dtype, f"Type is mismatched. {x.dtype} {dtype}"
    return np.broadcast_to(x.host, shape)


def refuse_overlaps(outputs, arrays):
    for output in outputs:
        for array in arrays:
            same = output.__array_interface__ == array.__array_interface__
            assert same or not np.shares_memory(output, array), "memory that overlaps"


def parse_statement(line):
    """Return the target, the dtype and the Python of ``float v1 = a0 * a1;`` or ``o0 = v1;``."""
    match = re.fullmatch(rf"(?:({TYPE}) )?([vo]\d+) = (.+);", line)
    assert match, line
    kind, target, code = match.groups()
    assert (kind is None) == (target[0] == "o"), line
    return target, kind and TYPES[kind], to_python(code)


def to_python(code):
    """Translate an expression."""
    if "?" in code:
        condition, _, others = code.partition(" ? ")
        first, _, second = others.partition(" : ")
        return f"where({to_python(condition)}, {to_python(first)}, {to_python(second)})"
    code = re.sub(rf"\(({TYPE})\)(\w+)", lambda m: f"to_{TYPES[m[1]].__name__}({m[2]})", code)
    return re.sub(r"!(\w+)", r"logical_not(\1)", code)


# The module ---------------------------------------------------------------------------------------


class Device:
    """``cupy.cuda.Device``."""

    def __init__(self, index=0):
        self.index = index

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __eq__(self, other):
        return isinstance(other, Device) and other.index == self.index

    __hash__ = None

    def synchronize(self):
        pass


def build_module(name, source, **members):
    """Return a module with the functions of one of NumPy's, and others."""
    module = ModuleType(name)
    module.__spec__, module.__path__ = ModuleSpec(name, None), []
    for key, member in vars(source).items():
        if not key.startswith("_") and not isinstance(member, ModuleType):
            is_function = callable(member) and not isinstance(member, type)
            setattr(module, key, function(member) if is_function else member)
    vars(module).update(members)
    return module


def build_modules():
    """Return CuPy's modules by their names."""
    runtime = SimpleNamespace(
        CUDARuntimeError=RuntimeError,
        driverGetVersion=lambda: 13000,
        getDevice=lambda: 0,
        getDeviceCount=lambda: 1,
        memGetInfo=lambda: (2**30, 2**30),
    )
    empty_module = SimpleNamespace()
    cuda = build_module("cupy.cuda", empty_module, Device=Device, runtime=runtime)
    cuda.device = build_module("cupy.cuda.device", empty_module, Device=Device)
    linalg, fft = build_module("cupy.linalg", np.linalg), build_module("cupy.fft", np.fft)
    cupy = build_module(
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
    )
    modules = (cupy, cuda, cuda.device, linalg, fft, ModuleType("cupyx"))
    return {module.__name__: module for module in modules}


MODULES = build_modules()
"""The stand-in, and the modules that were imported with it: they hold its class of arrays."""


@contextmanager
def installed(modules: dict[str, ModuleType] = MODULES) -> Iterator[ModuleType]:
    """Replace CuPy by these modules inside the context; default: the stand-in."""
    before = exchange(modules)
    try:
        yield modules["cupy"]
    finally:
        modules.update(exchange(before))


def exchange(modules):
    """Replace CuPy's modules, and those that import it, by these; return what was there."""
    before = {name: sys.modules[name] for name in [*sys.modules] if re.fullmatch(OF_CUPY, name)}
    for name in before:
        del sys.modules[name]
    sys.modules.update(modules)
    for parent in (array_api_compat, anyback_nn.backends):
        vars(parent).pop("cupy", None)
        if (name := f"{parent.__name__}.cupy") in modules:
            parent.cupy = modules[name]
    return before


OF_CUPY = r"((array_api_compat|anyback_nn\.backends)\.)?cupyx?(\..+)?"
