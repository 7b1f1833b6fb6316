// What there is to see of a run: maps, samples, curves and scores.

const MOST_ROWS_OF_HISTORY = 1200;
const LARGER = 1.3; // times the first loss: training has gone wrong
const STEPS_OF_STANDSTILL = 300; // with a loss that does not change

/** Write a number with two digits. */
function writeShort(number) {
  return String(Number(number.toPrecision(2))).replace("-", "−");
}

class View {
  constructor(diagram) {
    this.diagram = diagram;
    this.palette = new Palette();
  }

  /** Begin with the pictures of a new run. */
  begin(training) {
    this.training = training;
    this.plane = new Plane(training.data.x);
    this.shown = null; // the unit whose map is large; null: the prediction
    this.history = [];
    this.maps = null;
    training.data.columns.forEach((name, k) => {
      const [low, high] = this.plane.range(k).map((end) => writeShort(end));
      ["low", "name", "high"].forEach(
        (part, i) => (find(`axis-${k}-${part}`).textContent = [low, name, high][i]),
      );
    });
  }

  /** Compute and draw what the network makes of the plane and of the data. */
  async update() {
    const { training } = this;
    this.maps = await training.predict(this.plane.grid);
    const scores = await training.measure();
    this.history.push({ step: training.steps, ...scores });
    if (this.history.length > MOST_ROWS_OF_HISTORY) {
      this.history = this.history.filter((_, i) => i % 2 === 0 || i === this.history.length - 1);
    }
    this.draw();
    this.showScores(scores);
    this.showAdvice();
  }

  /** Whether the loss is still a number. */
  get isFinite() {
    return Number.isFinite(this.history.at(-1).train.loss);
  }

  /** Draw all maps and the curves. */
  draw() {
    if (!this.maps) return; // of a run that has only begun
    const { depth } = this.training;
    const grid = this.plane.grid;
    const canvas = (k, i) => this.diagram.units[k][i].querySelector("canvas");
    for (const i of [0, 1]) {
      this.palette.paint(
        canvas(0, i),
        (cell) => grid[2 * cell + i] - this.plane.center[i],
        this.plane.half,
      );
    }
    for (let k = 1; k <= depth; k++) {
      this.diagram.units[k].forEach((_, i) =>
        this.palette.paint(canvas(k, i), ...this.readMap(k, i)),
      );
    }
    this.palette.paint(canvas(depth + 1, 0), ...this.readMap(depth + 1, 0));
    const { layer, index } = this.shown ?? { layer: depth + 1, index: 0 };
    const [value, scale] = this.readMap(layer, index);
    this.palette.paint(find("map"), value, scale);
    find("result-title").textContent = this.shown
      ? `Output of unit ${index} of layer ${layer}`
      : "Prediction";
    find("map-of").textContent = this.shown
      ? "The colour is the unit's output at each place. Choose the unit again for the prediction."
      : `The colour is the predicted probability of class ${this.training.data.classes[1]}; ` +
        "the line is where it is 0.5.";
    const ends = this.shown ? [-scale, 0, scale].map((end) => writeShort(end)) : ["0", "0.5", "1"];
    ends.forEach((end, i) => (find(`scale-${i}`).textContent = end));
    drawBoundary(find("boundary"), this.shown ? () => 1 : value, this.palette);
    drawCurves(find("curves"), this.history, this.palette);
  }

  /** Draw the samples, which training does not change; one is chosen. */
  drawSamples(chosen) {
    const options = { withTest: find("with-test").checked, chosen };
    drawPoints(find("points"), this.training.data, this.plane, this.palette, options);
  }

  /** Draw everything again, for another size or other colours. */
  redraw(chosen) {
    this.palette = new Palette();
    this.draw();
    this.drawSamples(chosen);
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

  /** Say what has been done, and the scores to those who do not see them. */
  announce(what, { withScores = true } = {}) {
    const { train, test } = this.history.at(-1);
    const scores =
      ` Training loss ${train.loss.toFixed(4)}, test loss ${test.loss.toFixed(4)}, ` +
      `test accuracy ${test.accuracy.toFixed(3)}.`;
    find("status").textContent = withScores && this.isFinite ? what + scores : what;
  }

  /** Say what to try, if training does not get on. */
  showAdvice() {
    const advice = this.findAdvice();
    find("advice").hidden = !advice;
    if (find("advice").textContent !== advice) find("advice").textContent = advice;
  }

  findAdvice() {
    const [first, last] = [this.history[0], this.history.at(-1)];
    if (!this.isFinite) {
      return "The loss is no longer a finite number: lower the learning rate. Training then starts from new weights.";
    }
    if (last.train.loss > LARGER * first.train.loss) {
      return "The loss is larger than without training: lower the learning rate, and Reset.";
    }
    const recent = this.history.filter(({ step }) => step >= last.step - STEPS_OF_STANDSTILL);
    const losses = recent.map(({ train }) => train.loss);
    const change = Math.max(...losses) - Math.min(...losses);
    if (last.step < 2 * STEPS_OF_STANDSTILL || change > 0.01 * last.train.loss) return "";
    if (last.train.accuracy > 0.95) return "";
    return "The loss hardly changes any more: try more units or layers, another activation, another learning rate, or another seed.";
  }

  /** Show the map of a unit; that of the prediction if it was shown already. */
  show(layer, index) {
    const isShown = this.shown?.layer === layer && this.shown.index === index;
    this.shown = isShown || layer === 0 || layer > this.training.depth ? null : { layer, index };
    this.diagram.markUnit(this.shown);
    this.draw();
  }

  /** Find the sample that is nearest to a place on the map. */
  findSample(event) {
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
    return nearest;
  }
}
