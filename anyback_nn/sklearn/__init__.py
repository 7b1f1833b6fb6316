"""scikit-learn's multi-layer perceptrons on any backend: change the import, keep the code.

Examples
--------
>>> from anyback_nn.sklearn import MLPClassifier
>>> from sklearn.datasets import load_iris
>>> x, y = load_iris(return_X_y=True)
>>> MLPClassifier(max_iter=1000, random_state=0).fit(x, y).score(x, y) > 0.95
True
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    _version = version("scikit-learn")
except PackageNotFoundError:
    _version = "none"
if _version == "none" or tuple(map(int, _version.split(".")[:2])) < (1, 9):
    raise ImportError(
        f"anyback_nn.sklearn needs scikit-learn 1.9 or newer, and found {_version}. "
        "Install it with: pip install 'anyback-nn[sklearn]'"
    )

from anyback_nn.sklearn.classifier import MLPClassifier
from anyback_nn.sklearn.convert import from_sklearn
from anyback_nn.sklearn.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "from_sklearn"]
