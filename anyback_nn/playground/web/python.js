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

/** Write the script for a run of some steps. */
function writeScript(settings, data, steps) {
  const { widths, activation, optimizer, learningRate, l2, batchSize, seed, shape } = settings;
  const layers = [
    ...widths.map((n) => `nn.Dense(${n}, initializer=nn.GlorotUniform()), nn.${activation}(),`),
    "nn.Dense(1),",
  ];
  const rule = `nn.${optimizer}(${[learningRate, ...(l2 ? [`l2=${l2}`] : [])].join(", ")})`;
  return `import itertools
${shape === "own" ? "\nimport numpy as np\n" : ""}
import anyback_nn as nn

${writeData(settings, data)}

model = nn.Model(
${layers.map((layer) => `    ${layer}`).join("\n")}
    loss=nn.BinaryCrossEntropy(),
    seed=${seed},
)
starts = range(0, n_train, ${batchSize})
batches = [(x[i : min(i + ${batchSize}, n_train)], y[i : min(i + ${batchSize}, n_train)]) for i in starts]
${steps ? "" : "model.build(2)  # no step has been taken\n# "}\
model.fit(itertools.islice(itertools.cycle(batches), ${steps}), optimizer=${rule}, epochs=1)

for part, rows in (("training", slice(0, n_train)), ("test", slice(n_train, None))):
    result = model.evaluate(x[rows], y[rows])
    print(f"{part}: loss {result['loss']:.6f}, accuracy {result['accuracy']:.3f}")
`;
}
