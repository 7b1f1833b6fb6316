"""A classifier of digits, as a user of Keras writes it."""

import os
import sys

import numpy as np

os.environ["KERAS_BACKEND"] = "jax"  # read when Keras is imported
import keras

data = np.load(sys.argv[1])
layers = [keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)]
model = keras.Sequential(layers)
model.compile(
    optimizer=keras.optimizers.Adam(1e-3),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
model.fit(data["x"], data["y"], batch_size=32, epochs=30, verbose=0)
print(np.mean(model.predict(data["x_test"], verbose=0).argmax(1) == data["y_test"]))
