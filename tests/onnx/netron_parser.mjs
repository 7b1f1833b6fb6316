// Loads an ONNX file with Netron's parser: node netron_parser.mjs FOLDER_OF_NETRON FILE
// Prints {"format", "nodes", "inputs", "outputs", "problems"} as JSON.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, file] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(join(folder, name)));
const { BinaryStream } = await load('base.js');
const { ModelFactoryService } = await load('view.js');

const problems = [];
const host = {
    environment: () => null,
    require: (id) => load(`${id.replace('./', '')}.js`),
    request: async (name, encoding) => readFileSync(join(folder, name), encoding),
    asset: async (name) => readFileSync(join(folder, name), 'utf-8'),
    exception: (error) => problems.push(String(error)),
    message: (text) => problems.push(String(text)),
    event: () => {}
};
const context = {
    identifier: file,
    stream: new BinaryStream(readFileSync(file)),
    entries: new Map(),
    request: host.request,
    asset: host.asset,
    require: host.require,
    error: (error) => problems.push(String(error))
};
for (const name of ['warn', 'error']) {
    console[name] = (...words) => problems.push(words.join(' '));
}

const model = await new ModelFactoryService(host).open(context);
const graph = model.modules[0];
for (const node of graph.nodes) {
    // An operator that Netron does not know has no schema.
    if (!node.type || !Array.isArray(node.type.inputs)) {
        problems.push(`unknown operator ${node.type?.name}`);
    }
}
const names = (values) => values.map((value) => value.name);
console.log(JSON.stringify({
    format: model.format,
    nodes: graph.nodes.map((node) => node.type.name),
    inputs: names(graph.inputs),
    outputs: names(graph.outputs),
    problems
}));
