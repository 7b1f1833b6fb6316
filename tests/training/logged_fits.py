"""The model, the data and the call of ``fit`` that the tests of logs share."""

import anyback_nn as nn

X, Y = nn.datasets.make_moons(60, noise=0.1, seed=0)
FIT = {"batch_size": 20, "progress": False}


def create_model():
    return nn.Model(nn.Dense(8), nn.Tanh(), nn.Dense(2), loss="softmax_cross_entropy", seed=3)


def fit(model, *callbacks, **options):
    return model.fit(X, Y, **{**FIT, "epochs": 3, "callbacks": callbacks, **options})
