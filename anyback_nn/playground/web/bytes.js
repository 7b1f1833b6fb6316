// What the page carries as text: bytes in base64, most of them compressed.

const STORED = JSON.parse(document.getElementById("data").textContent);

function decode(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

async function decompress(base64) {
  const stream = new Blob([decode(base64)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Split a file of graphs: a line of JSON with their sizes, then their bytes. */
function splitGraphs(bytes) {
  const end = bytes.indexOf(10);
  const sizes = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
  let start = end + 1;
  return Object.fromEntries(
    Object.entries(sizes).map(([name, size]) => [name, bytes.subarray(start, (start += size))]),
  );
}
