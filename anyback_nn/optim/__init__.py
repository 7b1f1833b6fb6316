"""Optimisers and learning-rate schedules."""

from anyback_nn.optim import like_sklearn  # noqa: F401 - so that files can name its classes
