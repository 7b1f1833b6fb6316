// Shows an explanation (explain/page.py: to_json): the steps of a walk, their values, and the next
// update of a weight.

const MOST_SHOWN = 8;

// Show an explanation in an element.
//
// options.notation: "rows" or "columns"; options.title: whether to show the title;
// options.onWeight([name, i, j]): called for a weight that is clicked, in place of its update.
function renderExplanation(element, explanation, options = {}) {
  const state = {
    notation: options.notation ?? "rows",
    weight: explanation.weight ?? null,
    whole: new Set(),
  };
  const show = (text) => writeEquation(text, (symbol) => writeSymbol(explanation, symbol));
  const about = (step) => (state.notation === "columns" && step.about_columns) || step.about;
  const idOf = (symbol) => `step-${symbol}`;
  const soft = (...content) => create("p", { className: "soft" }, ...content);

  function render() {
    element.replaceChildren(
      ...[
        options.title ? create("h1", {}, explanation.title) : null,
        explanation.description ? create("p", {}, explanation.description) : null,
        renderNotes(),
        renderChoices(),
        renderFlow(),
        renderHint(),
        ...renderSamples(),
        ...renderSteps(),
        renderWorked(),
        renderScript(),
      ].filter((part) => part),
    );
  }

  function renderNotes() {
    const notes = explanation.notes ?? [];
    return notes.length ? renderList(notes) : null;
  }

  function renderList(texts) {
    return create("ul", { className: "soft" }, texts.map((text) => create("li", {}, text)));
  }

  function renderChoices() {
    const names = { rows: "rows (this library)", columns: "columns (textbooks)" };
    const choose = (notation) => {
      state.notation = notation;
      render();
      element.querySelector(`input[value=${notation}]`).focus();
    };
    const choices = Object.entries(names).map(([value, label]) => {
      const onchange = () => choose(value);
      const checked = state.notation === value;
      const input = create("input", { type: "radio", name: "notation", value, checked, onchange });
      return create("label", {}, input, ` ${label}`);
    });
    const fieldset = create("fieldset", {}, create("legend", {}, "Samples are"), choices);
    const sign = (color, text) =>
      create(
        "span",
        { style: { background: `color-mix(in srgb, var(--${color}) 40%, transparent)` } },
        text,
      );
    return create(
      "div",
      { className: "card" },
      create("div", { className: "choices" }, fieldset),
      renderList([explanation.notations[state.notation], ...explanation.signs]),
      create("p", { className: "soft legend" }, "Colours: ",
        sign("blue", "above 0"), " ", sign("orange", "below 0"),
        ", the stronger the larger in its table. Large tables show their corners."),
    );
  }

  // The order of the computation, as links; gradients of parameters are branches.
  function renderFlow() {
    const link = (symbol) => {
      const array = view(explanation, symbol, state.notation);
      const size = array.scalar ? null : create("small", {}, describeShape(array).slice(1, -1));
      const name = create("span", { className: "equation" }, writeSymbol(explanation, symbol));
      return create("a", { href: `#${idOf(symbol)}` }, name, size);
    };
    const nodes = [{ symbol: "X", branches: [] }];
    for (const { symbol, phase } of explanation.steps) {
      if (phase === "gradient") nodes.at(-1).branches.push(symbol);
      else nodes.push({ symbol, branches: [], isTurn: nodes.at(-1).symbol === "L" });
    }
    const parts = nodes.flatMap(({ symbol, branches, isTurn }, index) => {
      const links = branches.map(link);
      const branch = links.length ? create("span", { className: "branch" }, "↳ ", links) : null;
      return [
        isTurn ? create("span", { className: "break" }) : null,
        index ? create("span", {}, "→") : null,
        create("span", { className: "node" }, link(symbol), branch),
      ];
    });
    return create("nav", { className: "flow", ariaLabel: "Steps" }, parts);
  }

  function renderHint() {
    if (!explanation.update?.values) return null;
    return create("p", { className: "hint" },
      "Click any number in a table of weights, or of their gradients, to see its next update.");
  }

  function renderSamples() {
    const symbols = ["X", "Y"].filter((symbol) => symbol in explanation.values);
    return symbols.map((symbol) =>
      create("section", { className: "step", id: idOf(symbol) },
        create("div", {},
          create("h3", {},
            symbol === "X" ? "The inputs " : "The targets ", writeSymbol(explanation, symbol)),
          soft(explanation.inputs[symbol])),
        create("div", { className: "matrices" }, renderMatrix(symbol))));
  }

  function renderSteps() {
    const begun = new Set();
    return explanation.steps.flatMap((step) => {
      const parts = [];
      if (explanation.phases[step.phase] && !begun.has(step.phase)) {
        begun.add(step.phase);
        parts.push(create("h2", {}, explanation.phases[step.phase]));
        if (step.phase === "backward") {
          parts.push(create("p", {}, explanation.derivatives[state.notation]));
        }
      }
      const array = view(explanation, step.symbol, state.notation);
      const value = array.scalar
        ? [" = ", create("b", {}, formatNumber(array.at()))]
        : create("span", { className: "shape" }, describeShape(array));
      const matrices = [...(array.scalar ? [] : [step.symbol]), ...step.operands];
      parts.push(
        create(
          "section",
          { className: "step", id: idOf(step.symbol), dataset: { symbol: step.symbol } },
          create("div", {},
            create("h3", {}, show(step.title)),
            create("div", { className: "equation" }, show(step[state.notation]), value),
            soft(show(about(step)))),
          create("div", { className: "matrices" },
            matrices.map(renderMatrix), step.phase === "loss" ? renderLoss() : null),
        ),
      );
      return parts;
    });
  }

  // The loss worked out, if it is a sum of few numbers.
  function renderLoss() {
    const template = explanation.loss[state.notation];
    const targets = readArray(explanation.values.Y);
    const [k, u] = targets.shape;
    const places = listPlaces("ku", { k, u });
    const isShort = places.length <= explanation.limits.terms;
    if (!template || !isShort || places.some((own) => isMissing(targets.at(own.k, own.u)))) {
      return null;
    }
    return fillTemplate(explanation, template, {}, makeLookUp(), { k, u });
  }

  function makeLookUp() {
    const views = {};
    return (symbol, place) => {
      if (symbol === "m") return explanation.m;
      const array = (views[symbol] ??= view(explanation, symbol, state.notation));
      return place.length === 1 ? array.at(0, place[0]) : array.at(...place);
    };
  }

  // Which indices are shown, with null where some are left out.
  function choose(length, extra, whole) {
    const all = [...Array(length).keys()];
    if (length <= MOST_SHOWN || whole) return all;
    const ends = new Set([...all.slice(0, 4), ...extra, ...all.slice(-3)]);
    const shown = [...ends].sort((a, b) => a - b);
    return shown.flatMap((index, position) =>
      position && index - shown[position - 1] > 1 ? [null, index] : [index],
    );
  }

  function renderMatrix(symbol) {
    const array = view(explanation, symbol, state.notation);
    const weight = symbol.startsWith("d") ? symbol.slice(1) : symbol;
    const isWeight = weight in explanation.weights;
    const chosen = isWeight && state.weight?.[0] === weight ? state.weight.slice(1) : [];
    const [rows, columns] = array.shape.map((length, axis) =>
      choose(length, chosen.length ? [chosen[axis]] : [], state.whole.has(symbol)),
    );
    const sizes = rows.flatMap((i) =>
      columns.map((j) => (i === null || j === null ? 0 : Math.abs(array.at(i, j) ?? 0))),
    );
    const largest = Math.max(...sizes) || 1;
    const cell = (i, j) => {
      if (i === null || j === null) return create("td", {}, "…");
      const value = array.at(i, j);
      const heat = Math.round((55 * Math.abs(value ?? 0)) / largest);
      const options = { className: value < 0 ? "down" : "up", style: { "--heat": heat } };
      const td = create("td", options, formatCell(value));
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
    const [nameRow, nameColumn] = labels(symbol, array);
    const head = (scope, name, index) => create("th", { scope, title: name(index) }, name(index));
    const name = create("span", { className: "equation" }, writeSymbol(explanation, symbol));
    return create("div", { className: "matrix wide", dataset: { symbol } },
      create("table", {},
        create("caption", {}, name, ` ${describeShape(array)} `, renderToggle(symbol, array)),
        create("thead", {},
          create("tr", {}, create("th"), columns.map((j) => head("col", nameColumn, j)))),
        create("tbody", {},
          rows.map((i) =>
            create("tr", {}, head("row", nameRow, i), columns.map((j) => cell(i, j)))))));
  }

  // A button for the whole of a table that is cut, if the page has it.
  function renderToggle(symbol, array) {
    const isKept = Array.isArray(explanation.values[symbol]);
    if (!isKept || array.shape.every((length) => length <= MOST_SHOWN)) return null;
    const toggle = () => {
      if (!state.whole.delete(symbol)) state.whole.add(symbol);
      render();
    };
    const isWhole = state.whole.has(symbol);
    const title = isWhole ? "Show the first and the last" : `Show all ${array.shape.join(" × ")}`;
    const options = { className: "small", onclick: toggle, title: `${title} numbers` };
    return create("button", options, isWhole ? "show corners" : "show all");
  }

  // The labels of the rows and of the columns: the names of features and of classes, if known.
  function labels(symbol, array) {
    const isOutput = ["Y", explanation.prediction].includes(symbol);
    const names = symbol === "X" ? explanation.features : isOutput ? explanation.classes : [];
    const named = (index) => (index === null ? "" : names?.[index] ?? String(index));
    const plain = (index) => (index === null ? "" : String(index));
    if (array.vector) return [() => "", plain];
    if (![...explanation.samples, ...explanation.gradients].includes(symbol)) return [plain, plain];
    return state.notation === "rows" ? [plain, named] : [named, plain];
  }

  // Whether the page has what the update of a weight needs.
  function canWork(weight, i, j) {
    const own = explanation.update?.values?.[weight];
    return own !== undefined && readArray(own.w_new).at(i, j) !== undefined;
  }

  function chooseWeight(weight) {
    if (options.onWeight) {
      options.onWeight(weight);
      return;
    }
    state.weight = weight;
    render();
    document.getElementById("worked").scrollIntoView({ block: "start" });
  }

  function renderWorked() {
    if (!state.weight || !explanation.update?.values) return null;
    const [weight, i, j] = state.weight;
    const { optimizer } = explanation.update;
    const name = () => writeSymbol(explanation, weight, [i, j]);
    const isFirst = weight === Object.keys(explanation.weights)[0];
    const feature = isFirst && explanation.features?.[i] ? ` (${explanation.features[i]})` : "";
    const way = `${i}${feature} of layer ${weight.slice(1)} to its unit ${j}`;
    const isShort = explanation.m <= explanation.limits.lines;
    return create("section", { id: "worked" },
      create("h2", {}, "The next update of one weight, ", name()),
      create("p", {}, name(), ` leads from input ${way}.`),
      create("h3", {}, "Where its gradient comes from"),
      create("div", { className: "lines" }, explainOnce(fillGradient(weight, i, j))),
      isShort ? null : soft("The way back is that of sample 0; it is the same for the others."),
      create("h3", {}, `What ${optimizer} makes of it`),
      create("ul", { className: "given" }, renderConstants()),
      create("div", { className: "lines" }, explainOnce(fillUpdate(weight, i, j))));
  }

  // The lines of a weight's gradient, each with its template.
  function fillGradient(weight, i, j) {
    const templates = explanation.weights[weight][state.notation];
    const lookUp = makeLookUp();
    const most = explanation.limits.lines;
    const lines = [];
    for (let k = 0; k < (explanation.m <= most ? explanation.m : 1); k += 1) {
      for (const template of templates.slice(0, -1)) {
        const { units, over } = template;
        const n = units ? readArray(explanation.values[units]).shape[1] : 1;
        const count = over ? 1 : n;
        for (let u = 0; u < count && count <= most; u += 1) {
          const places = { i, j, k, u };
          lines.push([template, fillTemplate(explanation, template, places, lookUp, { u: n })]);
        }
      }
    }
    const last = templates.at(-1);
    const sizes = { k: explanation.m };
    return [...lines, [last, fillTemplate(explanation, last, { i, j }, lookUp, sizes)]];
  }

  function fillUpdate(weight, i, j) {
    const { constants, templates } = explanation.update;
    const lookUp = (symbol) => constants[symbol] ?? readUpdate(weight, i, j, symbol);
    const decimals = countDecimals(lookUp("w"), lookUp("w_new") - lookUp("w"));
    const given = [["w", weight], ["dw", `d${weight}`]].map(([symbol, array]) => ({
      name: `{${symbol}}`,
      formula: `{${array}[i,j]}`,
    }));
    return [...given, ...templates].map((template) => [
      template,
      fillTemplate(explanation, template, { i, j }, lookUp, {}, decimals),
    ]);
  }

  function readUpdate(weight, i, j, symbol) {
    return readArray(explanation.update.values[weight][symbol]).at(i, j);
  }

  function renderConstants() {
    const { constants, abouts, exact } = explanation.update;
    return Object.entries(constants).map(([symbol, value]) => {
      const number = formatNumber(value, exact.includes(symbol));
      const equation = [...writeSymbol(explanation, symbol), ` = ${number}`];
      const meaning = create("span", { className: "soft" }, ` ${abouts[symbol]}`);
      return create("li", {}, create("span", { className: "equation" }, equation), meaning);
    });
  }

  // Lines, each explanation once.
  function explainOnce(lines) {
    const explained = new Set();
    for (const [template, line] of lines) {
      const text = about(template);
      if (text && !explained.has(text)) line.append(soft(show(text)));
      explained.add(text);
    }
    return lines.map(([, line]) => line);
  }

  // The script, with the weight that is chosen now in place of that of the page.
  function writeScript() {
    const [before, chosen] = [explanation.weight, state.weight];
    if (!explanation.update?.values || !chosen) return explanation.script;
    const name = ([weight, i, j]) => `${weight}[${i}, ${j}]`;
    if (name(before) === name(chosen)) return explanation.script;
    const script = explanation.script.replaceAll(name(before), name(chosen));
    const numbers = explanation.update.templates.map(({ name: symbol }) => symbol.slice(1, -1));
    return numbers.reduce(
      (text, symbol) =>
        text.replace(
          new RegExp(`^${symbol} = -?\\d[\\d.e+-]*$`, "m"),
          `${symbol} = ${readUpdate(...chosen, symbol)}`,
        ),
      script,
    );
  }

  function renderScript() {
    if (!explanation.script) return null;
    const script = writeScript();
    const said = create("span", { className: "soft", role: "status" });
    const copy = async () => {
      const isCopied = await copyText(script);
      said.textContent = isCopied ? " copied" : " the browser refuses: select it below";
    };
    const weight = state.weight && writeSymbol(explanation, state.weight[0], state.weight.slice(1));
    return create("section", { id: "script" },
      create("h2", {}, "The same in Python"),
      create("p", {}, "A NumPy script that computes all numbers above",
        weight ? [", and the next update of ", ...weight] : [], "."),
      create("p", {}, create("button", { onclick: copy }, "Copy as Python"), said),
      create("details", {},
        create("summary", {}, "Show the script"), create("pre", {}, script)));
  }

  render();
}

// Copy text; a page that was opened from disk may have no clipboard of its own.
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const style = { position: "fixed", opacity: "0" };
    const area = create("textarea", { value: text, readOnly: true, style });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

globalThis.renderExplanation = renderExplanation;
