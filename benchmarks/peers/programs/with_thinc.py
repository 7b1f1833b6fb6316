"""A classifier of digits, as a user of Thinc writes it."""

import sys

import numpy as np
from thinc.api import Adam, Relu, Softmax, chain

data = np.load(sys.argv[1])
x, labels = data["x"], np.eye(10, dtype=np.float32)[data["y"]]
model = chain(Relu(64), Softmax(10))
model.initialize(X=x[:2], Y=labels[:2])
optimizer = Adam(1e-3, L2=0.0, grad_clip=0.0, use_averages=False)
rng = np.random.default_rng(0)
for _ in range(30):
    order = rng.permutation(len(x))
    for start in range(0, len(order), 32):
        rows = order[start : start + 32]
        guesses, backward = model.begin_update(x[rows])
        backward((guesses - labels[rows]) / len(rows))
        model.finish_update(optimizer)
print(np.mean(model.predict(data["x_test"]).argmax(1) == data["y_test"]))
