"use strict";
const assert = require("node:assert/strict");
const Handlebars = require("handlebars");
const scene = require("../lib/scene.cjs");
const cases = require("./cases.cjs");
const differences = require("./differences.cjs");

Handlebars.logger.log = () => {};
const domain = "templates.sender.test";
const refused = "refused";

// What handlebars.js makes of it, with the one helper that Mailgun adds.
function reference(source, variables) {
  const handlebars = Handlebars.create();
  handlebars.registerHelper("equal", function (a, b, options) {
    return a === b ? options.fn(this) : options.inverse(this);
  });
  try {
    return handlebars.compile(source)(variables);
  } catch {
    return refused;
  }
}

// What arrives of it.
async function ours(name, source, variables) {
  const made = await scene.form("POST", `/v3/${domain}/templates`, { name, template: source });
  if (made.status === 400) return refused;
  assert.equal(made.status, 200, `${name}: ${JSON.stringify(made.body)}`);
  const to = `${name}@plain.test`;
  const fields = { from: `a@${domain}`, to, subject: "t", template: name, "t:variables": variables };
  const sent = await scene.form("POST", `/v3/${domain}/messages`, fields);
  if (sent.status === 400) return refused;
  assert.equal(sent.status, 200, `${name}: ${JSON.stringify(sent.body)}`);
  assert.deepEqual(scene.how(await scene.outcome(domain, to)), ["delivered", false, false]);
  const { html } = await scene.parsed(process.env.SINK_PLAIN, to);
  return html ?? "";
}

async function main() {
  await scene.form("POST", "/v4/domains", { name: domain });
  const wrong = [];
  let same = 0;
  for (const [index, [title, [source, variables]]] of Object.entries(cases).entries()) {
    const json = typeof variables === "string" ? variables : JSON.stringify(variables);
    const theirs = lines(reference(source, JSON.parse(json)));
    const got = lines(await ours(`case-${index}`, source, json));
    if (title in differences) {
      if (got !== differences[title]) wrong.push([title, source, "the list of differences says", differences[title], "not", got]);
      if (got === theirs) wrong.push([title, source, "is no difference any more"]);
    } else if (got === theirs) same++;
    else wrong.push([title, source, "handlebars.js makes of it", theirs, "not", got]);
  }
  for (const title in differences) assert.ok(title in cases, title);
  assert.deepEqual(wrong, []);
  console.log(`templates: ${same} like handlebars.js, ${Object.keys(differences).length} that differ as listed`);
}

// Mail has its own line endings, and one at the end.
const lines = (text) => text.replace(/\r\n/g, "\n").replace(/\n$/, "");

main().catch((error) => {
  console.error("FAILED:", error);
  process.exit(1);
});
