"""Train on the included digits, evaluate, predict, save the model and load it again."""

import tempfile
from pathlib import Path

import anyback_nn as nn

digits = nn.datasets.load_digits()

model = nn.Model(
    nn.Dense(128),
    nn.ReLU(),
    nn.Dropout(0.1),
    nn.Dense(10),
    loss=nn.SoftmaxCrossEntropy(),
    backend="numpy",  # "cupy" is the whole switch to the GPU
    seed=0,
)
history = model.fit(
    digits.x_train,
    digits.y_train,
    optimizer=nn.Adam(1e-3),
    epochs=60,
    batch_size=32,
    validation=0.1,
    callbacks=[nn.EarlyStopping(patience=8)],
)
print(f"{len(history)} epochs, training loss {history.last['train_loss']:.4f}")

report = model.evaluate(digits.x_test, digits.y_test)
print(f"test accuracy {report['accuracy']:.4f}, test loss {report['loss']:.4f}")

probabilities = model.predict(digits.x_test[:3])
print("most probable digits of three images:", probabilities.argmax(axis=1))
print("targets:                             ", digits.y_test[:3])

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "digits.safetensors"
    model.save(path)
    loaded = nn.Model.load(path)
    same = bool((loaded.predict(digits.x_test[:3]) == probabilities).all())
    print("the loaded model predicts the same:", same)
