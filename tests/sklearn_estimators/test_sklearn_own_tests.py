"""scikit-learn's own tests of its perceptrons, as installed, with the import replaced."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

# Only what they expect of warnings counts: elsewhere in this project, all others are errors.
pytestmark = pytest.mark.filterwarnings("ignore")

PRIVATE = {
    "test_fit": "sets _coef_grads, _coef_velocity and coefs_ of an estimator that was never fitted",
    "test_gradient": "calls _loss_grad_lbfgs, with its buffers; test_sklearn_lbfgs.py has ours",
    "test_learning_rate_warmstart": "reads _optimizer.learning_rate; ours is in model_.history",
    "test_adaptive_learning_rate": "reads _optimizer.learning_rate; ours is in model_.history",
}
"""The tests that use private attributes of scikit-learn's, and which."""


def load_tests():
    """The tests of the installed file by name, which import our estimators."""
    spec = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    if spec is None or spec.origin is None:
        pytest.skip("scikit-learn is installed without its tests", allow_module_level=True)
    source, theirs = Path(spec.origin).read_text(), "from sklearn.neural_network import"
    assert source.count(theirs) == 1
    module = ModuleType("sklearn_own_tests")
    replaced = source.replace(theirs, "from anyback_nn.sklearn import")
    exec(compile(replaced, spec.origin, "exec"), vars(module))
    return {name: value for name, value in vars(module).items() if name.startswith("test_")}


TESTS = load_tests()
for _name, _reason in PRIVATE.items():
    # Strict, so that this list has no test that passes.
    _mark = pytest.mark.xfail(raises=AttributeError, strict=True, reason=_reason)
    TESTS[_name] = _mark(TESTS[_name])
globals().update(TESTS)


@pytest.fixture
def global_random_seed():
    """scikit-learn's fixture, with its default."""
    return 42
