// The numbers of one sample, of one weight's update, and the script: explained as the library does.

const TABS = ["sample", "weight", "python"];

class Panel {
  constructor(playground, equations) {
    this.playground = playground;
    this.equations = equations;
    this.tab = "sample";
    for (const tab of TABS) find(`tab-${tab}`).addEventListener("click", () => this.choose(tab));
    find("sample").addEventListener("change", () => {
      const sample = readInteger("sample", playground.sample);
      if (sample !== null) playground.explainSample(sample);
    });
    find("all-values").addEventListener("change", ({ target }) => {
      // They are below the derivation, out of sight.
      if (target.checked) find("walk").querySelector(".flow")?.scrollIntoView();
    });
    find("weight").addEventListener("change", () => {
      const [layer, from, to] = find("weight").value.split(",").map(Number);
      playground.explainWeight({ layer, from, to });
    });
    find("copy").addEventListener("click", () => this.copy());
  }

  choose(tab) {
    this.tab = tab;
    return this.playground.enqueue(() => this.refresh());
  }

  /** Show a tab from its top because of a click in a picture; the page stays where it is. */
  open(tab) {
    find("panel").scrollTop = 0;
    return this.choose(tab);
  }

  /** List the samples and weights of a new network. */
  begin() {
    const { data, settings } = this.playground.training;
    find("sample").max = data.y.length - 1;
    find("sample-range").textContent =
      `0 to ${data.y.length - 1}; test samples from ${data.nTrain}`;
    const sizes = [2, ...settings.widths, 1];
    const options = sizes.slice(1).flatMap((nOut, layer) =>
      Array.from({ length: sizes[layer] * nOut }, (_, i) => {
        const [from, to] = [Math.floor(i / nOut), i % nOut];
        const name = `W${layer + 1}[${from},${to}] ${this.playground.nameWeight({ layer, from, to })}`;
        return new Option(name, [layer, from, to].join());
      }),
    );
    find("weight").replaceChildren(...options);
  }

  /** Show the numbers of the parameters that are now. */
  async refresh() {
    for (const tab of TABS) find(`tab-${tab}`).setAttribute("aria-selected", tab === this.tab);
    find("sample-problem").hidden = true;
    find("numbers").hidden = this.tab === "python";
    find("script").hidden = this.tab !== "python";
    find("which-sample").hidden = this.tab !== "sample";
    find("which-weight").hidden = find("which-values").hidden = this.tab !== "weight";
    const { training, sample, weight } = this.playground;
    if (this.tab === "python") {
      find("code").textContent = writeScript(training, weight);
      find("copy").textContent = "Copy";
      return;
    }
    find("sample").value = sample;
    find("weight").value = [weight.layer, weight.from, weight.to].join();
    const explanation =
      this.tab === "sample" ? await this.explainSample(sample) : await this.explainUpdate(weight);
    find("about-walk").textContent = explanation.title;
    const notation = document.querySelector("input[name=notation]:checked")?.value;
    renderExplanation(find("walk"), explanation, {
      notation,
      onWeight: ([name, from, to]) =>
        this.playground.explainWeight({ layer: Number(name.slice(1)) - 1, from, to }),
    });
  }

  /** Follow one sample through the network. */
  async explainSample(sample) {
    const { data } = this.playground.training;
    const [x, y] = [
      data.x.subarray(2 * sample, 2 * sample + 2),
      data.y.subarray(sample, sample + 1),
    ];
    const part = sample < data.nTrain ? "training" : "test";
    const title =
      `Sample ${sample} is one of the ${part} samples, of class ${data.classes[y[0]]}. It is alone ` +
      "here (m = 1). A training step takes the mean gradient of a batch: see One weight.";
    return this.explainWalk(this.playground.training.pad(x, y), title);
  }

  /** Work out how the next step changes a weight. */
  async explainUpdate({ layer, from, to }) {
    const { training } = this.playground;
    const { optimizer, learningRate, l2 } = training.settings;
    const { start, size } = training.batch;
    const title =
      `The weight ${this.playground.nameWeight({ layer, from, to })} in the next step, ` +
      `${training.steps + 1}. Its batch has the training samples ${start} to ` +
      `${start + size - 1} (m = ${size}): number 0 of the batch is sample ${start}. ` +
      "The numbers of X, Y and A in the derivation are in the tables of all values. " +
      "To add its products by hand, choose a batch size of 1 to 4.";
    const explanation = await this.explainWalk(training.batch, title);
    const { symbols, ...update } = this.equations.updates[optimizer][l2 ? 1 : 0];
    const scalars = { rate: learningRate, t: training.t, lambda2: l2 };
    const constants = { ...update.constants, rate: learningRate, t: training.t };
    if (l2) constants.lambda2 = l2;
    const values = {};
    for (let k = 0; k <= training.depth; k++) {
      values[`W${k + 1}`] = await training.computeUpdate(
        k,
        explanation.tensors[`dW${k + 1}`],
        scalars,
      );
    }
    return {
      ...explanation,
      symbols: { ...explanation.symbols, ...symbols },
      update: { ...update, constants, values: mapValues(values, (own) => mapValues(own, toLists)) },
      weight: [`W${layer + 1}`, from, to],
    };
  }

  /** Compute every value for some samples, as the explanation of these. */
  async explainWalk(batch, title) {
    const { training } = this.playground;
    const walk = this.equations.walks[training.kind];
    const tensors = await training.walk(batch);
    const ofSamples = new Set([...walk.samples, ...walk.gradients]);
    const all = { X: batch.x, Y: batch.y, ...tensors };
    for (let k = 0; k <= training.depth; k++) {
      all[`W${k + 1}`] = training.values[`parameters.${2 * k}.weight`];
      all[`b${k + 1}`] = training.values[`parameters.${2 * k}.bias`];
    }
    const values = mapValues(all, (tensor, symbol) =>
      ofSamples.has(symbol) ? toLists(tensor).slice(0, batch.size) : toLists(tensor),
    );
    const { columns } = training.data;
    return { ...walk, title, values, tensors, m: batch.size, weight: null, features: columns };
  }

  async copy() {
    const code = find("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      find("copy").textContent = "Copied";
    } catch {
      // A page from disk may have no clipboard: the reader copies what is selected.
      getSelection().selectAllChildren(code);
      find("copy").textContent = "Selected: press Ctrl+C";
    }
  }
}

function mapValues(object, change) {
  return Object.fromEntries(
    Object.entries(object).map(([key, value]) => [key, change(value, key)]),
  );
}

/** Return a tensor as nested lists. */
function toLists({ data, dims }) {
  if (!dims.length) return data[0];
  if (dims.length === 1) return [...data];
  return Array.from({ length: dims[0] }, (_, i) => [
    ...data.subarray(i * dims[1], (i + 1) * dims[1]),
  ]);
}
