"""Neural networks written once, forward and backward by hand, on the array API standard.

The same lines train on NumPy on the CPU (the default), on CuPy on the GPU (``backend="cupy"``,
untested on a GPU so far), and on PyTorch, JAX and array-api-strict arrays.

>>> import anyback_nn as nn
>>> model = nn.Model(nn.Dense(32), nn.ReLU(), nn.Dense(10), loss=nn.SoftmaxCrossEntropy())
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "anyback_nn.model": ("Model",),
    "anyback_nn.backend": ("BACKENDS", "Backend", "array_namespace", "select"),
    "anyback_nn.network.network": ("Network", "Residual"),
    "anyback_nn.network.layer": ("PREDICTION", "Context", "Layer"),
    "anyback_nn.network.layers": ("BatchNorm", "Dense", "Dropout", "LayerNorm"),
    "anyback_nn.training.metrics": ("absolute_error", "accuracy"),
    "anyback_nn.network.activations": (
        "ACTIVATIONS",
        "ELU",
        "GELU",
        "SELU",
        "Activation",
        "Identity",
        "LeakyReLU",
        "ReLU",
        "SiLU",
        "Sigmoid",
        "Softmax",
        "Softplus",
        "Tanh",
    ),
    "anyback_nn.network.losses": (
        "LOSSES",
        "BinaryCrossEntropy",
        "Huber",
        "Loss",
        "MeanAbsoluteError",
        "MeanSquaredError",
        "Poisson",
        "ProbabilityCrossEntropy",
        "SoftmaxCrossEntropy",
        "mean_loss",
    ),
    "anyback_nn.network.initializers": (
        "Constant",
        "GlorotNormal",
        "GlorotUniform",
        "HeNormal",
        "HeUniform",
        "Initializer",
        "LeCunNormal",
        "LeCunUniform",
        "Orthogonal",
        "Zeros",
    ),
    "anyback_nn.training.optimizers": (
        "OPTIMIZERS",
        "Adagrad",
        "Adam",
        "AdamW",
        "GradientDescent",
        "Momentum",
        "Nesterov",
        "Optimizer",
        "RMSProp",
    ),
    "anyback_nn.training.schedules": (
        "CosineDecay",
        "ExponentialDecay",
        "ReduceOnPlateau",
        "Schedule",
        "StepDecay",
    ),
    "anyback_nn.training.callbacks": ("Callback", "EarlyStopping"),
    "anyback_nn.training.history": ("History",),
    "anyback_nn.errors": (
        "AnybackError",
        "BackendUnavailableError",
        "CheckpointError",
        "DataError",
        "DivergenceError",
        "OutOfMemoryError",
        "ShapeError",
    ),
}
"""The public names, by the module that defines each (type checkers read ``__init__.pyi``)."""

_SUBMODULES = ("backend", "datasets", "errors", "network", "random", "testing", "training")
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = [*sorted(_HOME), *_SUBMODULES]  # noqa: PLE0604 - they are all strings


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: ``import anyback_nn`` alone loads no library."""
    if name in _SUBMODULES:
        return importlib.import_module(f"anyback_nn.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'anyback_nn' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
