// Points in the plane, of two classes: the library's shapes, or a table of the reader's.
//
// A data set is {name, columns, classes, x, y, nTrain}: x has two numbers for each sample, of which
// the first nTrain are for training; y is 0 or 1.

const TRAINING_SHARE = 0.7;
const FEWEST_ROWS = 10;
const MOST_ROWS = 1500;
const GOLDEN = (Math.sqrt(5) - 1) / 2;

/** Return a shape with some noise, in which the points of the library are linear. */
function makeShape(name, noise) {
  const { x, y } = STORED.shapes[name];
  const both = new Float32Array(decode(x).buffer);
  const size = both.length / 2;
  const points = new Float32Array(size);
  for (let i = 0; i < size; i++) points[i] = both[i] + noise * (both[size + i] - both[i]);
  return {
    name,
    columns: ["x1", "x2"],
    classes: ["0", "1"],
    x: points,
    y: Float32Array.from(y),
    nTrain: Math.round(TRAINING_SHARE * y.length),
  };
}

/** Return the table that the page was built with. */
function readStoredData({ x, ...others }) {
  return { ...others, x: new Float32Array(decode(x).buffer), y: Float32Array.from(others.y) };
}

/** Split a text file into rows of fields; quotes enclose separators, and line ends. */
function splitTable(text) {
  const line = text.slice(0, text.search(/\r?\n|$/));
  const separator = [",", ";", "\t"].sort((a, b) => line.split(b).length - line.split(a).length)[0];
  const rows = [[]];
  const field = new RegExp(`("(?:[^"]|"")*"|[^${separator}\r\n]*)(${separator}|\r?\n|$)`, "y");
  while (field.lastIndex < text.length) {
    const [, value, end] = field.exec(text) ?? ["", "", ""];
    if (field.lastIndex === 0) break; // a quote that nothing closes
    rows
      .at(-1)
      .push(value.startsWith('"') ? value.slice(1, -1).replaceAll('""', '"') : value.trim());
    if (end !== separator) rows.push([]);
  }
  return { rows: rows.filter((row) => row.some((value) => value !== "")), separator };
}

/**
 * Read a table of a text file: its columns, of which some are numbers and some have two values.
 * @throws {Error} with what is wrong with it
 */
function readTable(name, text) {
  const { rows, separator } = splitTable(text.replace(/^\uFEFF/, ""));
  const [names = [], ...body] = rows;
  const read = (value) => {
    const number = separator === ";" ? value?.replace(",", ".") : value;
    return number ? Number(number) : NaN;
  };
  const columns = names.map((title, i) => {
    const values = body.map((row) => row[i] ?? "");
    const known = values.filter((value) => value !== "");
    return {
      title: title || `column ${i + 1}`,
      values,
      numbers: values.map(read),
      isNumeric: known.length > 0 && known.every((value) => Number.isFinite(read(value))),
      classes: [...new Set(known)].slice(0, 3).sort(),
    };
  });
  const targets = columns.filter((column) => column.classes.length === 2);
  const problems = findProblems(columns, targets, body.length);
  if (problems.length) throw new Error(`${name}: ${problems.join("; ")}`);
  return { name, columns, targets };
}

/** Return all that is wrong with a table. */
function findProblems(columns, targets, nRows) {
  if (columns.length < 3) {
    const have = `it has ${columns.length} column${columns.length === 1 ? "" : "s"}`;
    return [`${have}: expected two columns of numbers and one with two classes`];
  }
  const problems = [];
  if (columns.filter((column) => column.isNumeric).length < 2) {
    const words = columns
      .map(({ title, values, numbers }) => [
        title,
        values.find((value, i) => value && !Number.isFinite(numbers[i])),
      ])
      .filter(([, word]) => word);
    const where = words.slice(0, 3).map(([title, word]) => `${title} has “${word}”`);
    problems.push(`expected two columns of numbers${where.length ? `, but ${where.join(", ")}` : ""}`);
  }
  if (!targets.length) {
    problems.push("no column has two different values: expected a target of two classes");
  }
  if (nRows < FEWEST_ROWS) {
    const rows = `${nRows} row${nRows === 1 ? "" : "s"}`;
    problems.push(`it has ${rows} below its header: expected ${FEWEST_ROWS} or more`);
  }
  return problems;
}

/**
 * Choose two columns and the target: rows without gaps, standardised, in a mixed order.
 * @throws {Error} if there are too few of these
 */
function chooseColumns(table, [first, second], target) {
  const complete = target.values
    .map((value, row) => ({ row, value }))
    .filter(
      ({ row, value }) =>
        value !== "" && Number.isFinite(first.numbers[row]) && Number.isFinite(second.numbers[row]),
    );
  if (complete.length < FEWEST_ROWS) {
    throw new Error(`${complete.length} rows have no gaps: expected ${FEWEST_ROWS} or more`);
  }
  // A file is often sorted by class. Multiples of the golden ratio mix it without random numbers.
  const mixed = complete
    .map((sample, i) => ({ ...sample, place: ((i + 1) * GOLDEN) % 1 }))
    .sort((a, b) => a.place - b.place)
    .slice(0, MOST_ROWS);
  const nTrain = Math.round(TRAINING_SHARE * mixed.length);
  const x = new Float32Array(2 * mixed.length);
  [first, second].forEach((column, k) => {
    const values = mixed.map(({ row }) => column.numbers[row]);
    const training = values.slice(0, nTrain);
    const mean = training.reduce((sum, value) => sum + value, 0) / nTrain;
    const variance = training.reduce((sum, value) => sum + (value - mean) ** 2, 0) / nTrain;
    values.forEach((value, i) => (x[2 * i + k] = (value - mean) / (Math.sqrt(variance) || 1)));
  });
  return {
    name: table.name,
    columns: [first.title, second.title],
    classes: target.classes,
    x,
    y: Float32Array.from(mixed, ({ value }) => target.classes.indexOf(value)),
    nTrain,
    nLeftOut: target.values.length - mixed.length,
  };
}
