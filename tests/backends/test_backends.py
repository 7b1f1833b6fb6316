"""Select a backend, and move arrays to it and back."""

import ast
import contextlib
import importlib
import pickle
import subprocess
import sys
import tomllib
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import array_api_compat
import numpy as np
import pytest
from array_api_compat import device
from cupy_stand_in import installed

import anyback_nn
from anyback_nn.array_api import array_namespace, to_numpy
from anyback_nn.backends import BACKENDS, ENVIRONMENT_VARIABLE, Backend, select, select_for
from anyback_nn.backends.base import load
from anyback_nn.backends.numpy import NumpyBackend
from anyback_nn.errors import AnybackError, BackendUnavailableError

PACKAGE = Path(anyback_nn.__file__).parent


# Selecting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, ""])
def test_default_is_numpy(name, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    if name is not None:
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, name)
    assert select().spec == "numpy"


def test_environment_variable(backend, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, backend.spec)
    assert select() == backend
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "no such backend")
    assert select("numpy").spec == "numpy"


def test_a_backend_selects_itself(backend):
    assert select(backend) is backend
    assert select(backend.spec) == backend


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("NumPy", "'numpy'"),
        ("numppy", "'numpy'"),
        ("pytorch", "'torch'"),
        ("torch:", "'torch'"),
        ("cup:1", "'cupy'"),
        ("array_api_strict", "'array-api-strict'"),
        ("fortran", None),
        (":0", None),
        ("", None),
    ],
)
def test_unknown_names(spec, hint):
    with pytest.raises(ValueError, match=f"^unknown backend '{spec}'") as caught:
        select(spec)
    message = str(caught.value)
    assert all(name in message for name in BACKENDS)
    assert ENVIRONMENT_VARIABLE not in message
    assert message.endswith(f" Did you mean {hint}?") if hint else "mean" not in message


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("tensorflow", ValueError, "'tensorflow'"),
        ("numpy:gpu", BackendUnavailableError, "no device 'gpu'"),
    ],
)
def test_errors_name_the_environment_variable(spec, error, message, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, spec)
    with pytest.raises(error, match=f"{message}.* variable {ENVIRONMENT_VARIABLE}"):
        select()


@pytest.mark.parametrize("wrong", [np, 0, BACKENDS["numpy"]])
def test_what_is_not_a_name(wrong):
    with pytest.raises(TypeError, match="expected the name of a backend, such as 'numpy', got"):
        select(wrong)


@pytest.mark.parametrize("name", ["nonsense", "99", "-1", "0.5"])
def test_devices_that_do_not_exist(name, backend):
    with pytest.raises(BackendUnavailableError, match=f"there is no device '{name}'") as caught:
        select(f"{backend.name}:{name}")
    assert str(caught.value).endswith(f"This machine has: {', '.join(backend.devices())}")


def test_every_listed_device_can_be_selected(backend):
    for spec in backend.devices():
        chosen = select(spec)
        assert_array(chosen.asarray([1.0, 2.0], "float32"), np.float32([1.0, 2.0]), chosen)
    default, *others = select(backend.name).kinds()
    assert default == backend.name
    assert set(others) <= set(backend.devices())
    assert select(default).device in [select(spec).device for spec in backend.devices()]


@pytest.mark.needs("torch")
def test_one_device_of_each_kind(monkeypatch):
    torch = load(BACKENDS["torch"])
    devices = ["torch:cpu", "torch:cuda:0", "torch:cuda:1", "torch:mps"]
    monkeypatch.setattr(torch, "devices", lambda self: devices)
    assert torch().kinds() == ["torch", "torch:cuda:0", "torch:mps"]
    monkeypatch.setattr(torch, "devices", lambda self: devices[:1])
    assert torch().kinds() == ["torch"]


# Unavailable -------------------------------------------------------------------------------------

MESSAGES = {
    "not installed": "is not installed",
    "broken": "cannot be imported",
    "no driver": "has no NVIDIA driver",
    "no GPU": "no GPU can be used",
    "no such GPU": "there is no device",
    "no libraries": "cannot compute on it",
}


def refusal(spec, case):
    """Return the message of the error, which is that of this case and none of the others."""
    with pytest.raises(BackendUnavailableError) as caught:
        select(spec)
    assert isinstance(caught.value, AnybackError)
    message = str(caught.value)
    assert [name for name, part in MESSAGES.items() if part in message] == [case]
    assert message.startswith(f"backend {spec!r}: ")
    return message


@pytest.mark.parametrize("name", BACKENDS)
def test_not_installed(name, monkeypatch):
    monkeypatch.setitem(sys.modules, BACKENDS[name].module, None)
    message = refusal(name, "not installed")
    assert f"pip install '{BACKENDS[name].requirement}'" in message


def test_installed_but_broken(tmp_path, monkeypatch):
    (tmp_path / "cupy").mkdir()
    broken = "raise ImportError('libcudart.so: cannot open shared object file')"
    (tmp_path / "cupy" / "__init__.py").write_text(broken)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if f".{name}.".count(".cupy.")]:
        monkeypatch.delitem(sys.modules, name)
    message = refusal("cupy", "broken")
    assert "ImportError: libcudart.so: cannot open" in message
    assert "--force-reinstall" in message


@pytest.fixture
def fake_cupy(monkeypatch):
    """Return a function that installs CuPy's stand-in, on a machine with that driver and GPUs."""

    def install(driver, count, broken=None):
        def raise_or(result):
            if isinstance(result, Exception):
                raise result
            return result

        cupy = stack.enter_context(installed())
        monkeypatch.setattr(cupy.cuda.runtime, "driverGetVersion", lambda: driver)
        monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", lambda: raise_or(count))
        if broken:
            monkeypatch.setattr(cupy, "zeros", lambda size: raise_or(broken))
        return cupy

    with contextlib.ExitStack() as stack:
        yield install


@pytest.mark.parametrize(
    ("machine", "spec", "case", "parts"),
    [
        (
            (0, RuntimeError("cudaErrorInsufficientDriver")),
            "cupy",
            "no driver",
            ["CuPy 14.2.0", "Install the driver", "'numpy'"],
        ),
        (
            (13000, RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")),
            "cupy",
            "no GPU",
            ["cudaErrorNoDevice", "nvidia-smi"],
        ),
        (
            (13000, 1, RuntimeError("libnvrtc.so: cannot open shared object file")),
            "cupy",
            "no libraries",
            ["libnvrtc.so", "pip install 'anyback-nn[cuda13]'", "anyback-nn[cuda12]"],
        ),
        *(
            ((13000, 2), f"cupy:{index}", "no such GPU", ["This machine has: cupy:0, cupy:1"])
            for index in ("2", "-1", "first")
        ),
    ],
)
def test_cupy_that_cannot_compute(machine, spec, case, parts, fake_cupy):
    fake_cupy(*machine)
    message = refusal(spec, case)
    assert all(part in message for part in parts)


def test_cupy_with_two_gpus(fake_cupy, monkeypatch):
    device, waited = fake_cupy(13000, 2).cuda.Device, []
    assert select("cupy").device == device(0)
    assert select("cupy:1").device == device(1) != device(0)
    assert [select(spec).spec for spec in select("cupy").devices()] == ["cupy:0", "cupy:1"]
    monkeypatch.setattr(device, "synchronize", lambda self: waited.append(self.index))
    select("cupy:1").synchronize()
    assert waited == [1]


# A backend as a value ----------------------------------------------------------------------------


def test_value(backend):
    again = select(backend.spec)
    assert again == backend
    assert hash(again) == hash(backend)
    assert pickle.loads(pickle.dumps(backend)) == backend
    libraries = [library for library in BACKENDS.values() if find_spec(library.module)]
    others = {Backend(), *(load(library)() for library in libraries)} - {type(backend)()}
    assert len(others) >= len(libraries)
    assert backend not in {type(backend)("another device"), *others}


class Custom(NumpyBackend):
    """A backend of a user's."""


def test_a_custom_backend_is_pickled_as_what_it_is():
    assert type(pickle.loads(pickle.dumps(Custom()))) is Custom


def test_version(backend):
    installed, *_ = metadata.packages_distributions()[backend.library.module]
    # A build for some version of CUDA may say so in one of the two.
    assert backend.version.split("+")[0] == metadata.version(installed).split("+")[0]


def test_requirements_are_extras_of_the_package():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    for kind in BACKENDS.values():
        extra = kind.requirement.removeprefix("anyback-nn[").removesuffix("]")
        assert extra == kind.requirement or extra in project["optional-dependencies"]


# Arrays in and out -------------------------------------------------------------------------------


def read_only(x):
    x.flags.writeable = False
    return x


NUMBERS = np.arange(12, dtype="float64").reshape(3, 4) - 5.5
HOST = {
    "list": NUMBERS.tolist(),
    "number": 2.5,
    "0-d": np.asarray(2.5),
    "NumPy scalar": np.float64(2.5),
    "empty": np.zeros((0, 3)),
    "float64": NUMBERS,
    "float32": NUMBERS.astype("float32"),
    "float16": NUMBERS.astype("float16"),
    "read-only": read_only(NUMBERS.copy()),
    "read-only float32": read_only(NUMBERS.astype("float32")),
    "backwards": NUMBERS.astype("float32")[::-1, ::-1],
    "every second": NUMBERS.astype("float32")[::2, 1::2],
    "transposed": NUMBERS.astype("float32").T,
    "Fortran order": np.asfortranarray(NUMBERS.astype("float32")),
    "big-endian": NUMBERS.astype(">f4"),
    "broadcast": np.broadcast_to(np.float32(1.5), (2, 3)),
    "integers": np.arange(6),
    "bytes": np.arange(6, dtype="uint8"),
    "booleans": np.asarray([True, False]),
}


def assert_array(x, expected, backend):
    assert backend.owns(x)
    assert device(x) == backend.device
    assert type(to_numpy(x)) is np.ndarray
    np.testing.assert_array_equal(to_numpy(x), expected)
    assert to_numpy(x).dtype == expected.dtype


@pytest.mark.parametrize("name", HOST)
def test_from_the_host_with_a_cast(name, backend):
    expected = np.asarray(HOST[name]).astype("float32")
    assert_array(backend.asarray(HOST[name], "float32"), expected, backend)


@pytest.mark.parametrize("kind", ["float32", "int32", "int8", "uint8", "bool"])
def test_from_the_host_as_it_is(kind, backend):
    x = np.asarray([0, 1, 1, 0]).astype(kind)
    assert_array(backend.asarray(x), x, backend)


@pytest.mark.parametrize("kind", ["float32", "int32"])
def test_the_other_byte_order(kind, backend):
    x = np.asarray([0, 1, 1, 258]).astype(kind)
    y = to_numpy(backend.asarray(x.astype(x.dtype.newbyteorder())))
    np.testing.assert_array_equal(y, x)
    assert y.dtype.newbyteorder("=") == x.dtype


def test_the_host_array_is_not_changed(backend):
    x = NUMBERS.astype("float32")
    y = backend.asarray(x, "float32")
    assert_array(y * 2, 2 * x, backend)
    np.testing.assert_array_equal(x, NUMBERS)


def other_libraries():
    """List the specs of the libraries that are installed here, on host memory."""
    specs = ["numpy", "torch", "jax", "array-api-strict", "array-api-strict:device1"]
    return [spec for spec in specs if find_spec(BACKENDS[spec.partition(":")[0]].module)]


@pytest.mark.parametrize("kind", ["float32", "int32", "bool"])
@pytest.mark.parametrize("spec", other_libraries())
def test_from_another_library(spec, kind, backend):
    expected = np.asarray([[0, 1, 1], [0, 1, 0]]).astype(kind)
    foreign = select(spec).asarray(expected)
    assert_array(backend.asarray(foreign), expected, backend)
    assert_array(backend.asarray(foreign, "float32"), expected.astype("float32"), backend)
    assert_array(backend.asarray(select(spec).xp.matrix_transpose(foreign)), expected.T, backend)


@pytest.mark.needs("torch")
def test_a_tensor_with_a_gradient_is_detached(backend):
    import torch

    x = torch.ones(3, requires_grad=True)
    assert_array(backend.asarray(x * 2), np.full(3, 2, "float32"), backend)
    assert not getattr(backend.asarray(x), "requires_grad", False)
    assert to_numpy(x * 2).tolist() == [2, 2, 2]


def address(x):
    """Return where an array is, also in the memory of a device."""
    for name in ("data_ptr", "unsafe_buffer_pointer"):
        if hasattr(x, name):
            return getattr(x, name)()
    if hasattr(x, "__sycl_usm_array_interface__"):
        return x.__sycl_usm_array_interface__["data"][0]
    return to_numpy(x).ctypes.data


def test_own_arrays_are_not_copied(backend):
    x = backend.asarray(NUMBERS, "float32")
    for y in (backend.asarray(x), backend.asarray(x, "float32")):
        assert y is x or address(y) == address(x)


@pytest.mark.parametrize("name", ["numpy", pytest.param("torch", marks=pytest.mark.needs("torch"))])
def test_host_memory_is_taken_over(name):
    x = NUMBERS.astype("float32")
    assert np.shares_memory(x, to_numpy(select(name).asarray(x)))
    assert np.shares_memory(x, to_numpy(select(name).asarray(x, "float32")))
    assert not np.shares_memory(x, to_numpy(select(name).asarray(x, "int32")))


@pytest.mark.needs("torch")
def test_tensors_keep_their_memory():
    import torch

    x = torch.ones(3)
    assert select("torch").asarray(x).data_ptr() == x.data_ptr()
    assert np.shares_memory(select("numpy").asarray(x), x.numpy())


def test_owns_nothing_else(backend):
    others = [spec for spec in other_libraries() if spec.partition(":")[0] != backend.name]
    for spec in others:
        assert not backend.owns(select(spec).asarray([1.0], "float32"))
    for x in (1.0, [1.0], None, "text"):
        assert not backend.owns(x)


# From an array to its library --------------------------------------------------------------------


def test_the_backend_of_an_array(backend):
    for spec in backend.devices():
        chosen = select(spec)
        selected = select_for(chosen.asarray([1.0, 2.0], "float32"))
        assert (selected.name, selected.device) == (chosen.name, chosen.device)
    # On the default device, the name alone.
    assert select_for(select(backend.name).asarray([1.0], "float32")) == select(backend.name)


def test_the_backend_of_an_array_moves_others_to_it(backend):
    x = backend.asarray(NUMBERS, "float32")
    for other in other_libraries():
        moved = select_for(x).asarray(select(other).asarray(NUMBERS, "float32"))
        assert_array(moved, NUMBERS.astype("float32"), backend)


@pytest.mark.parametrize("wrong", [1.0, [1.0, 2.0], None, "text"])
def test_what_is_no_array_has_neither_backend_nor_namespace(wrong):
    kind = f"{type(wrong).__module__}.{type(wrong).__name__}"
    with pytest.raises(TypeError, match=f"expected an array of one of numpy, .*, got {kind}"):
        select_for(wrong)
    # Nor has it one at the second call.
    for _ in range(2):
        with pytest.raises(TypeError, match="array"):
            array_namespace(wrong)


def test_selecting_for_an_array_imports_no_other_library():
    code = (
        "import sys, numpy; from anyback_nn.backends import select_for; "
        "print(select_for(numpy.zeros(2)).spec, *{'torch', 'jax', 'cupy'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "numpy"


def test_the_namespace_of_an_array(backend):
    x = backend.asarray([1.0], "float32")
    # Twice, because it is cached.
    for _ in range(2):
        assert array_namespace(x) is backend.xp is array_api_compat.array_namespace(x)
    assert anyback_nn.array_namespace is array_namespace


def test_the_namespace_within_a_compiled_function(backend):
    seen = []

    def double(x):
        seen.append(array_namespace(x))
        return 2 * x

    assert to_numpy(backend.jit(double)(backend.asarray([1.5], "float32"))).tolist() == [3.0]
    assert seen == [backend.xp]


# Computing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scope_holds_the_dtype(dtype, backend):
    with backend.scope(dtype):
        held = backend.xp.__array_namespace_info__().dtypes(device=backend.device)
        assert (dtype in held) == (dtype == "float32" or "no_" not in backend.spec)
        if dtype in held:
            x = backend.asarray([0.1], dtype)
            assert_array(x, np.asarray([0.1], dtype), backend)
            assert_array(x * 2.0, np.asarray([0.2], dtype), backend)
            ones = backend.xp.ones((2,), dtype=held[dtype], device=backend.device)
            assert_array(ones, np.ones(2, dtype), backend)


def test_scope_ends(backend):
    before = backend.xp.asarray([0.1]).dtype
    with backend.scope("float64"):
        pass
    assert backend.xp.asarray([0.1]).dtype == before


def test_compile(backend):
    calls = []

    def step(tree, factor, nothing):
        calls.append(tree)
        assert nothing is None
        return {"a": factor * tree[0]["a"]}, (tree[0]["a"] + 1.0,)

    compiled = backend.jit(step, donate=(0,))
    for number in (1.0, 2.0):
        x = backend.asarray([number], "float32")
        scaled, (moved,) = compiled(({"a": x}, ()), 3.0, None)
        assert to_numpy(scaled["a"]).tolist() == [3 * number]
        assert to_numpy(moved).tolist() == [number + 1]
    assert len(calls) == (1 if backend.name == "jax" else 2)  # JAX traces once


@pytest.mark.needs("torch")
def test_pytorch_waits_for_a_gpu(monkeypatch):
    torch, waited = importlib.import_module("torch"), []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append(str(device)))
    x = torch.ones(2)
    load(BACKENDS["torch"])().synchronize(x)
    assert waited == []
    load(BACKENDS["torch"])("cuda:0").synchronize(x)
    assert waited == ["cuda:0"]


@pytest.mark.needs("jax")
def test_jax_waits_for_the_arrays(monkeypatch):
    jax, waited = importlib.import_module("jax"), []
    monkeypatch.setattr(jax, "block_until_ready", waited.extend)
    arrays = jax.numpy.ones(2), jax.numpy.zeros(3)
    load(BACKENDS["jax"])().synchronize(*arrays)
    assert [*map(id, waited)] == [*map(id, arrays)]


# What the file promises --------------------------------------------------------------------------


def test_importing_the_package_imports_no_array_library():
    code = (
        "import sys, anyback_nn; "
        "print(*{'numpy', 'array_api_compat'} & sys.modules.keys()); "
        "import anyback_nn.backends, anyback_nn.testing.variants; "
        "print(*{'torch', 'jax', 'cupy', 'array_api_strict'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_mathematics_knows_the_standard_alone():
    known = {"__future__", "abc", "anyback_nn", "array_api_compat", "collections", "dataclasses"}
    known |= {"functools", "math", "typing"}
    for path in PACKAGE.glob("network/*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        modules |= {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert {name.partition(".")[0] for name in modules} <= known, path


# Settings of the user's --------------------------------------------------------------------------


@pytest.mark.needs("torch")
@pytest.mark.parametrize("how", ["trained", "built", "loaded", "moved", "unpickled", "estimator"])
def test_a_model_made_in_inference_mode_can_be_trained_later(how, tmp_path):
    import torch

    from anyback_nn.sklearn import MLPRegressor

    x, y = np.arange(8.0)[:, None] / 8.0, np.arange(8.0) / 8.0

    def build():
        return anyback_nn.Model(
            anyback_nn.Dense(1),
            anyback_nn.BatchNorm(),
            loss=anyback_nn.MeanSquaredError(),
            backend="torch",
        )

    trained = build()
    trained.fit(x, y, epochs=1)
    trained.save(tmp_path / "model.safetensors")
    with torch.inference_mode():
        if how == "trained":
            model = build()
            model.fit(torch.asarray(x), torch.asarray(y), epochs=1, batch_size=None)
        elif how == "built":
            model = build().build(1)
        elif how == "loaded":
            model = anyback_nn.Model.load(tmp_path / "model.safetensors", "torch")
        elif how == "moved":
            model = trained.to("torch")
        elif how == "unpickled":
            model = pickle.loads(pickle.dumps(trained))
        else:
            settings = {"backend": "torch", "warm_start": True, "n_iter_no_change": 1, "tol": 9.0}
            model = MLPRegressor(**settings).fit(x, y)
            model.coefs_[0] = torch.ones((1, 100))
        assert torch.is_inference_mode_enabled()
        assert not torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    if how == "estimator":
        assert np.isfinite(model.fit(x, y).loss_)
    else:
        assert np.isfinite(model.fit(x, y, epochs=3)["train_loss"][-1])


@pytest.mark.needs("jax")
@pytest.mark.parametrize(
    ("setting", "value"),
    [("jax_numpy_rank_promotion", "raise"), ("jax_numpy_dtype_promotion", "strict")],
)
def test_promotion_that_a_user_has_forbidden_is_the_standards_here(setting, value):
    import jax

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.integers(0, 2, 12)
    layers = (
        anyback_nn.Dense(4),
        anyback_nn.BatchNorm(),
        anyback_nn.ReLU(),
        anyback_nn.Dropout(0.2),
        anyback_nn.LayerNorm(),
        anyback_nn.Dense(2),
    )

    def train():
        model = anyback_nn.Model(*layers, loss=anyback_nn.SoftmaxCrossEntropy(), backend="jax")
        optimizer = anyback_nn.Adam(0.01, clip_norm=1.0, l1=0.01)
        options = {"sample_weight": y + 1.0, "validation": 0.25, "optimizer": optimizer}
        model.fit(x, y, epochs=2, batch_size=4, **options)
        return model.history["train_loss"], model.evaluate(x, y), model.predict(x).tolist()

    expected, before = train(), getattr(jax.config, setting)
    jax.config.update(setting, value)
    try:
        assert train() == expected
        assert getattr(jax.config, setting) == value
    finally:
        jax.config.update(setting, before)
