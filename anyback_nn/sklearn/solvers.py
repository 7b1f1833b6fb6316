"""The update rules under the name that pickled estimators of release 0.1 know them by."""

from anyback_nn.optim.like_sklearn import Recorded, SklearnAdam, SklearnSGD

__all__ = ["Recorded", "SklearnAdam", "SklearnSGD"]
