// The page as a whole: a run of training, and what shows it.

const FRAME = 12; // milliseconds of a frame for steps, if they are as fast as they can
const MOST_ROWS_OF_HISTORY = 1200;

class Playground {
  constructor(runtime, equations) {
    this.runtime = runtime;
    this.widths = [8, 8];
    this.own = STORED.own && readStoredData(STORED.own);
    this.shown = null; // the unit whose map is large; null: the prediction
    this.sample = 0;
    this.weight = { layer: 0, from: 0, to: 0 };
    this.run = null; // the run that goes on, if there is one
    this.queue = Promise.resolve();
    this.palette = new Palette();
    this.diagram = new Diagram(find("diagram"), {
      onUnit: (layer, index) => this.show(layer, index),
      onWeight: (layer, from, to) => this.explainWeight({ layer, from, to }),
      onWidth: (layer, width) => this.changeWidths(this.widths.with(layer - 1, width)),
      onHover: (...link) => this.describe(...link),
    });
    this.panel = new Panel(this, equations);
  }

  /** Do something after all that is being done: two steps at once would start from one state. */
  enqueue(work) {
    this.queue = this.queue.then(work).catch((error) => {
      this.pause();
      find("status").textContent = `${error.message ?? error}`;
      console.error(error);
    });
    return this.queue;
  }

  /** Begin again, with the settings that are chosen now. */
  restart() {
    this.pause();
    return this.enqueue(async () => {
      const settings = { ...readControls(), widths: this.widths };
      const data = settings.shape === "own" ? this.own : makeShape(settings.shape, settings.noise);
      this.training = new Training(this.runtime, settings, data);
      this.plane = new Plane(data.x);
      this.sample = Math.min(this.sample, data.y.length - 1);
      find("sample").max = data.y.length - 1;
      this.shown = null;
      this.history = [];
      const layer = Math.min(this.weight.layer, this.widths.length);
      const sizes = [2, ...this.widths, 1];
      const { from, to } = this.weight;
      this.weight = {
        layer,
        from: Math.min(from, sizes[layer] - 1),
        to: Math.min(to, sizes[layer + 1] - 1),
      };
      this.diagram.build(this.widths, data.columns);
      this.diagram.mark(null, this.weight);
      this.panel.listWeights(sizes);
      this.drawSamples();
      this.showChoices();
      await this.refresh();
      this.announce("Ready.");
    });
  }

  changeWidths(widths) {
    this.widths = widths;
    this.restart();
  }

  /** Show the data to choose from; the chosen one stays, unless there is another. */
  showShapes(chosen = readControls().shape) {
    showShapes(chosen, this.own, this.palette);
  }

  /** Show what follows from the settings. */
  showChoices() {
    const { settings, data } = this.training;
    find("noise").disabled = settings.shape === "own";
    find("activation").disabled = !this.widths.length;
    find("depth").textContent = `${this.widths.length} hidden layer${this.widths.length === 1 ? "" : "s"}`;
    find("epoch").dataset.steps = this.training.perEpoch;
    find("fewer").disabled = !this.widths.length;
    find("more").disabled = this.widths.length === STORED.maxDepth;
    const left = data.nLeftOut ? ` ${data.nLeftOut} rows are left out.` : "";
    find("about-data").textContent =
      `${data.nTrain} samples for training, ${data.y.length - data.nTrain} for testing.${left}`;
    data.classes.forEach((name, i) => (find(`class-${i}`).textContent = `class ${name}`));
  }

  // Training --------------------------------------------------------------------------------------

  /** Take steps, until there are enough or the time is over; then show them. */
  async advance(n, milliseconds = Infinity) {
    const end = performance.now() + milliseconds;
    for (let i = 0; i < n && performance.now() < end; i++) await this.training.step();
    await this.refresh();
  }

  /** Take as many steps as `count` returns when its turn comes. */
  take(count) {
    this.pause();
    return this.enqueue(async () => {
      const n = count();
      await this.advance(n);
      this.announce(n === 1 ? "One step taken." : `${n} steps taken.`);
    });
  }

  takeStep() {
    return this.take(() => 1);
  }

  /** Finish the epoch that has begun, or take the next one. */
  takeEpoch() {
    return this.take(() => this.training.perEpoch - (this.training.steps % this.training.perEpoch));
  }

  toggle() {
    if (this.run) {
      this.pause();
      return this.enqueue(async () => {
        await this.panel.refresh();
        this.announce("Paused.");
      });
    }
    const run = (this.run = { isOver: false });
    this.showRunning();
    this.announce("Running.");
    const frame = () => {
      const steps = { step: 1, epoch: this.training.perEpoch, fast: Infinity }[find("speed").value];
      const milliseconds = steps === Infinity ? FRAME : Infinity;
      this.enqueue(async () => {
        if (run.isOver) return;
        await this.advance(steps, milliseconds);
        requestAnimationFrame(frame);
      });
    };
    frame();
  }

  pause() {
    if (this.run) this.run.isOver = true;
    this.run = null;
    this.showRunning();
  }

  showRunning() {
    const isRunning = this.run !== null;
    find("run").textContent = isRunning ? "❚❚ Pause" : "▶ Run";
    find("run").setAttribute("aria-pressed", isRunning);
    find("panel").classList.toggle("stale", isRunning);
  }

  // Showing ---------------------------------------------------------------------------------------

  /** Compute and show everything for the parameters that are now. */
  async refresh() {
    const { training } = this;
    this.maps = await training.predict(this.plane.grid);
    const scores = await training.measure();
    this.history.push({ step: training.steps, ...scores });
    if (this.history.length > MOST_ROWS_OF_HISTORY) {
      this.history = this.history.filter((_, i) => i % 2 === 0 || i === this.history.length - 1);
    }
    await this.showLinks();
    this.draw();
    this.showScores(scores);
    if (!this.run) await this.panel.refresh();
    if (!Number.isFinite(scores.train.loss)) {
      this.pause();
      this.announce("");
    }
  }

  async showLinks() {
    const layers = [...this.widths, 1].map((_, k) => k);
    const showsWeights = find("links").value === "weights";
    const matrices = showsWeights
      ? layers.map((k) => this.training.weight(k).data)
      : await this.training.computeGradients();
    this.matrices = matrices;
    this.diagram.showLinks(matrices, showsWeights ? 1.5 : 1e-12);
  }

  /** Draw all maps, the samples and the curves. */
  draw() {
    const { depth } = this.training;
    const grid = this.plane.grid;
    const canvas = (k, i) => this.diagram.units[k][i].querySelector("canvas");
    for (const i of [0, 1]) {
      this.palette.paint(canvas(0, i), (cell) => grid[2 * cell + i] - this.plane.center[i], this.plane.half);
    }
    for (let k = 1; k <= depth; k++) {
      this.diagram.units[k].forEach((_, i) => this.palette.paint(canvas(k, i), ...this.readMap(k, i)));
    }
    this.palette.paint(canvas(depth + 1, 0), ...this.readMap(depth + 1, 0));
    const { layer, index } = this.shown ?? { layer: depth + 1, index: 0 };
    const [value, scale] = this.readMap(layer, index);
    this.palette.paint(find("map"), value, scale);
    find("map-of").textContent = this.shown
      ? `The map shows unit ${index} of layer ${layer}. Choose it again for the prediction.`
      : "The colour is the predicted probability; the line is where it is one half.";
    drawBoundary(find("boundary"), this.shown ? () => 1 : value, this.palette);
    drawCurves(find("curves"), this.history, this.palette);
  }

  /** Draw the samples, which training does not change. */
  drawSamples() {
    const options = { withTest: find("with-test").checked, chosen: this.sample };
    drawPoints(find("points"), this.training.data, this.plane, this.palette, options);
  }

  /** Draw everything again, for another size or other colours. */
  redraw() {
    this.palette = new Palette();
    this.draw();
    this.drawSamples();
  }

  /** Return a unit's output as a function of the cell, and the largest size of it. */
  readMap(layer, index) {
    const { data, dims } = this.maps[`A${layer}`];
    const width = dims[1];
    if (layer > this.training.depth) return [(cell) => 2 * data[cell] - 1, 1];
    let scale = 1e-9;
    for (let i = index; i < data.length; i += width) scale = Math.max(scale, Math.abs(data[i]));
    return [(cell) => data[cell * width + index], scale];
  }

  showScores({ train, test }) {
    const write = (id, value, digits) => {
      find(id).textContent = value.toFixed(digits);
      find(id).dataset.value = value;
    };
    write("train-loss", train.loss, 4);
    write("test-loss", test.loss, 4);
    write("train-accuracy", train.accuracy, 3);
    write("test-accuracy", test.accuracy, 3);
    find("steps").textContent = this.training.steps.toLocaleString("en");
    find("epochs").textContent = this.training.epoch.toLocaleString("en");
  }

  /** Tell those who do not see the pictures. */
  announce(what) {
    const { train, test } = this.history.at(-1);
    find("status").textContent = !Number.isFinite(train.loss)
      ? "The loss is no longer a finite number: lower the learning rate. Changing it begins anew."
      : `${what} Training loss ${train.loss.toFixed(4)}, test loss ${test.loss.toFixed(4)}, ` +
      `test accuracy ${test.accuracy.toFixed(3)}.`;
  }

  /** Show the map of a unit; that of the prediction if it was shown already. */
  show(layer, index) {
    const isShown = this.shown?.layer === layer && this.shown.index === index;
    this.shown = isShown || layer === 0 || layer > this.training.depth ? null : { layer, index };
    this.diagram.mark(this.shown, this.weight);
    this.draw();
  }

  /** Write a weight under the diagram. */
  describe(layer, from, to) {
    if (layer === null) return;
    const value = this.matrices[layer][from * this.diagram.units[layer + 1].length + to];
    const what = find("links").value === "weights" ? "weight" : "gradient of the weight";
    find("hover").textContent = `${what} ${this.nameWeight({ layer, from, to })}: ${value.toPrecision(4)}`;
  }

  /** Name a weight; units count from 0, as the indices of the library. */
  nameWeight({ layer, from, to }) {
    const start = layer ? `unit ${from} of layer ${layer}` : this.training.data.columns[from];
    const end = layer === this.widths.length ? "the output" : `unit ${to} of layer ${layer + 1}`;
    return `from ${start} to ${end}`;
  }

  explainWeight(weight) {
    this.weight = weight;
    this.diagram.mark(this.shown, weight);
    this.panel.open("weight");
  }

  explainSample(sample) {
    this.sample = sample;
    this.drawSamples();
    this.panel.open("sample");
  }

  /** Choose the sample that is nearest to a place on the map. */
  chooseSample(event) {
    const box = find("points").getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const { data } = this.training;
    let [nearest, least] = [0, Infinity];
    data.y.forEach((_, i) => {
      if (i >= data.nTrain && !find("with-test").checked) return;
      const [px, py] = this.plane.place(data.x, i, box.width);
      const distance = Math.hypot(px - x, py - y);
      if (distance < least) [nearest, least] = [i, distance];
    });
    this.explainSample(nearest);
  }
}
