// Pictures on canvases: maps of the plane, points, the decision boundary, curves of the loss.

const GRID = 48; // cells of a map, in both directions

/** Return a colour of the style, such as "#1b1f24". */
function readColor(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** The colours of the style as they are now; they change with light and dark. */
class Palette {
  constructor() {
    const names = ["paper", "ink", "soft", "line", "accent", "point-0", "point-1"];
    this.colors = Object.fromEntries(names.map((name) => [name, readColor(`--${name}`)]));
    const ends = ["--negative", "--zero", "--positive"].map((name) =>
      [1, 3, 5].map((start) => parseInt(readColor(name).slice(start, start + 2), 16)),
    );
    const shades = new Uint8ClampedArray(4 * 256);
    for (let i = 0; i < 256; i++) {
      const share = (i - 127.5) / 127.5;
      const [zero, end] = [ends[1], ends[share < 0 ? 0 : 2]];
      for (let c = 0; c < 3; c++)
        shades[4 * i + c] = zero[c] + Math.abs(share) * (end[c] - zero[c]);
      shades[4 * i + 3] = 255;
    }
    this.shades = new Uint32Array(shades.buffer);
  }

  /** Paint a map: value(cell) of each cell of the grid, divided by its scale. */
  paint(canvas, value, scale = 1) {
    if (canvas.width !== GRID) canvas.width = canvas.height = GRID;
    const context = canvas.getContext("2d");
    const picture = context.createImageData(GRID, GRID);
    const pixels = new Uint32Array(picture.data.buffer);
    for (let cell = 0; cell < pixels.length; cell++) {
      const share = Math.max(-1, Math.min(1, value(cell) / scale)) || 0;
      pixels[cell] = this.shades[Math.round(127.5 + 127.5 * share)];
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

  /** The ends of an axis. */
  range(k) {
    return [this.center[k] - this.half, this.center[k] + this.half];
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

/** Draw the line where a map crosses zero, cell by cell (marching squares). */
function drawBoundary(canvas, value, palette) {
  const { context, width } = fit(canvas);
  const step = width / GRID;
  context.beginPath();
  for (let row = 0; row < GRID - 1; row++) {
    for (let column = 0; column < GRID - 1; column++) {
      const first = row * GRID + column;
      const v = [first, first + 1, first + GRID + 1, first + GRID].map(value);
      const above = v.filter((number) => number > 0).length;
      if (above === 0 || above === 4) continue;
      const [x, y] = [(column + 0.5) * step, (row + 0.5) * step];
      const corners = [
        [x, y],
        [x + step, y],
        [x + step, y + step],
        [x, y + step],
      ];
      let isStart = true;
      corners.forEach(([ax, ay], i) => {
        const next = (i + 1) % 4;
        if (v[i] > 0 === v[next] > 0) return;
        const share = v[i] / (v[i] - v[next]);
        const [bx, by] = corners[next];
        context[isStart ? "moveTo" : "lineTo"](ax + share * (bx - ax), ay + share * (by - ay));
        isStart = !isStart;
      });
    }
  }
  context.strokeStyle = palette.colors.ink;
  context.lineWidth = 1.5;
  context.stroke();
}

/** Draw samples: those for training are discs, those for testing rings; one may be chosen. */
function drawPoints(
  canvas,
  data,
  plane,
  palette,
  { withTest = true, radius = 3.2, chosen = null } = {},
) {
  const { context, width } = fit(canvas);
  const { paper, ink, ...colors } = palette.colors;
  context.lineWidth = Math.max(1, radius / 2.8);
  data.y.forEach((label, i) => {
    const isTest = i >= data.nTrain;
    if (isTest && !withTest) return;
    const color = colors[`point-${label}`];
    context.beginPath();
    context.arc(...plane.place(data.x, i, width), isTest ? radius * 0.8 : radius, 0, 2 * Math.PI);
    context.fillStyle = isTest ? paper : color;
    context.strokeStyle = isTest ? color : paper;
    context.fill();
    context.stroke();
  });
  if (chosen === null) return;
  context.beginPath();
  context.arc(...plane.place(data.x, chosen, width), 8, 0, 2 * Math.PI);
  context.strokeStyle = ink;
  context.lineWidth = 2.5;
  context.stroke();
}

/** Draw the losses of training (full) and test (dashed) against the steps. */
function drawCurves(canvas, history, { colors }) {
  const { context, width, height } = fit(canvas);
  const [left, top, right, bottom] = [34, 6, width - 6, height - 18];
  const values = history
    .flatMap(({ train, test }) => [train.loss, test.loss])
    .filter(Number.isFinite);
  const most = Math.max(...values, 0.1);
  const last = Math.max(history.at(-1)?.step ?? 0, 1);
  const x = (step) => left + (step / last) * (right - left);
  const y = (loss) => bottom - (Math.min(loss, most) / most) * (bottom - top);
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = colors.soft;
  context.strokeStyle = colors.line;
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
    ["train", colors.accent, []],
    ["test", colors.ink, [5, 4]],
  ]) {
    context.beginPath();
    history.forEach((row) => {
      if (Number.isFinite(row[part].loss)) context.lineTo(x(row.step), y(row[part].loss));
    });
    context.setLineDash(dashes);
    context.strokeStyle = color;
    context.lineWidth = 1.8;
    context.stroke();
  }
}
