"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const PostalMime = require("postal-mime");

// This reader adds line endings at the end of a text that has others beside it.
const lines = (text) => text.replace(/\r\n/g, "\n").replace(/\n+$/, "");

async function main() {
  const expected = JSON.parse(fs.readFileSync(process.env.EXPECTED, "utf8"));
  const wrong = [];
  for (const wanted of expected) {
    const message = await PostalMime.parse(fs.readFileSync(wanted.path));
    // What it does not know as a text is a file.
    const files = message.attachments.filter(({ mimeType }) => mimeType !== "text/x-amp-html");
    const amp = message.attachments.find(({ mimeType }) => mimeType === "text/x-amp-html");
    const same = (what, sent, got) => {
      try {
        assert.deepEqual(got, sent);
      } catch {
        wrong.push(`${wanted.name}: ${what} sent ${short(sent)}, read ${short(got)}`);
      }
    };
    const text = (value) => (value === undefined || value === null ? null : lines(value));
    same("subject", wanted.subject, message.subject ?? "");
    for (const [name, list] of Object.entries(wanted.mailboxes)) {
      const found = name === "from" ? [message.from] : message[name === "reply-to" ? "replyTo" : name];
      same(name, list, found.map(({ name, address }) => [name, address]));
    }
    same("text", text(wanted.text), text(message.text));
    same("html", text(wanted.html), text(message.html));
    same("amp", text(wanted.amp), text(amp && new TextDecoder("utf-8", { ignoreBOM: true }).decode(amp.content)));
    same("the files", wanted.files.map(({ name }) => name), files.map(({ filename }) => filename));
    wanted.files.forEach((file, i) => {
      if (!files[i]) return; // told already
      same("a file's type", file.type, files[i].mimeType);
      same("a file's content", file.content, Buffer.from(files[i].content).toString("base64"));
      same("a file's place", file.inline, files[i].disposition === "inline");
      if (file.inline) same("cid", true, files[i].related === true && wanted.html.includes(`cid:${files[i].contentId.slice(1, -1)}`));
    });
    for (const [name, value] of Object.entries(wanted.headers)) {
      const found = message.headers.filter(({ key }) => key === name.toLowerCase());
      same(name, [value], found.map(({ value }) => PostalMime.decodeWords(value)));
    }
  }
  assert.equal(wrong.length, 0, wrong.join("\n"));
  console.log(`postal-mime reads ${expected.length} messages as they were sent`);
}

function short(value) {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length < 240 ? text : `${text.slice(0, 160)}…${text.slice(-60)} (${text.length} long)`;
}

main().catch((error) => {
  console.error("FAILED:", error.message);
  process.exit(1);
});
