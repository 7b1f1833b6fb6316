// onnxruntime-web, which computes the graphs of the library.

class Runtime {
  /** Load the runtime and the graphs that are in the page; nothing is fetched. */
  static async open() {
    const [module, wasm, graphs] = await Promise.all(
      ["module", "wasm", "graphs"].map((part) => decompress(STORED[part])),
    );
    // A page from disk cannot import a module from a file, only from a blob.
    const address = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
    const ort = await import(address);
    URL.revokeObjectURL(address);
    ort.env.logLevel = "error";
    ort.env.wasm.numThreads = 1; // more would need headers of a server
    ort.env.wasm.wasmBinary = wasm;
    return new Runtime(ort, splitGraphs(graphs));
  }

  constructor(ort, graphs) {
    this.ort = ort;
    this.graphs = graphs;
    this.sessions = new Map();
  }

  /** Wrap numbers as a tensor; scalars have no dimensions. */
  tensor(values, ...shape) {
    const type = values instanceof Float64Array ? "float64" : "float32";
    return new this.ort.Tensor(type, values, shape);
  }

  /** Compute a graph: tensors by name give tensors by name. */
  async run(name, values) {
    if (!this.sessions.has(name)) {
      this.sessions.set(name, this.ort.InferenceSession.create(this.graphs[name]));
    }
    const session = await this.sessions.get(name);
    return session.run(Object.fromEntries(session.inputNames.map((key) => [key, values[key]])));
  }
}
