// Shows an explanation (explain/page.py: to_json): the steps of a walk, their values, and the next
// update of a weight. Nothing is computed here but the place of a number: all values are given.

const MOST_SHOWN = 8;

function create(tag, options = {}, ...children) {
  const { dataset, style, ...rest } = options;
  const element = Object.assign(document.createElement(tag), rest);
  Object.assign(element.dataset, dataset ?? {});
  for (const [name, value] of Object.entries(style ?? {})) element.style.setProperty(name, value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

function formatNumber(value, exact = false) {
  if (value === null || value === undefined) return "?";
  return write(Number(value.toPrecision(exact ? 15 : 6)));
}

function write(number) {
  const isSmall = number !== 0 && Math.abs(number) < 1e-4;
  return (isSmall ? number.toExponential() : String(number)).replaceAll("-", "−");
}

function formatCell(value) {
  return value === null || value === undefined ? "?" : write(Number(value.toPrecision(4)));
}

// The values ---------------------------------------------------------------------------------------

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

// The same in a notation: in columns, what has a row for each sample is transposed, and gradients of
// such are times m, because textbooks have the factor 1/m in dW and db alone.
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

// Equations ----------------------------------------------------------------------------------------

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

// A line of a worked update --------------------------------------------------------------------------

function fillTemplate(explanation, template, places, lookUp, terms) {
  const resolve = (letters, own) => (letters ? letters.split(",").map((letter) => own[letter] ?? Number(letter)) : []);
  const isSetting = (symbol) => explanation.update && symbol in explanation.update.constants;
  const write = (text, own, asNumbers) =>
    writeEquation(text, (symbol, letters) => {
      const place = resolve(letters, own);
      if (!asNumbers) return writeSymbol(explanation, symbol, place);
      const number = formatNumber(lookUp(symbol, place), !place.length && isSetting(symbol));
      return number.startsWith("−") ? `(${number})` : number;
    });
  const writeSum = (asNumbers) => {
    if (!template.over) return write(template.formula, places, asNumbers);
    const isLong = terms > explanation.limits.terms;
    const shown = isLong ? [0, 1, 2, terms - 1] : [...Array(terms).keys()];
    const parts = shown.map((index) => write(template.formula, { ...places, [template.over]: index }, asNumbers));
    if (isLong) parts.splice(3, 0, [`… (${terms} terms)`]);
    const sum = parts.flatMap((part, index) => (index ? [" + ", ...part] : part));
    if (!template.factor) return sum;
    const factor = write(template.factor, places, asNumbers);
    return terms > 1 ? [...factor, " · (", ...sum, ")"] : [...factor, " · ", ...sum];
  };
  const [, symbol, letters] = template.name.match(/\{([\w.]+)(?:\[([\w,]+)\])?\}/);
  const isSingle = !template.formula || /^\{[^{}]+\}$/.test(template.formula);
  const value = formatNumber(lookUp(symbol, resolve(letters, places)));
  const equals = (content, kind = "") => create("div", { className: `equals ${kind}` }, "= ", content);
  return create(
    "div",
    { className: "line", dataset: { symbol } },
    create("div", { className: "equation" }, write(template.name, places, false), template.formula ? [" = ", ...writeSum(false)] : [], isSingle ? [" = ", create("span", { className: "value" }, value)] : []),
    isSingle ? null : create("div", { className: "equation" }, equals(writeSum(true))),
    isSingle ? null : create("div", { className: "equation" }, equals(value, "value")),
  );
}

// The page -----------------------------------------------------------------------------------------

// Show an explanation in an element.
//
// options.notation: "rows" or "columns"; options.title: whether to show the title;
// options.onWeight([name, i, j]): called in place of showing the update of a weight that is clicked.
function renderExplanation(element, explanation, options = {}) {
  const state = { notation: options.notation ?? "rows", weight: explanation.weight ?? null, whole: new Set() };
  const show = (text) => writeEquation(text, (symbol) => writeSymbol(explanation, symbol));
  const idOf = (symbol) => `step-${symbol}`;

  function render() {
    element.replaceChildren(
      ...[
        options.title ? create("h1", {}, explanation.title) : null,
        explanation.description ? create("p", {}, explanation.description) : null,
        ...(explanation.notes ?? []).map((note) => create("p", { className: "soft" }, note)),
        renderChoices(),
        renderFlow(),
        ...renderSamples(),
        ...renderSteps(),
        renderWorked(),
        renderScript(),
      ].filter((part) => part),
    );
  }

  function renderChoices() {
    const labels = { rows: "rows (this library)", columns: "columns (textbooks)" };
    const choices = Object.entries(labels).map(([notation, label]) =>
      create(
        "label",
        {},
        create("input", {
          type: "radio", name: "notation", value: notation, checked: state.notation === notation,
          onchange: () => { state.notation = notation; render(); element.querySelector(`input[value=${notation}]`).focus(); },
        }),
        ` ${label}`,
      ),
    );
    return create(
      "div",
      { className: "card" },
      create("div", { className: "choices" }, create("fieldset", {}, create("legend", {}, "Samples are"), choices)),
      create("p", { className: "soft" }, explanation.notations[state.notation]),
      create("p", { className: "soft" }, explanation.signs),
      create("p", { className: "soft legend" }, "Colours: ",
        create("span", { style: { background: "color-mix(in srgb, var(--blue) 40%, transparent)" } }, "above 0"), " ",
        create("span", { style: { background: "color-mix(in srgb, var(--orange) 40%, transparent)" } }, "below 0"),
        ", the stronger the larger in its table. Large tables show their corners."),
    );
  }

  // The order of the computation, as links.
  function renderFlow() {
    const link = (symbol) => {
      const array = view(explanation, symbol, state.notation);
      const size = array.scalar ? null : create("small", {}, describeShape(array).slice(1, -1));
      return create("a", { href: `#${idOf(symbol)}` }, create("span", { className: "equation" }, writeSymbol(explanation, symbol)), size);
    };
    const parts = [link("X")];
    let before = "forward";
    for (const step of explanation.steps) {
      if (step.phase !== before && step.phase === "backward" && before !== "gradient") parts.push(create("span", { className: "break" }));
      before = step.phase;
      parts.push("→", link(step.symbol));
    }
    return create("nav", { className: "flow", ariaLabel: "Steps" }, parts);
  }

  function renderSamples() {
    const symbols = ["X", "Y"].filter((symbol) => symbol in explanation.values);
    return symbols.map((symbol) =>
      create("section", { className: "step", id: idOf(symbol) },
        create("div", {}, 
          create("h3", {}, symbol === "X" ? "The inputs " : "The targets ", writeSymbol(explanation, symbol)),
          create("p", { className: "soft" }, explanation.inputs[symbol])),
        create("div", { className: "matrices" }, renderMatrix(symbol))));
  }

  function renderSteps() {
    const begun = new Set();
    return explanation.steps.flatMap((step) => {
      const parts = [];
      if (explanation.phases[step.phase] && !begun.has(step.phase)) {
        begun.add(step.phase);
        const [heading, introduction] = explanation.phases[step.phase];
        parts.push(create("h2", {}, heading));
        if (introduction) parts.push(create("p", {}, introduction));
      }
      const array = view(explanation, step.symbol, state.notation);
      parts.push(
        create(
          "section",
          { className: "step", id: idOf(step.symbol), dataset: { symbol: step.symbol } },
          create("div", {},
            create("h3", {}, show(step.title)),
            create("div", { className: "equation" },
              show(step[state.notation]),
              array.scalar ? [" = ", create("b", {}, formatNumber(array.at()))] : create("span", { className: "shape" }, describeShape(array))),
            create("p", { className: "soft" }, show(step.about))),
          create("div", { className: "matrices" },
            array.scalar ? null : renderMatrix(step.symbol),
            step.operands.map((symbol) => renderMatrix(symbol))),
        ),
      );
      return parts;
    });
  }

  // Which indices are shown, with null where some are left out.
  function choose(length, extra, whole) {
    const all = [...Array(length).keys()];
    if (length <= MOST_SHOWN || whole) return all;
    const shown = [...new Set([...all.slice(0, 4), ...extra, ...all.slice(-3)])].sort((a, b) => a - b);
    return shown.flatMap((index, position) => (position && index - shown[position - 1] > 1 ? [null, index] : [index]));
  }

  function renderMatrix(symbol) {
    const array = view(explanation, symbol, state.notation);
    const weight = symbol.startsWith("d") ? symbol.slice(1) : symbol;
    const isWeight = weight in explanation.weights;
    const chosen = isWeight && state.weight?.[0] === weight ? state.weight.slice(1) : [];
    const [rows, columns] = array.shape.map((length, axis) => choose(length, chosen.length ? [chosen[axis]] : [], state.whole.has(symbol)));
    const numbers = rows.flatMap((i) => columns.map((j) => (i === null || j === null ? 0 : Math.abs(array.at(i, j) ?? 0))));
    const largest = Math.max(...numbers) || 1;
    const cell = (i, j) => {
      if (i === null || j === null) return create("td", {}, "…");
      const value = array.at(i, j);
      const heat = Math.round((55 * Math.abs(value ?? 0)) / largest);
      const td = create("td", { className: value < 0 ? "down" : "up", style: { "--heat": heat } }, formatCell(value));
      if (isWeight && canWork(weight, i, j)) {
        td.classList.add("weight");
        td.classList.toggle("chosen", chosen.length > 0 && chosen[0] === i && chosen[1] === j);
        td.tabIndex = 0;
        td.title = `${weight}[${i},${j}]: show its next update`;
        td.onclick = () => chooseWeight([weight, i, j]);
        td.onkeydown = (event) => event.key === "Enter" && chooseWeight([weight, i, j]);
      }
      return td;
    };
    const [labelsOfRows, labelsOfColumns] = labels(symbol, array);
    const head = columns.map((j) => create("th", { scope: "col", title: labelsOfColumns(j) }, j === null ? "" : labelsOfColumns(j)));
    const body = rows.map((i) => create("tr", {}, create("th", { scope: "row", title: labelsOfRows(i) }, i === null ? "" : labelsOfRows(i)), columns.map((j) => cell(i, j))));
    return create("div", { className: "matrix wide", dataset: { symbol } },
      create("table", {},
        create("caption", {}, create("span", { className: "equation" }, writeSymbol(explanation, symbol)), ` ${describeShape(array)} `, renderToggle(symbol, array)),
        create("thead", {}, create("tr", {}, create("th", {}), head)),
        create("tbody", {}, body)));
  }

  // A button for the whole of a table that is cut, if the page has it.
  function renderToggle(symbol, array) {
    const isKept = Array.isArray(explanation.values[symbol]);
    if (!isKept || array.shape.every((length) => length <= MOST_SHOWN)) return null;
    const toggle = () => {
      if (!state.whole.delete(symbol)) state.whole.add(symbol);
      render();
    };
    return create("button", { className: "small", onclick: toggle }, state.whole.has(symbol) ? "corners" : "all");
  }

  // The labels of the rows and of the columns: the names of features and of classes, if known.
  function labels(symbol, array) {
    const names = symbol === "X" ? explanation.features : ["Y", explanation.prediction].includes(symbol) ? explanation.classes : [];
    const named = (index) => (index === null ? "" : names?.[index] ?? String(index));
    const plain = (index) => (index === null ? "" : String(index));
    if (array.vector) return [() => "", plain];
    const ofSamples = explanation.samples.includes(symbol) || explanation.gradients.includes(symbol);
    if (!ofSamples) return [plain, plain];
    return state.notation === "rows" ? [plain, named] : [named, plain];
  }

  // Whether the page has what the update of a weight needs.
  function canWork(weight, i, j) {
    const own = explanation.update?.values?.[weight];
    return own !== undefined && readArray(own.w_new).at(i, j) !== undefined;
  }

  function chooseWeight(weight) {
    if (options.onWeight) { options.onWeight(weight); return; }
    state.weight = weight;
    render();
    document.getElementById("worked").scrollIntoView({ block: "start" });
  }

  function renderWorked() {
    if (!state.weight || !explanation.update?.values) return null;
    const [weight, i, j] = state.weight;
    const own = explanation.update.values[weight];
    const name = () => writeSymbol(explanation, weight, [i, j]);
    const templates = explanation.weights[weight][state.notation];
    const views = {};
    const lookUp = (symbol, place) => {
      if (symbol === "m") return explanation.m;
      const array = (views[symbol] ??= view(explanation, symbol, state.notation));
      return place.length === 1 ? array.at(0, place[0]) : array.at(...place);
    };
    const lookUpUpdate = (symbol) => {
      const { constants } = explanation.update;
      if (symbol in constants) return constants[symbol];
      return readArray(own[symbol]).at(i, j);
    };
    const most = explanation.limits.lines;
    const samples = explanation.m <= most ? explanation.m : 1;
    const lines = [];
    for (let k = 0; k < samples; k += 1) {
      for (const template of templates.slice(0, -1)) {
        const units = template.units ? readArray(explanation.values[template.units]).shape[1] : 1;
        const count = template.over ? 1 : units;
        for (let u = 0; u < count && count <= most; u += 1) lines.push([template, fillTemplate(explanation, template, { i, j, k, u }, lookUp, units)]);
      }
    }
    const gradient = templates.at(-1);
    lines.push([gradient, fillTemplate(explanation, gradient, { i, j }, lookUp, explanation.m)]);
    const updates = explanation.update.templates.map((template) => [template, fillTemplate(explanation, template, {}, lookUpUpdate, 1)]);
    const given = (symbol, value) => create("span", { className: "equation" }, writeSymbol(explanation, symbol), " = ", value);
    const input = explanation.features?.[i] && weight === Object.keys(explanation.weights)[0] ? ` (${explanation.features[i]})` : "";
    return create("section", { id: "worked" },
      create("h2", {}, "The next update of one weight, ", name()),
      create("p", {}, `Click any number of a table of weights to choose another one. `, name(), ` leads from number ${i} of its layer's input${input} to unit ${j} of the layer.`),
      create("h3", {}, "Where its gradient comes from"),
      create("div", { className: "lines" }, explainOnce(lines)),
      explanation.m > samples ? create("p", { className: "soft" }, "The way back is shown for the first sample; it is the same for the others.") : null,
      create("h3", {}, `What ${explanation.update.optimizer} makes of it`),
      create("p", { className: "soft" }, explanation.settings),
      create("p", { className: "given" },
        Object.entries(explanation.update.constants).map(([symbol, value]) => given(symbol, formatNumber(value, true))),
        given("w", [...name(), ` = ${formatNumber(readArray(own.w).at(i, j))}`].flat()),
        given("dw", [...writeSymbol(explanation, `d${weight}`, [i, j]), ` = ${formatNumber(readArray(own.dw).at(i, j))}`].flat())),
      create("div", { className: "lines" }, explainOnce(updates)));
  }

  // Lines, each explanation once.
  function explainOnce(lines) {
    const explained = new Set();
    for (const [template, line] of lines) {
      if (template.about && !explained.has(template.about)) line.append(create("p", { className: "soft" }, show(template.about)));
      explained.add(template.about);
    }
    return lines.map(([, line]) => line);
  }

  function renderScript() {
    if (!explanation.script) return null;
    const said = create("span", { className: "soft", role: "status" });
    const copy = async () => {
      said.textContent = (await copyText(explanation.script)) ? " copied" : " the browser refuses: select it below";
    };
    return create("section", { id: "script" },
      create("h2", {}, "The same in Python"),
      create("p", {}, "A NumPy script that computes every step above again, and the update of the weight that was chosen when the page was written."),
      create("p", {}, create("button", { onclick: copy }, "Copy as Python"), said),
      create("details", {}, create("summary", {}, "Show the script"), create("pre", {}, explanation.script)));
  }

  render();
}

// Copy text; a page that was opened from disk may have no clipboard of its own.
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = create("textarea", { value: text, readOnly: true, style: { position: "fixed", opacity: "0" } });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

globalThis.renderExplanation = renderExplanation;
