"""Modules of release 0.1 under their old names: what was imported or pickled there is found."""

import importlib
import subprocess
import sys
from importlib.util import find_spec

import pytest

import anyback_nn
from anyback_nn._moved import MOVED

PICKLED = {
    "anyback_nn.backend": ["JaxBackend", "NumpyBackend", "TorchBackend"],
    "anyback_nn.model": ["Model"],
    "anyback_nn.network.activations": [
        "ELU",
        "GELU",
        "LeakyReLU",
        "ReLU",
        "SELU",
        "SiLU",
        "Sigmoid",
        "Tanh",
    ],
    "anyback_nn.network.initializers": ["GlorotUniform", "HeNormal", "LeCunNormal", "Orthogonal"],
    "anyback_nn.network.layers": ["BatchNorm", "Dense", "Dropout", "LayerNorm"],
    "anyback_nn.network.losses": [
        "BinaryCrossEntropy",
        "Huber",
        "MeanSquaredError",
        "Poisson",
        "SoftmaxCrossEntropy",
    ],
    "anyback_nn.network.network": ["Network", "Residual"],
    "anyback_nn.network.parameters": ["Layout", "Leaf"],
    "anyback_nn.sklearn.classifier": ["MLPClassifier"],
    "anyback_nn.sklearn.regressor": ["MLPRegressor"],
    "anyback_nn.sklearn.solvers": ["Recorded", "SklearnAdam", "SklearnSGD"],
    "anyback_nn.training.history": ["History"],
    "anyback_nn.training.metrics": ["absolute_error", "accuracy"],
    "anyback_nn.training.optimizers": ["Adam", "AdamW", "Momentum", "Nesterov", "RMSProp"],
    "anyback_nn.training.schedules": ["CosineDecay", "ReduceOnPlateau"],
    "anyback_nn.training.state": ["TrainingState"],
}
"""The names in files of release 0.1, among them files of estimators and models."""

LIBRARIES = {"JaxBackend": "jax", "TorchBackend": "torch"}
BACKEND = (
    *("BACKENDS", "ENVIRONMENT_VARIABLE", "Array", "Backend", "array_namespace", "select"),
    *("select_for", "to_numpy", "is_host", "lies_on_host"),
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("module", PICKLED)
def test_pickled_names_are_found(module):
    for name in PICKLED[module]:
        if find_spec(LIBRARIES.get(name, "numpy")):
            assert getattr(importlib.import_module(module), name).__name__ == name


def test_old_modules_warn_once_and_have_the_new_names():
    code = (
        "import anyback_nn, warnings\n"
        "with warnings.catch_warnings(record=True, action='always') as caught:\n"
        f"    for name in {[*MOVED]!r}: __import__(name)\n"
        "    import anyback_nn.backend\n"
        "print(*(w.category.__name__ for w in caught))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["DeprecationWarning"] * len(MOVED)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_public_module_backend():
    from anyback_nn.backends import BACKENDS

    assert anyback_nn.backend.BACKENDS is BACKENDS
    assert all(hasattr(anyback_nn.backend, name) for name in BACKEND)
    with pytest.raises(AttributeError, match=r"module 'anyback_nn\.backend' has no attribute 'no'"):
        anyback_nn.backend.no


def test_a_pickle_of_a_backend_whose_library_is_missing_loads(tmp_path):
    code = (
        "import sys, pickle, warnings; sys.modules['torch'] = None\n"
        "warnings.simplefilter('ignore'); import anyback_nn as nn, anyback_nn.backend\n"
        "kind = anyback_nn.backend.TorchBackend\n"
        "backend = kind.__new__(kind); backend.__dict__.update(device_name='cuda:0')\n"
        "again = pickle.loads(pickle.dumps(backend)); print(again.spec)\n"
        "try: again.check()\n"
        "except nn.BackendUnavailableError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    spec, error = done.stdout.splitlines()
    assert spec == "torch:cuda:0"
    assert error.startswith("backend 'torch:cuda:0': torch is not installed")
