"""Train the same network on every backend that works here, and compare the results.

The same seed gives the same initial weights, the same order of the samples and the same dropout
masks on all of them, so only rounding differs.
"""

import time

import anyback_nn as nn

digits = nn.datasets.load_digits()
reference = None

print(f"{'backend':18} {'test accuracy':>13} {'largest difference':>19} {'seconds':>8}")
for name in nn.BACKENDS:
    try:
        backend = nn.select(name)
    except nn.BackendUnavailableError as error:
        print(f"{name:18} {str(error).split(': ', 1)[1]}")
        continue
    model = nn.Model(
        nn.Dense(64),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Dense(10),
        loss=nn.SoftmaxCrossEntropy(),
        backend=backend,
        dtype="float64",
    )
    started = time.perf_counter()
    model.fit(digits.x_train, digits.y_train, epochs=5)
    seconds = time.perf_counter() - started
    accuracy = model.evaluate(digits.x_test, digits.y_test)["accuracy"]
    predictions = model.predict(digits.x_test)
    reference = predictions if reference is None else reference
    difference = abs(predictions - reference).max()
    print(f"{backend.spec:18} {accuracy:13.4f} {difference:19.1e} {seconds:8.2f}")
