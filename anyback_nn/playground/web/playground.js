// The page as a whole: a run of training, and what shows it.

const FRAME = 12; // milliseconds of a frame for steps, if they are as fast as they can

class Playground {
  constructor(runtime, equations) {
    this.runtime = runtime;
    this.widths = STORED.widths;
    this.own = STORED.own && readStoredData(STORED.own);
    this.sample = 0;
    this.weight = { layer: 0, from: 0, to: 0 };
    this.run = null; // the run that goes on, if there is one
    this.queue = Promise.resolve();
    this.waiting = 0; // what is in the queue, which programs that drive the page can see
    this.diagram = new Diagram(find("diagram"), {
      onUnit: (layer, index) => this.view.show(layer, index),
      onWeight: (layer, from, to) => this.explainWeight({ layer, from, to }),
      onWidth: (layer, width) => this.changeWidths(this.widths.with(layer - 1, width)),
      onHover: (...link) => this.describe(...link),
    });
    this.view = new View(this.diagram);
    this.panel = new Panel(this, equations);
  }

  /** Do something after all that is being done: two steps at once would start from one state. */
  enqueue(work) {
    const count = (by) => (find("playground").dataset.waiting = this.waiting += by);
    count(1);
    this.queue = this.queue
      .then(work)
      .catch((error) => {
        this.pause();
        find("status").textContent = `${error.message ?? error}`;
        console.error(error);
      })
      .finally(() => count(-1));
    return this.queue;
  }

  /** Begin with new weights, and the settings that are chosen now. */
  restart() {
    this.pause();
    return this.enqueue(async () => {
      const taken = this.training?.steps;
      const settings = { ...readControls(), widths: this.widths };
      const data = settings.shape === "own" ? this.own : makeShape(settings.shape, settings.noise);
      this.training = new Training(this.runtime, settings, data);
      this.sample = Math.min(this.sample, data.y.length - 1);
      this.weight = this.limitWeight(this.weight);
      this.diagram.build(this.widths, data.columns);
      this.diagram.markWeight(this.weight);
      this.view.begin(this.training);
      this.view.drawSamples(this.sample);
      this.panel.begin();
      this.showChoices();
      await this.refresh();
      this.view.announce(taken ? "Ready to train from new weights: step 0." : "Ready.");
    });
  }

  /** Train on with other settings of the steps: the weights stay. */
  change() {
    return this.enqueue(async () => {
      if (!this.view.isFinite) return void this.restart();
      const isOther = this.training.change({ ...readControls(), widths: this.widths });
      this.showChoices();
      if (!this.run) await this.refresh();
      const optimizer = isOther ? " The optimiser begins again, at t = 1." : "";
      if (this.training.steps) {
        const what = `Setting changed: training resumes from the same weights.${optimizer}`;
        this.view.announce(`${what} For new ones: Reset.`, { withScores: false });
      } else this.view.announce("Ready.");
    });
  }

  /** Return a weight that the network has; the same one, if it can be. */
  limitWeight({ layer, from, to }) {
    const k = Math.min(layer, this.widths.length);
    const sizes = [2, ...this.widths, 1];
    return { layer: k, from: Math.min(from, sizes[k] - 1), to: Math.min(to, sizes[k + 1] - 1) };
  }

  changeWidths(widths) {
    this.widths = widths;
    this.restart();
  }

  /** Show the data to choose from; the chosen one stays, unless there is another. */
  showShapes(chosen = readControls().shape) {
    showShapes(chosen, this.own, this.view.palette);
  }

  /** Show what follows from the settings. */
  showChoices() {
    const { settings, data } = this.training;
    find("noise").disabled = settings.shape === "own";
    find("activation").disabled = !this.widths.length;
    find("depth").textContent =
      `${this.widths.length} hidden layer${this.widths.length === 1 ? "" : "s"}`;
    find("epoch").dataset.steps = this.training.perEpoch;
    find("fewer").disabled = !this.widths.length;
    find("more").disabled = this.widths.length === STORED.maxDepth;
    const left = data.nLeftOut ? ` ${data.nLeftOut} rows are left out.` : "";
    find("about-data").textContent =
      `${data.nTrain} samples for training, ${data.y.length - data.nTrain} for testing.${left}` +
      (settings.shape === "spirals" && this.widths.length < 2
        ? " Spirals need more: two hidden layers of 8 units."
        : "");
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
      this.view.announce(n === 1 ? "One step taken." : `${n} steps taken.`);
    });
  }

  takeStep() {
    return this.take(() => 1);
  }

  /** Finish the epoch that has begun, or take the next one. */
  takeEpoch() {
    return this.take(() => this.training.untilEpoch);
  }

  toggle() {
    if (this.run) {
      this.pause();
      return this.enqueue(async () => {
        await this.panel.refresh();
        this.view.announce("Paused.");
      });
    }
    const run = (this.run = { isOver: false });
    this.showRunning();
    this.view.announce("Running.", { withScores: false });
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
    await this.view.update();
    await this.showLinks();
    if (!this.view.isFinite) this.pause();
    if (!this.run) await this.panel.refresh();
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

  /** Write a weight under the diagram. */
  describe(layer, from, to) {
    if (layer === null) return;
    const value = this.matrices[layer][from * this.diagram.units[layer + 1].length + to];
    const what = find("links").value === "weights" ? "weight" : "gradient of the weight";
    find("hover").textContent =
      `${what} ${this.nameWeight({ layer, from, to })}: ${value.toPrecision(4)}`;
  }

  /** Name a weight; units count from 0, as the indices of the library. */
  nameWeight({ layer, from, to }) {
    const start = layer ? `unit ${from} of layer ${layer}` : this.training.data.columns[from];
    const end = layer === this.widths.length ? "the output" : `unit ${to} of layer ${layer + 1}`;
    return `from ${start} to ${end}`;
  }

  explainWeight(weight) {
    this.weight = weight;
    this.diagram.markWeight(weight);
    this.panel.open("weight");
  }

  explainSample(sample) {
    this.sample = sample;
    this.view.drawSamples(sample);
    this.panel.open("sample");
  }
}
