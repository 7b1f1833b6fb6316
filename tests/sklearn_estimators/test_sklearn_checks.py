"""scikit-learn's own checks of estimators, of which none is left out, on every backend.

What `sklearn.utils.estimator_checks` looks at: that parameters, copies, errors, warnings, dtypes
and shapes are as scikit-learn's conventions say, and that arrays of other libraries can be passed
in. There are no expected failures; what a check cannot do on this machine is listed here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
import warnings
from functools import partial
from unittest import SkipTest

import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._array_api import NamespaceAndDevice
from sklearn.utils.estimator_checks import (
    check_array_api_input,
    check_array_api_mixed_inputs,
    check_array_api_same_namespace,
    estimator_checks_generator,
)

from anyback_nn.sklearn import MLPClassifier, MLPRegressor

ESTIMATORS = {
    "MLPClassifier": MLPClassifier(max_iter=100),
    "MLPRegressor": MLPRegressor(max_iter=100),
}
"""With the limit that scikit-learn sets for its own perceptrons in its tests."""

SETTINGS = {
    ("MLPClassifier", "check_sample_weight_equivalence_on_dense_data"): {"solver": "lbfgs"},
    ("MLPRegressor", "check_sample_weight_equivalence_on_dense_data"): {
        "solver": "sgd",
        "tol": 1e-2,
        "random_state": 42,
    },
}
"""What scikit-learn sets for single checks: a sample that counts twice is in two batches else."""

NOT_HERE = (
    "pandas is not installed",
    "does not have a decision_function method",
    # Of the checks with arrays of other libraries: see `outcomes`.
    "is not installed: not checking array_api input",
    "does not support float64 on device",
    "PyTorch test requires cuda, which is not available",
    "XPU is not available",
    "no XPU device is available",
    "MPS is not available",
    "PYTORCH_ENABLE_MPS_FALLBACK is not set",
)
"""Why a check may be skipped: anything else is a failure."""

ARRAYS = "check_array_api"

# How checks are found and carried out ------------------------------------------------------------


def label(check):
    """The name of a check with what it is given, as in scikit-learn's own tests."""
    settings = ",".join(
        "-".join([name, *(str(part) for part in (value if isinstance(value, tuple) else [value]))])
        for name, value in check.keywords.items()
    )
    return f"{check.func.__name__}({settings})" if settings else check.func.__name__


def generated(name, arrays):
    """The checks that scikit-learn has for an estimator: those with other arrays, or all others."""
    checks = [check for _, check in estimator_checks_generator(ESTIMATORS[name])]
    return [check for check in checks if check.func.__name__.startswith(ARRAYS) == arrays]


def every(arrays):
    """All checks of both estimators, as parameters of a test."""
    return pytest.mark.parametrize(
        ("name", "check"),
        [
            pytest.param(name, check, id=f"{name}-{label(check)}")
            for name in ESTIMATORS
            for check in generated(name, arrays)
        ],
    )


def follow(came):
    """Pass, skip or fail as a check did."""
    if came.startswith("skipped: "):
        assert any(known in came for known in NOT_HERE), came
        pytest.skip(came.removeprefix("skipped: "))
    assert came == "passed", came


# Computed by a backend ---------------------------------------------------------------------------


SMALL = {
    "MLPClassifier": {"max_iter": 25, "learning_rate_init": 0.02, "hidden_layer_sizes": (20,)},
    "MLPRegressor": {"max_iter": 25, "learning_rate_init": 0.1, "hidden_layer_sizes": ()},
}
"""With these, fewer epochs are enough. On NumPy, where a hundred take a tenth of the time, the
settings are those of scikit-learn's own tests."""

IN_FLOAT64 = (
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
    "check_regressor_multioutput",
)
"""Checks that want the accuracy, or the dtype, of float64 for inputs of float64."""


@every(arrays=False)
def test_on_the_backend(backend, name, check):
    if check.func.__name__ in IN_FLOAT64 and not backend.supports("float64"):
        pytest.skip("the check wants float64, which this device does not have")
    settings = {} if backend.spec == "numpy" else SMALL[name] | {"backend": backend}
    settings |= SETTINGS.get((name, check.func.__name__), {})
    try:
        check(clone(ESTIMATORS[name]).set_params(**settings))
    except SkipTest as skipped:
        follow(f"skipped: {skipped}")


# With arrays of other libraries ------------------------------------------------------------------
#
# scikit-learn passes them through to its own functions only where SCIPY_ARRAY_API is set before
# SciPy is imported, and SciPy behaves differently then: so these checks have a process to
# themselves, one for a backend.

NAMESPACES = {
    "numpy": ("numpy", None),
    "array-api-strict": ("array_api_strict", "CPU_DEVICE"),
    "array-api-strict:device1": ("array_api_strict", "device1"),
    "array-api-strict:no_float64": ("array_api_strict", "no_float64"),
    "torch": ("torch", "cpu"),
    "torch:cuda": ("torch", "cuda"),
    "jax": ("jax.numpy", None),
    "cupy": ("cupy", None),
    "dpnp": ("dpnp", None),
}
"""The backends as these checks name them. Variants have no arrays of their own."""

OTHERS = ("numpy", "array-api-strict:device1", "torch")
"""Those of them whose arrays are mixed with a backend's."""


def with_arrays_of(spec):
    """Checks with a backend's arrays, for which scikit-learn has the functions but no list."""
    here = NamespaceAndDevice(*NAMESPACES[spec])
    arrays = {"array_namespace": here.xp, "device_name": here.device}
    checks = {}
    for dtype in ("float32", "float64"):
        for weights in (False, True):
            checks[f"{dtype}-{'weights' if weights else 'alone'}"] = partial(
                check_array_api_input,
                **arrays,
                dtype_name=dtype,
                check_values=True,
                check_sample_weight=weights,
            )
    for name in OTHERS:
        other = NamespaceAndDevice(*NAMESPACES[name])
        checks[f"targets-of-{name}"] = partial(
            check_array_api_mixed_inputs, X_ns_and_device=here, other_ns_and_device=other
        )
        checks[f"inputs-of-{name}"] = partial(
            check_array_api_mixed_inputs, X_ns_and_device=other, other_ns_and_device=here
        )
    checks["same_namespace"] = partial(check_array_api_same_namespace, **arrays)
    return checks


def outcomes(spec):
    """Carry out checks with other arrays: what came of each, by estimator and check."""
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", ConvergenceWarning)
    if spec == "jax":
        import jax

        # The checks compare dtypes with those of NumPy.
        jax.config.update("jax_enable_x64", True)
    for name, estimator in ESTIMATORS.items():
        quick = clone(estimator).set_params(max_iter=10)
        if spec == "jax":
            quick.set_params(hidden_layer_sizes=())
        if spec == "listed":
            checks = {label(check): check for check in generated(name, arrays=True)}
        else:
            checks = {key: partial(check, name) for key, check in with_arrays_of(spec).items()}
        for key, check in checks.items():
            try:
                check(quick)
                came = "passed"
            except SkipTest as skipped:
                came = f"skipped: {skipped}"
            except Exception:
                came = traceback.format_exc()
            yield f"{name}-{key}", came


def in_a_process_of_its_own(spec):
    done = subprocess.run(
        [sys.executable, __file__, spec],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def listed():
    """What came of the checks in scikit-learn's own list."""
    return in_a_process_of_its_own("listed")


@pytest.fixture(scope="module")
def own(backend):
    """What came of the checks with a backend's arrays."""
    return in_a_process_of_its_own(backend.spec) if backend.spec in NAMESPACES else {}


@pytest.mark.needs("torch")  # the library of most of them
@every(arrays=True)
def test_with_the_arrays_that_scikit_learn_lists(listed, name, check):
    follow(listed[f"{name}-{label(check)}"])


@pytest.mark.skip_backends(
    "numpy:readonly",
    "array-api-strict:strictest",
    "jax:eager",
    reason="its arrays are those of its library, which are checked there",
)
@pytest.mark.parametrize("key", list(with_arrays_of("numpy")))
@pytest.mark.parametrize("name", ESTIMATORS)
def test_with_arrays_of_the_backend(backend, own, name, key):
    if (backend.spec, key) == ("numpy", "same_namespace"):
        pytest.skip("the other namespace of this check is NumPy")
    follow(own[f"{name}-{key}"])


if __name__ == "__main__":
    print(json.dumps(dict(outcomes(sys.argv[1]))))
