// Pictures on canvases: maps of the plane, points, the decision boundary, curves of the loss.

const GRID = 48; // cells of a map, in both directions

/** Return a colour of the style as [red, green, blue]. */
function readColor(name) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map((start) => parseInt(text.slice(start, start + 2), 16));
}

/** The colours of values from -1 to 1, as one table; they change with light and dark. */
class Palette {
  constructor() {
    const [negative, zero, positive] = ["--negative", "--zero", "--positive"].map(readColor);
    this.table = new Uint8ClampedArray(4 * 256);
    for (let i = 0; i < 256; i++) {
      const share = (i - 127.5) / 127.5;
      const end = share < 0 ? negative : positive;
      for (let c = 0; c < 3; c++) this.table[4 * i + c] = zero[c] + Math.abs(share) * (end[c] - zero[c]);
      this.table[4 * i + 3] = 255;
    }
  }

  /** Paint a map: value(cell) of each cell of the grid, divided by its scale. */
  paint(canvas, value, scale = 1) {
    canvas.width = canvas.height = GRID;
    const context = canvas.getContext("2d");
    const picture = context.createImageData(GRID, GRID);
    for (let cell = 0; cell < GRID * GRID; cell++) {
      const share = Math.max(-1, Math.min(1, value(cell) / scale));
      const entry = 4 * Math.round(127.5 + 127.5 * (share || 0));
      picture.data.set(this.table.subarray(entry, entry + 4), 4 * cell);
    }
    context.putImageData(picture, 0, 0);
  }
}

/** The square of the plane that is drawn: all points, with a margin. */
class Plane {
  constructor(x) {
    const ranges = [0, 1].map((k) => {
      const values = x.filter((_, i) => i % 2 === k);
      return [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
    });
    this.half = 0.54 * Math.max(...ranges.map(([low, high]) => high - low), 1e-6);
    this.center = ranges.map(([low, high]) => (low + high) / 2);
  }

  /** The centres of the cells of a map, row by row from above. */
  get grid() {
    const cells = new Float32Array(2 * GRID * GRID);
    for (let i = 0; i < GRID * GRID; i++) {
      const [column, row] = [i % GRID, Math.floor(i / GRID)];
      cells[2 * i] = this.center[0] + this.half * ((2 * column + 1) / GRID - 1);
      cells[2 * i + 1] = this.center[1] - this.half * ((2 * row + 1) / GRID - 1);
    }
    return cells;
  }

  /** Where a point is drawn on a canvas of some size. */
  place(x, i, size) {
    return [
      (0.5 + (x[2 * i] - this.center[0]) / (2 * this.half)) * size,
      (0.5 - (x[2 * i + 1] - this.center[1]) / (2 * this.half)) * size,
    ];
  }
}

/** Let a canvas have as many pixels as the screen, and return its context and its size. */
function fit(canvas) {
  const [scale, width, height] = [devicePixelRatio || 1, canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return { context, width, height };
}

function style(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Draw the line where a map crosses a level, cell by cell (marching squares). */
function drawBoundary(context, value, level, size) {
  const step = size / GRID;
  context.beginPath();
  for (let row = 0; row < GRID - 1; row++) {
    for (let column = 0; column < GRID - 1; column++) {
      const corners = [[0, 0], [1, 0], [1, 1], [0, 1]].map(([right, down]) => ({
        x: (column + right + 0.5) * step,
        y: (row + down + 0.5) * step,
        v: value((row + down) * GRID + column + right) - level,
      }));
      const ends = corners.flatMap((a, i) => {
        const b = corners[(i + 1) % 4];
        if (a.v > 0 === b.v > 0) return [];
        const share = a.v / (a.v - b.v);
        return [[a.x + share * (b.x - a.x), a.y + share * (b.y - a.y)]];
      });
      for (let i = 0; i + 1 < ends.length; i += 2) {
        context.moveTo(...ends[i]);
        context.lineTo(...ends[i + 1]);
      }
    }
  }
  context.strokeStyle = style("--ink");
  context.lineWidth = 1.5;
  context.stroke();
}

/** Draw samples: those for training are discs, those for testing rings. */
function drawPoints(context, data, plane, size, { withTest = true, radius = 3.2, chosen = null } = {}) {
  const [paper, ...colors] = ["--paper", "--point-0", "--point-1"].map(style);
  context.lineWidth = Math.max(1, radius / 2.8);
  data.y.forEach((label, i) => {
    const isTest = i >= data.nTrain;
    if (isTest && !withTest) return;
    context.beginPath();
    context.arc(...plane.place(data.x, i, size), isTest ? radius * 0.8 : radius, 0, 2 * Math.PI);
    context.fillStyle = isTest ? paper : colors[label];
    context.strokeStyle = isTest ? colors[label] : paper;
    context.fill();
    context.stroke();
  });
  if (chosen === null) return;
  context.beginPath();
  context.arc(...plane.place(data.x, chosen, size), 8, 0, 2 * Math.PI);
  context.strokeStyle = style("--ink");
  context.lineWidth = 2.5;
  context.stroke();
}

/** Draw the losses of training (full) and test (dashed) against the steps. */
function drawCurves(canvas, history) {
  const { context, width, height } = fit(canvas);
  const [left, top, right, bottom] = [34, 6, width - 6, height - 18];
  const values = history.flatMap(({ train, test }) => [train.loss, test.loss]).filter(Number.isFinite);
  const most = Math.max(...values, 0.1);
  const last = Math.max(history.at(-1)?.step ?? 0, 1);
  const x = (step) => left + (step / last) * (right - left);
  const y = (loss) => bottom - (Math.min(loss, most) / most) * (bottom - top);
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = style("--soft");
  context.strokeStyle = style("--line");
  context.lineWidth = 1;
  for (const share of [0, 0.5, 1]) {
    const level = Math.round(y(share * most)) + 0.5;
    context.beginPath();
    context.moveTo(left, level);
    context.lineTo(right, level);
    context.stroke();
    context.textAlign = "right";
    context.fillText((share * most).toPrecision(2), left - 4, level + 4);
  }
  context.textAlign = "left";
  context.fillText("0", left, height - 4);
  context.textAlign = "right";
  context.fillText(`step ${last.toLocaleString("en")}`, right, height - 4);
  for (const [part, color, dashes] of [
    ["train", "--accent", []],
    ["test", "--ink", [5, 4]],
  ]) {
    context.beginPath();
    history.forEach((row) => {
      if (Number.isFinite(row[part].loss)) context.lineTo(x(row.step), y(row[part].loss));
    });
    context.setLineDash(dashes);
    context.strokeStyle = style(color);
    context.lineWidth = 1.8;
    context.stroke();
  }
}
