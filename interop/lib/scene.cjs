// What the Node scenarios share: the scene that lib.sh has set, and what arrived in it.
"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { setTimeout: sleep } = require("node:timers/promises");

const url = process.env.INTEROP_URL;
const key = process.env.INTEROP_KEY;

const subject = "Grüße aus Zürich ✓";
const text = "Zażółć gęślą jaźń\n.\nlast line 🐦";
const attachment = Buffer.from(Array.from({ length: 3000 }, (_, i) => i % 256));

async function api(method, where) {
  const authorization = "Basic " + Buffer.from("api:" + key).toString("base64");
  const answer = await fetch(where.startsWith("http") ? where : url + where, { method, headers: { authorization } });
  assert.equal(answer.status, 200, `${method} ${where}`);
  return answer.json();
}

// Posts a form; any answer is one.
async function form(method, where, fields) {
  const authorization = "Basic " + Buffer.from("api:" + key).toString("base64");
  const answer = await fetch(url + where, { method, headers: { authorization }, body: new URLSearchParams(fields) });
  return { status: answer.status, body: await answer.json() };
}

// The delivered or failed event of a recipient, as soon as there is one.
async function outcome(domain, recipient) {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const query = new URLSearchParams({ recipient, event: "delivered OR failed", ascending: "yes" });
    const { items } = await api("GET", `/v3/${domain}/events?${query}`);
    if (items.length > 0) return items[0];
    assert.ok(Date.now() < deadline, `no outcome for ${recipient} within 30 s`);
    await sleep(100);
  }
}

function how({ event, severity, "delivery-status": status }) {
  return [event, severity, status.tls, status["certificate-verified"]].filter((word) => word !== undefined);
}

// The message that a receiver kept for a recipient, as text.
function kept(folder, recipient) {
  const messages = fs.readdirSync(folder).filter((name) => name.endsWith(".eml"));
  const found = messages
    .map((name) => fs.readFileSync(path.join(folder, name), "latin1"))
    .filter((message) => message.split("\r\n")[1].split(" ").includes(recipient));
  assert.equal(found.length, 1, `messages for ${recipient}`);
  return found[0];
}

// The same, read by postal-mime.
async function parsed(folder, recipient) {
  return require("postal-mime").parse(Buffer.from(kept(folder, recipient), "latin1"));
}

// Whether a base64 part of the message holds exactly these bytes.
function holds(message, bytes) {
  const encoded = bytes.toString("base64");
  return message.replace(/\r\n/g, "").includes(encoded);
}

async function rejected(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  assert.fail("was not refused");
}

module.exports = { api, form, url, key, subject, text, attachment, outcome, how, kept, parsed, holds, rejected };
