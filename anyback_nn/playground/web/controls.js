// The controls: what can be chosen, and the settings that are.

const RATES = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3];
const PENALTIES = [0, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1];
const BATCH_SIZES = [1, 2, 4, 8, 16, 32, 64];

const find = (id) => document.getElementById(id);

function fillSelect(select, values, chosen, write = String) {
  select.replaceChildren(
    ...values.map((value) => new Option(write(value), value, false, value === chosen)),
  );
}

/** Fill the lists of the form. */
function fillControls() {
  fillSelect(find("activation"), STORED.activations, "Tanh");
  fillSelect(find("optimizer"), Object.keys(STORED.optimizers), "Adam");
  fillSelect(find("learningRate"), RATES, 0.01);
  fillSelect(find("batchSize"), BATCH_SIZES, 32);
  fillSelect(find("l2"), PENALTIES, 0);
  find("seed").max = STORED.nSeeds - 1;
}

/** Read the settings of the form; those of the network's layers are in the diagram. */
function readControls() {
  const number = (id) => Number(find(id).value);
  return {
    shape: document.querySelector("input[name=shape]:checked").value,
    noise: number("noise"),
    activation: find("activation").value,
    optimizer: find("optimizer").value,
    learningRate: number("learningRate"),
    batchSize: number("batchSize"),
    l2: number("l2"),
    seed: number("seed"),
  };
}

/** Read an integer; another one than the field allows is refused with a message: null. */
function readInteger(id, last) {
  const [field, problem] = [find(id), find(`${id}-problem`)];
  const isRight = field.value !== "" && field.checkValidity();
  problem.hidden = isRight;
  if (isRight) return Number(field.value);
  const written = field.value === "" ? "This is no number" : `There is no ${id} ${field.value}`;
  problem.textContent = `${written}: expected an integer from 0 to ${field.max}.`;
  field.value = last;
  return null;
}

/** Show the shapes, and the reader's own data once there are some, as pictures to choose from. */
function showShapes(chosen, own, palette) {
  const shapes = Object.entries(STORED.shapes).map(([name, { noise }]) => [
    name,
    makeShape(name, noise),
  ]);
  if (own) shapes.push(["own", own]);
  find("shapes").replaceChildren(
    ...shapes.map(([name, data]) => {
      const label = document.createElement("label");
      const input = document.createElement("input");
      Object.assign(input, { type: "radio", name: "shape", value: name, checked: name === chosen });
      const canvas = document.createElement("canvas");
      const title = document.createElement("span");
      title.textContent = name === "own" ? "your data" : name;
      label.append(input, canvas, title);
      requestAnimationFrame(() =>
        drawPoints(canvas, data, new Plane(data.x), palette, { radius: 1.4 }),
      );
      return label;
    }),
  );
}

/** Set the noise; that of a shape is its default in the library. */
function setNoise(noise) {
  find("noise").value = noise;
  find("noise-value").textContent = noise;
}

/** Let the reader choose the columns of a table; `use` gets the data set, if there is one. */
function showColumns(table, use) {
  const numeric = table.columns.filter((column) => column.isNumeric);
  const target = table.targets.find((column) => !column.isNumeric) ?? table.targets.at(-1);
  const features = numeric.filter((column) => column !== target);
  const lists = { first: numeric, second: numeric, target: table.targets };
  const chosen = { first: features[0] ?? numeric[0], second: features[1] ?? numeric[1], target };
  for (const [id, columns] of Object.entries(lists)) {
    const select = find(id);
    select.replaceChildren(
      ...columns.map((column) => new Option(column.title, table.columns.indexOf(column))),
    );
    select.value = table.columns.indexOf(chosen[id]);
    select.onchange = read;
  }
  find("columns").hidden = false;
  read();

  function read() {
    const [first, second, goal] = Object.keys(lists).map((id) => table.columns[find(id).value]);
    report(() => use(chooseColumns(table, [first, second], goal)));
  }
}

/** Do something with a table, and show what is wrong with the table. */
function report(work) {
  const problem = find("file-problem");
  problem.hidden = true;
  try {
    work();
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
  }
}
