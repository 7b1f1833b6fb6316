// A network in training. All of its mathematics is in graphs that the library was traced into; here
// are only the names of their inputs, and the order of the batches.

/** The scalars of a step that Python computes on the host: `Optimizer.coefficients`. */
function computeCoefficients(optimizer, step, rate) {
  if (optimizer !== "Adam") return [rate];
  const { beta1, beta2, epsilon } = STORED.optimizers.Adam;
  const scale = Math.sqrt((1 - beta2) / (1 - beta2 ** step));
  return [(rate * (1 - beta1)) / (1 - beta1 ** step) / scale, epsilon / scale];
}

class Training {
  constructor(runtime, settings, data) {
    this.runtime = runtime;
    this.settings = settings;
    this.data = data;
    this.steps = 0;
    this.past = []; // the settings before the ones of now, each with the steps that it was used for
    this.begin = { step: 0, epoch: 0, optimizer: 0 }; // where those of now, and the optimiser, began
    this.depth = settings.widths.length;
    this.kind = `${this.depth}/${this.depth ? settings.activation : STORED.activations[0]}`;
    this.values = this.initialize();
    this.batches = this.divide();
  }

  /** Return the initial parameters, which are those of the library, and the optimiser's state. */
  initialize() {
    const { seed, widths } = this.settings;
    const drawn = new Float64Array(decode(STORED.weights).buffer);
    const perSeed = drawn.length / STORED.nSeeds;
    const sizes = [2, ...widths, 1];
    const values = {};
    let next = seed * perSeed;
    sizes.slice(1).forEach((nOut, k) => {
      const nIn = sizes[k];
      const limit = Math.sqrt(6 / (nIn + nOut));
      const weight = Float32Array.from(
        { length: nIn * nOut },
        () => -limit + 2 * limit * drawn[next++],
      );
      for (const [name, array, shape] of [
        ["weight", weight, [nIn, nOut]],
        ["bias", new Float32Array(nOut), [nOut]],
      ]) {
        values[`parameters.${2 * k}.${name}`] = this.runtime.tensor(array, ...shape);
      }
    });
    return this.addSlots(values);
  }

  /** Add the state that an optimiser begins with: zeros. */
  addSlots(values) {
    for (const [name, { data, dims }] of Object.entries(values)) {
      for (const slot of STORED.optimizers[this.settings.optimizer].slots) {
        const zeros = this.runtime.tensor(new Float32Array(data.length), ...dims);
        values[name.replace("parameters", `optimizer.${slot}`)] = zeros;
      }
    }
    return values;
  }

  /**
   * Train these weights on with other settings, as another call of `fit` does: batches from the first
   * one, and another optimiser begins without a state. Return whether it does.
   */
  change(settings) {
    const { steps, epoch, settings: old } = this;
    const taken = steps - this.begin.step;
    if (taken) this.past.push({ settings: old, steps: taken });
    const isOther = ["optimizer", "learningRate", "l2"].some((key) => settings[key] !== old[key]);
    this.begin = { step: steps, epoch, optimizer: isOther ? steps : this.begin.optimizer };
    this.settings = settings;
    if (isOther) {
      const parameters = Object.entries(this.values).filter(([name]) => name.startsWith("par"));
      this.values = this.addSlots(Object.fromEntries(parameters));
    }
    this.batches = this.divide();
    return isOther;
  }

  /** Divide the training samples into batches, in their order. */
  divide() {
    const { x, y, nTrain } = this.data;
    const size = this.settings.batchSize;
    return Array.from({ length: Math.ceil(nTrain / size) }, (_, b) => {
      const [start, stop] = [b * size, Math.min((b + 1) * size, nTrain)];
      return { start, ...this.pad(x.subarray(2 * start, 2 * stop), y.subarray(start, stop)) };
    });
  }

  /** Pad samples to the batch of the graphs. Their weights are such that the mean is over them. */
  pad(x, y) {
    const { batchSize: most } = STORED;
    const padded = [new Float32Array(2 * most), new Float32Array(most), new Float32Array(most)];
    padded[0].set(x);
    padded[1].set(y);
    padded[2].fill(most / y.length, 0, y.length);
    return {
      size: y.length,
      x: this.runtime.tensor(padded[0], most, 2),
      y: this.runtime.tensor(padded[1], most, 1),
      sample_weight: this.runtime.tensor(padded[2], most),
    };
  }

  get perEpoch() {
    return this.batches.length;
  }

  get epoch() {
    return this.begin.epoch + Math.floor((this.steps - this.begin.step) / this.perEpoch);
  }

  /** The number of steps until the epoch ends. */
  get untilEpoch() {
    return this.perEpoch - ((this.steps - this.begin.step) % this.perEpoch);
  }

  /** The number of the optimiser's next step. */
  get t() {
    return this.steps - this.begin.optimizer + 1;
  }

  /** The batch of the next step. */
  get batch() {
    return this.batches[(this.steps - this.begin.step) % this.perEpoch];
  }

  /** Take one step. */
  async step() {
    const { optimizer, learningRate, l2 } = this.settings;
    const scalars = [...computeCoefficients(optimizer, this.t, learningRate), l2];
    const coefficients = Object.fromEntries(
      scalars.map((number, i) => [
        `coefficients.${i}`,
        this.runtime.tensor(Float32Array.of(number)),
      ]),
    );
    const inputs = { ...this.values, ...this.batch, ...coefficients };
    const outputs = await this.runtime.run(`step/${this.kind}/${optimizer}`, inputs);
    for (const [name, tensor] of Object.entries(outputs)) {
      if (name.startsWith("next.")) this.values[name.slice(5)] = tensor;
    }
    this.steps++;
  }

  /** Compute what every layer makes of some samples, and the loss of each. */
  async predict(x, y = new Float32Array(x.length / 2)) {
    const n = y.length;
    return this.runtime.run(`rows/${this.kind}`, {
      ...this.values,
      x: this.runtime.tensor(x, n, 2),
      y: this.runtime.tensor(y, n, 1),
    });
  }

  /** Compute every value and gradient for a batch, by the symbols of `anyback_nn.explain`. */
  async walk(batch) {
    return this.runtime.run(`walk/${this.kind}`, { ...this.values, ...batch });
  }

  /** Compute the gradients that the next step will use: the weights' from layer to layer. */
  async computeGradients() {
    const values = await this.walk(this.batch);
    return Array.from({ length: this.depth + 1 }, (_, k) => values[`dW${k + 1}`].data);
  }

  /** Compute the update of the weights from layer k to the next one, by the symbols of `explain`. */
  async computeUpdate(k, gradient, scalars) {
    const { optimizer } = this.settings;
    const toDouble = ({ data, dims }) => this.runtime.tensor(Float64Array.from(data), ...dims);
    const inputs = { w: toDouble(this.weight(k)), dw: toDouble(gradient) };
    for (const slot of STORED.optimizers[optimizer].slots) {
      inputs[slot] = toDouble(this.values[`optimizer.${slot}.${2 * k}.weight`]);
    }
    for (const [name, value] of Object.entries(scalars)) {
      inputs[name] = this.runtime.tensor(Float64Array.of(value));
    }
    const outputs = await this.runtime.run(`update/${optimizer}`, inputs);
    return { w: inputs.w, dw: inputs.dw, ...outputs };
  }

  /** Measure mean loss and accuracy on the training and the test part. */
  async measure() {
    const { x, y, nTrain } = this.data;
    const outputs = await this.predict(x, y);
    const [losses, probabilities] = [outputs.losses.data, outputs[`A${this.depth + 1}`].data];
    const average = (start, stop) => {
      let [loss, right] = [0, 0];
      for (let i = start; i < stop; i++) {
        loss += losses[i];
        right += probabilities[i] > 0.5 === y[i] > 0.5;
      }
      return { loss: loss / (stop - start), accuracy: right / (stop - start) };
    };
    return { train: average(0, nTrain), test: average(nTrain, y.length) };
  }

  /** Return the weights from layer k to the next one, of which 0 is the input: [from][to]. */
  weight(k) {
    return this.values[`parameters.${2 * k}.weight`];
  }
}
