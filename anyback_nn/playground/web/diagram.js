// The network: a column for each layer, a map for each unit, and a line for each weight.

/** A diagram of buttons for units over lines for weights; its parts are made anew when it changes. */
class Diagram {
  constructor(element, { onUnit, onWeight, onWidth, onHover }) {
    this.element = element;
    this.events = { onUnit, onWeight, onWidth, onHover };
    this.lines = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.lines.setAttribute("aria-hidden", "true");
    new ResizeObserver(() => this.place()).observe(element);
  }

  /** Build the columns for some widths; names are those of the inputs. */
  build(widths, names) {
    const titles = ["inputs", ...widths.map((_, k) => `layer ${k + 1}`), "output"];
    this.units = [2, ...widths, 1].map((width, k) =>
      Array.from({ length: width }, (_, i) =>
        this.createUnit(k, i, k ? k > widths.length && "output" : names[i]),
      ),
    );
    const columns = this.units.map((units, k) => {
      const isHidden = k > 0 && k <= widths.length;
      const column = document.createElement("div");
      column.className = "layer";
      column.append(this.createHead(titles[k], isHidden ? k : 0, units.length), ...units);
      return column;
    });
    this.links = this.units
      .slice(1)
      .map((units, k) =>
        this.units[k].map((_, from) => units.map((_, to) => this.createLink(k, from, to))),
      );
    this.lines.replaceChildren(...this.links.flat(2).flatMap(({ line, area }) => [line, area]));
    this.element.replaceChildren(this.lines, ...columns);
    this.element.style.setProperty("--columns", columns.length);
    this.place();
  }

  createHead(title, layer, width) {
    const head = document.createElement("div");
    head.className = "head";
    const name = document.createElement("span");
    name.textContent = title;
    head.append(name);
    if (!layer) return head;
    const buttons = document.createElement("div");
    const count = document.createElement("output");
    count.textContent = width;
    const change = (by, text, label) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.setAttribute("aria-label", `${label} in layer ${layer}`);
      button.disabled = width + by < 1 || width + by > STORED.maxWidth;
      button.addEventListener("click", () => this.events.onWidth(layer, width + by));
      return button;
    };
    buttons.append(change(-1, "−", "one unit less"), count, change(1, "+", "one unit more"));
    head.append(buttons);
    return head;
  }

  createUnit(layer, index, title) {
    const unit = document.createElement("button");
    unit.type = "button";
    unit.className = "unit";
    const canvas = document.createElement("canvas");
    unit.append(canvas);
    unit.title = title || `unit ${index} of layer ${layer}: show its map`;
    unit.setAttribute("aria-label", unit.title);
    if (!layer) {
      const name = document.createElement("span");
      name.textContent = title;
      unit.append(name);
    }
    unit.addEventListener("click", () => this.events.onUnit(layer, index));
    return unit;
  }

  createLink(layer, from, to) {
    const [line, area] = ["line", "area"].map((kind) => {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("class", kind);
      return path;
    });
    area.addEventListener("click", () => this.events.onWeight(layer, from, to));
    area.addEventListener("pointerenter", () => this.events.onHover(layer, from, to));
    area.addEventListener("pointerleave", () => this.events.onHover(null));
    return { line, area };
  }

  /** Draw the lines from unit to unit, where these are now. */
  place() {
    if (!this.units) return;
    const frame = this.element.getBoundingClientRect();
    const boxes = this.units.map((units) => units.map((unit) => unit.getBoundingClientRect()));
    this.links.forEach((rows, k) =>
      rows.forEach((row, from) =>
        row.forEach(({ line, area }, to) => {
          const [a, b] = [boxes[k][from], boxes[k + 1][to]];
          const [x1, x2] = [a.right - frame.left, b.left - frame.left];
          const [y1, y2] = [a, b].map((box) => box.top + box.height / 2 - frame.top);
          const middle = (x1 + x2) / 2;
          const path = `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`;
          line.setAttribute("d", path);
          area.setAttribute("d", path);
        }),
      ),
    );
  }

  /** Let the lines show matrices, one for each layer: their width is the size, their colour the sign. */
  showLinks(matrices, least) {
    const most = matrices.reduce(
      (all, m) => m.reduce((a, v) => Math.max(a, Math.abs(v)), all),
      least,
    );
    this.links.forEach((rows, k) =>
      rows.forEach((row, from) =>
        row.forEach(({ line }, to) => {
          const share = matrices[k][from * row.length + to] / most;
          line.style.strokeWidth = 0.4 + 7 * Math.min(1, Math.abs(share) || 0);
          const sign = Math.sign(share) || 0; // not a number: as 0
          line.style.stroke = `var(--${["point-0", "none", "point-1"][sign + 1]})`;
        }),
      ),
    );
  }

  /** Mark the unit whose map is large, if there is one. */
  markUnit(unit) {
    this.units.forEach((units, k) =>
      units.forEach((button, i) =>
        button.setAttribute("aria-pressed", String(unit?.layer === k && unit.index === i)),
      ),
    );
  }

  /** Mark the weight that is explained. */
  markWeight({ layer, from, to }) {
    for (const line of this.lines.querySelectorAll(".chosen")) line.classList.remove("chosen");
    this.links[layer][from][to].line.classList.add("chosen");
  }
}
