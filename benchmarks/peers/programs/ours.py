"""A classifier of digits, as a user of anyback_nn writes it."""

import sys

import numpy as np

import anyback_nn as nn

data = np.load(sys.argv[1])
model = nn.Model(nn.Dense(64), nn.ReLU(), nn.Dense(10), loss=nn.SoftmaxCrossEntropy())
model.fit(data["x"], data["y"], optimizer=nn.Adam(1e-3), epochs=30, batch_size=32)
print(np.mean(model.predict_classes(data["x_test"]) == data["y_test"]))
