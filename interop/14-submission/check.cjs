"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const nodemailer = require("nodemailer");
const scene = require("../lib/scene.cjs");

const domain = "nodemailer-smtp.sender.test";
const ca = fs.readFileSync(process.env.CA);

async function form(path, fields) {
  const authorization = "Basic " + Buffer.from("api:" + scene.key).toString("base64");
  const body = new URLSearchParams(fields);
  const answer = await fetch(scene.url + path, { method: "POST", headers: { authorization }, body });
  assert.equal(answer.status, 200, path);
}

function mailer(more) {
  const port = more.secure ? process.env.SUBMISSIONS_PORT : process.env.SUBMISSION_PORT;
  const auth = { user: `app@${domain}`, pass: "correct horse" };
  return nodemailer.createTransport({ host: "localhost", port, requireTLS: true, tls: { ca }, auth, ...more });
}

async function main() {
  await form("/v4/domains", { name: domain });
  await form(`/v3/domains/${domain}/credentials`, { login: "app", password: "correct horse" });
  for (const secure of [false, true]) {
    // A pool sends many messages on each of its connections.
    const transport = mailer({ secure, pool: true, maxConnections: 2 });
    const names = Array.from({ length: 10 }, (_, i) => `n${i}-${secure}@verified.test`);
    const sent = await Promise.all(
      names.map((to) =>
        transport.sendMail({
          from: { name: "Wäxwing", address: `app@${domain}` },
          to,
          subject: scene.subject,
          text: scene.text,
          attachments: [{ filename: "datei ü.bin", content: scene.attachment }],
          headers: { "X-Mailgun-Require-TLS": "yes" },
        }),
      ),
    );
    for (const { response } of sent) assert.match(response, /^250 2\.0\.0 Queued as <.+@.+>$/);
    for (const to of names) {
      assert.deepEqual(scene.how(await scene.outcome(domain, to)), ["delivered", true, true]);
    }
    const message = scene.kept(process.env.SINK_VERIFIED, names[0]);
    assert.ok(scene.holds(message, scene.attachment), "the attachment arrived as it was sent");
    assert.doesNotMatch(message, /^X-Mailgun-Require-TLS/im);
    transport.close();
  }
  const wrong = mailer({ auth: { user: `app@${domain}`, pass: "wrong horse" } });
  assert.equal((await scene.rejected(wrong.sendMail({ from: `app@${domain}`, to: "a@verified.test" }))).responseCode, 535);
  console.log("nodemailer: both ports, pooled connections, an attachment, a wrong password");
}

main().catch((error) => {
  console.error("FAILED:", error);
  process.exit(1);
});
