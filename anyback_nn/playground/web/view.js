// What there is to see of a run: maps, samples, curves and scores.

const MOST_ROWS_OF_HISTORY = 1200;

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
      const [low, high] = this.plane.range(k).map((end) => end.toFixed(1));
      find(`axis-${k}`).textContent = `${low} ← ${name} → ${high}`;
    });
  }

  /** Compute and draw what the network makes of the plane and of the data; is the loss finite? */
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
    return Number.isFinite(scores.train.loss);
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
    find("map-of").textContent = this.shown
      ? `The map shows unit ${index} of layer ${layer}. Choose it again for the prediction.`
      : "The colour is the predicted probability; the line is where it is one half.";
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
