// Connect the controls, and begin.

function connect(playground) {
  const on = (id, event, act) => find(id).addEventListener(event, act);
  on("run", "click", () => playground.toggle());
  on("step", "click", () => playground.takeStep());
  on("epoch", "click", () => playground.takeEpoch());
  on("reset", "click", () => playground.restart());
  on("fewer", "click", () => playground.changeWidths(playground.widths.slice(0, -1)));
  on("more", "click", () =>
    playground.changeWidths([...playground.widths, playground.widths.at(-1) ?? 4]),
  );
  for (const id of ["optimizer", "learningRate", "batchSize", "l2"]) {
    on(id, "change", () => playground.change());
  }
  on("activation", "change", () => playground.restart());
  on("seed", "change", () => {
    if (readInteger("seed", playground.training.settings.seed) !== null) playground.restart();
  });
  on("shapes", "change", (event) => {
    setNoise(STORED.shapes[event.target.value]?.noise ?? 0);
    playground.restart();
  });
  on("noise", "input", () => setNoise(find("noise").value));
  on("noise", "change", () => playground.restart());
  on("links", "change", () => playground.enqueue(() => playground.showLinks()));
  on("with-test", "change", () => playground.view.drawSamples(playground.sample));
  on("points", "click", (event) => playground.explainSample(playground.view.findSample(event)));
  on("file", "change", () => readFile(playground));
  const redraw = () => playground.training && playground.view.redraw(playground.sample);
  new ResizeObserver(redraw).observe(find("points"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    redraw();
    playground.showShapes();
  });
}

/** Read the table that the reader has chosen; it stays in this page. */
async function readFile(playground) {
  const [file] = find("file").files;
  if (!file) return;
  const text = await file.text();
  find("columns").hidden = true;
  report(() =>
    showColumns(readTable(file.name, text), (data) => {
      playground.own = data;
      playground.showShapes("own");
      playground.restart();
    }),
  );
}

function showLicenses() {
  find("runtime-version").textContent = STORED.runtime.version;
  find("license").textContent = STORED.license;
  find("show-notices").addEventListener("click", async () => {
    find("notices").textContent = new TextDecoder().decode(await decompress(STORED.notices));
    find("notices").hidden = false;
    find("show-notices").hidden = true;
  });
}

async function start() {
  fillControls();
  showLicenses();
  const runtime = await Runtime.open();
  find("loading").hidden = true;
  find("playground").hidden = false;
  const equations = JSON.parse(new TextDecoder().decode(await decompress(STORED.equations)));
  const playground = new Playground(runtime, equations);
  playground.showShapes(STORED.own ? "own" : STORED.shape);
  setNoise(STORED.own ? 0 : STORED.shapes[STORED.shape].noise);
  connect(playground);
  await playground.restart();
}

start().catch((error) => {
  find("loading").textContent = `The page cannot run in this browser: ${error.message ?? error}`;
  console.error(error);
});
