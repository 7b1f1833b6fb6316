// The script in Python that reproduces a run.

const PYTHON_SHAPES = { spirals: "n_classes=2, ", blobs: "n_classes=2, " };

/** Write a list of numbers, a few on a line. Nine digits are a float32 exactly. */
function writeNumbers(values, perLine) {
  const lines = [];
  for (let i = 0; i < values.length; i += perLine) {
    const part = Array.from(values.slice(i, i + perLine), (value) => Number(value.toPrecision(9)));
    lines.push(`    ${part.join(", ")},`);
  }
  return lines.join("\n");
}

function writeData(settings, data) {
  const split = `n_train = ${data.nTrain}`;
  if (settings.shape !== "own") {
    const options = `${data.y.length}, ${PYTHON_SHAPES[data.name] ?? ""}noise=${settings.noise}, seed=0`;
    return `x, y = nn.datasets.make_${data.name}(${options})\n${split}`;
  }
  const [a, b] = data.columns.map((name) => JSON.stringify(name));
  return [
    `# ${JSON.stringify(data.name)}: the columns ${a} and ${b}, standardised;`,
    `# class 1 is ${JSON.stringify(data.classes[1])}.`,
    `x = np.array([\n${writeNumbers(data.x, 8)}\n], "float32").reshape(-1, 2)`,
    `y = np.array([\n${writeNumbers(data.y, 32)}\n])`,
    split,
  ].join("\n");
}

/** Write one call of `fit`: some steps with the same settings. */
function writeFit({ optimizer, learningRate, l2, batchSize }, steps) {
  const rule = `nn.${optimizer}(${[learningRate, ...(l2 ? [`l2=${l2}`] : [])].join(", ")})`;
  const begin = `optimizer, batches = ${rule}, divide(${batchSize})`;
  const fit = `model.fit(itertools.islice(batches, ${steps}), optimizer=optimizer, epochs=1)`;
  return `${begin}\n${steps ? fit : "# No step has been taken."}`;
}

/** Write the script for a run until now, and for the next update of a weight. */
function writeScript({ settings, data, past, begin, steps }, { layer, from, to }) {
  const { widths, activation, seed, shape } = settings;
  const layers = [
    ...widths.map((n) => `nn.Dense(${n}, initializer=nn.GlorotUniform()), nn.${activation}(),`),
    "nn.Dense(1),",
  ];
  const calls = [...past, { settings, steps: steps - begin.step }];
  const [place, matrix] = [`${from}, ${to}`, `W${layer + 1}`];
  return `import itertools
${shape === "own" ? "\nimport numpy as np\n" : ""}
import anyback_nn as nn

${writeData(settings, data)}

model = nn.Model(
${layers.map((line) => `    ${line}`).join("\n")}
    loss=nn.BinaryCrossEntropy(),
    seed=${seed},
)
model.build(2)


def divide(size):
    """Return the training samples in batches, in their order, again and again."""
    parts = [slice(i, min(i + size, n_train)) for i in range(0, n_train, size)]
    return itertools.cycle([(x[part], y[part]) for part in parts])


${calls.map((call) => writeFit(call.settings, call.steps)).join("\n")}

for part, rows in (("training", slice(0, n_train)), ("test", slice(n_train, None))):
    result = model.evaluate(x[rows], y[rows])
    print(f"{part}: loss {result['loss']:.6f}, accuracy {result['accuracy']:.3f}")

# The next step, and what it makes of the chosen weight.
batch = next(batches)
values = model.explain(*batch).values
print(f"${matrix}[${place}] = {values['${matrix}'][${place}]:.6g}")
print(f"d${matrix}[${place}] = {values['d${matrix}'][${place}]:.6g}")
model.fit([batch], optimizer=optimizer, epochs=1)
weight = float(model.params[${2 * layer}]["weight"][${place}])
print(f"${matrix}[${place}] after step ${steps + 1} = {weight:.6g}")
`;
}
