// The same request in several languages, ready to be run against this service. Touches no page, so that tests can run them.

/**
 * @typedef {object} Target
 * @property {string} base the service's address, with a slash in the end
 * @property {string} [model] to be named; without it the service's default answers
 * @property {string} served the model that answers, which the Open Inference Protocol always names
 * @property {boolean} needsKey whether the service asks for a key, which samples read from the variable API_KEY
 *
 * @typedef {object} Sample
 * @property {string} id part of element ids, and of the key of its note in texts.js
 * @property {string} name
 * @property {(target: Target) => string} write
 */

const TOP_K = 3;

/** @param {Target} target */
const predict = ({ base, model }) => `${base}predict?${new URLSearchParams({ top_k: `${TOP_K}`, ...(model && { model }) })}`;

/** A string of Python or JavaScript. */
const quoted = JSON.stringify;

/** @type {Sample[]} */
export const SAMPLES = [
  {
    id: "curl",
    name: "curl",
    write: (target) => `curl ${target.needsKey ? '-H "X-API-Key: $API_KEY" ' : ""}-F file=@cat.jpg "${predict(target)}"`,
  },
  {
    id: "requests",
    name: "Python",
    write: (target) => `${target.needsKey ? "import os\n\n" : ""}import requests

with open("cat.jpg", "rb") as picture:
    response = requests.post(
        ${quoted(predict(target))},
        files={"file": picture},${target.needsKey ? '\n        headers={"X-API-Key": os.environ["API_KEY"]},' : ""}
        timeout=30,
    )
response.raise_for_status()
for entry in response.json():
    print(f"{entry['confidence']:5.1f} %  {entry['label']}")`,
  },
  {
    id: "client",
    name: "Marserve client",
    write: ({ base, model, needsKey }) => `${needsKey ? "import os\n\n" : ""}from marserve.client.inference import InferenceClient

with InferenceClient.for_web(${[
      quoted(base.replace(/\/$/, "")),
      ...(model ? [`model=${quoted(model)}`] : []),
      ...(needsKey ? ['api_key=os.environ["API_KEY"]'] : []),
    ].join(", ")}) as client:
    for entry in client.classify("cat.jpg", top_k=${TOP_K}).predictions:
        print(f"{entry.probability:6.1%}  {entry.label}")`,
  },
  {
    id: "javascript",
    name: "JavaScript",
    write: (target) => `import { readFile } from "node:fs/promises";

const response = await fetch(${quoted(predict(target))}, {
  method: "POST",${target.needsKey ? '\n  headers: { "X-API-Key": process.env.API_KEY },' : ""}
  body: await readFile("cat.jpg"),
});
const answer = await response.json();
if (!response.ok) throw new Error(answer.message);
for (const { confidence, label } of answer) console.log(\`\${confidence.toFixed(1)} %  \${label}\`);`,
  },
  {
    id: "triton",
    name: "tritonclient",
    write: ({ base, served, needsKey }) => {
      const { protocol, host, pathname } = new URL(base);
      return `${needsKey ? "import os\n\n" : ""}import numpy as np
import tritonclient.http as triton

with open("cat.jpg", "rb") as file:
    pictures = np.array([file.read()], dtype=np.object_)
image = triton.InferInput("image", [1], "BYTES")
image.set_data_from_numpy(pictures)
client = triton.InferenceServerClient(${quoted(host + pathname.replace(/\/$/, ""))}${protocol === "https:" ? ", ssl=True" : ""})
answer = client.infer(
    ${quoted(served)},
    [image],
    outputs=[triton.InferRequestedOutput("probabilities", class_count=${TOP_K})],${needsKey ? '\n    headers={"X-API-Key": os.environ["API_KEY"]},' : ""}
)
for entry in answer.as_numpy("probabilities")[0]:
    probability, _, label = entry.decode().split(":", 2)
    print(f"{float(probability):6.1%}  {label}")`;
    },
  },
];
