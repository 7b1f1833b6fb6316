// Arrays and equations of an explanation (explain/page.py: to_json) as elements. Nothing is computed
// here but the place of a number: all values are given. It is read before explanation.js.

function create(tag, options = {}, ...children) {
  const { dataset, style, ...rest } = options;
  const element = Object.assign(document.createElement(tag), rest);
  Object.assign(element.dataset, dataset ?? {});
  for (const [name, value] of Object.entries(style ?? {})) element.style.setProperty(name, value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

function formatNumber(value, exact = false) {
  if (isMissing(value)) return "?";
  return write(Number(value.toPrecision(exact ? 15 : 6)));
}

function write(number) {
  const isSmall = number !== 0 && Math.abs(number) < 1e-4;
  return (isSmall ? number.toExponential() : String(number)).replaceAll("-", "−");
}

function formatCell(value) {
  return isMissing(value) ? "?" : write(Number(value.toPrecision(4)));
}

function isMissing(value) {
  return value === null || value === undefined;
}

// The decimals in which a weight has six digits, and a change of it two.
function countDecimals(weight, change) {
  const digits = [[weight, 6], [change, 2]]
    .filter(([number]) => number && Number.isFinite(number))
    .map(([number, n]) => n - 1 - Math.floor(Math.log10(Math.abs(number))));
  return Math.min(Math.max(0, ...digits), 15);
}

// The values --------------------------------------------------------------------------------------

// A table of an array as it is stored, with samples as rows; `at` returns undefined for what a page
// has left out.
function readArray(value) {
  if (typeof value === "number" || value === null) return { scalar: true, at: () => value };
  if (Array.isArray(value)) {
    const vector = !Array.isArray(value[0]);
    const rows = vector ? [value] : value;
    return { vector, shape: [rows.length, rows[0].length], at: (i, j) => rows[i]?.[j] };
  }
  const vector = value.shape.length === 1;
  const place = (list) => new Map(list.map((index, position) => [index, position]));
  const [rows, columns] = [place(value.rows), place(value.columns)];
  return {
    vector,
    shape: vector ? [1, value.shape[0]] : value.shape,
    at: (i, j) => value.values[rows.get(i)]?.[columns.get(j)],
  };
}

// The same in a notation: in columns, what has a row for each sample is transposed, and gradients
// of such are times m, because textbooks have the factor 1/m in dW and db alone.
function view(explanation, symbol, notation) {
  const array = readArray(explanation.values[symbol]);
  if (notation === "rows" || array.scalar) return array;
  const isGradient = explanation.gradients.includes(symbol);
  if (!array.vector && !isGradient && !explanation.samples.includes(symbol)) return array;
  const factor = isGradient ? explanation.m : 1;
  const at = (i, j) => {
    const value = array.at(j, i);
    return typeof value === "number" ? factor * value : value;
  };
  return { shape: [array.shape[1], array.shape[0]], at };
}

function describeShape({ shape, vector }) {
  return `(${vector ? shape[1] : shape.join(" × ")})`;
}

// Equations ---------------------------------------------------------------------------------------

const PARTS = /\^?\{([\w.]+)(?:\[([\w,]+)\])?\}|\^(\w)/g;

function writeSymbol(explanation, symbol, place) {
  const [letters, index] = explanation.symbols[symbol] ?? [symbol, ""];
  return [
    create("i", {}, letters),
    index ? create("sub", {}, index) : null,
    place?.length ? `[${place.join(",")}]` : null,
  ].filter((part) => part !== null);
}

// Write an equation; `write` returns what a symbol at a place is written as.
function writeEquation(text, write) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(PARTS)) {
    nodes.push(text.slice(end, match.index));
    end = match.index + match[0].length;
    const raised = match[0].startsWith("^");
    const own = match[3] ? [match[3]] : [write(match[1], match[2])].flat();
    nodes.push(...(raised ? [create("sup", {}, ...own)] : own));
  }
  nodes.push(text.slice(end));
  return nodes.filter((node) => node !== "");
}

// A line of a worked update -----------------------------------------------------------------------

// Every place of some indices: the letters of `over`, each below its size.
function listPlaces(over, sizes) {
  return [...over].reduce(
    (places, letter) =>
      places.flatMap((place) =>
        Array.from({ length: sizes[letter] }, (_, index) => ({ ...place, [letter]: index })),
      ),
    [{}],
  );
}

// Write terms with their signs between them.
function joinTerms(terms) {
  return terms.flatMap((term, index) => {
    if (!index) return term;
    const [first, ...rest] = term;
    const isMinus = typeof first === "string" && first.startsWith("−");
    return isMinus ? [" − ", first.slice(1), ...rest] : [" + ", ...term];
  });
}

// Show a template with its numbers; `places` has the value of each index, and `sizes` the number of
// values of those that the formula is summed over; `decimals` are those of the weight.
function fillTemplate(explanation, template, places, lookUp, sizes = {}, decimals = null) {
  const resolve = (letters, own) =>
    letters ? letters.split(",").map((letter) => own[letter] ?? Number(letter)) : [];
  const format = (symbol, place) => {
    const value = lookUp(symbol, place);
    if (decimals !== null && ["w", "w_new"].includes(symbol) && !isMissing(value)) {
      return value.toFixed(decimals).replace("-", "−");
    }
    return formatNumber(value, !place.length && explanation.update?.exact.includes(symbol));
  };
  const write = (text, own, asNumbers) =>
    writeEquation(text, (symbol, letters) => {
      const place = resolve(letters, own);
      if (!asNumbers) return writeSymbol(explanation, symbol, place);
      const number = format(symbol, place);
      return number.startsWith("−") ? `(${number})` : number;
    });
  const writeSum = (asNumbers) => {
    if (!template.over) return write(template.formula, places, asNumbers);
    const all = listPlaces(template.over, sizes);
    const isLong = all.length > explanation.limits.terms;
    const shown = isLong ? [...all.slice(0, 3), all.at(-1)] : all;
    const terms = shown.map((own) => write(template.formula, { ...places, ...own }, asNumbers));
    if (isLong) terms.splice(3, 0, [`… (${all.length} terms)`]);
    const sum = joinTerms(terms);
    if (!template.factor) return sum;
    const factor = write(template.factor, places, asNumbers);
    const isSum = all.length > 1 || template.formula.startsWith("−");
    return isSum ? [...factor, " · (", ...sum, ")"] : [...factor, " · ", ...sum];
  };
  const [, symbol, letters] = template.name.match(/\{([\w.]+)(?:\[([\w,]+)\])?\}/);
  const isSingle = !template.formula || /^\{[^{}]+\}$/.test(template.formula);
  const value = format(symbol, resolve(letters, places));
  const equation = (...parts) => create("div", { className: "equation" }, ...parts);
  const equals = (content, kind = "") =>
    equation(create("div", { className: `equals ${kind}` }, "= ", content));
  return create(
    "div",
    { className: "line", dataset: { symbol } },
    equation(
      write(template.name, places, false),
      template.formula ? [" = ", ...writeSum(false)] : [],
      isSingle ? [" = ", create("span", { className: "value" }, value)] : [],
    ),
    isSingle ? null : equals(writeSum(true)),
    isSingle ? null : equals(value, "value"),
  );
}
