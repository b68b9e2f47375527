"use strict";
const assert = require("node:assert/strict");
const FormData = require("form-data");
const Mailgun = require("mailgun.js");
const mailgunTransport = require("nodemailer-mailgun-transport");
const nodemailer = require("nodemailer");
const scene = require("../lib/scene.cjs");

const domain = "nodemailer.sender.test";

function mailer(options = {}) {
  const { auth, ...more } = options;
  return nodemailer.createTransport(
    mailgunTransport({ auth: { api_key: scene.key, domain, ...auth }, url: scene.url, ...more }),
  );
}

async function main() {
  const client = new (Mailgun.default ?? Mailgun)(FormData).client({ username: "api", key: scene.key, url: scene.url });
  await client.domains.create({ name: domain });
  await sending();
  await options();
  await mistakes();
}

async function sending() {
  const sent = await mailer().sendMail({
    from: { name: "Wäxwing", address: `app@${domain}` },
    to: ["one@verified.test", { name: "Zwei", address: "two@verified.test" }],
    bcc: "hidden@verified.test",
    replyTo: "answers@sender.test",
    subject: scene.subject,
    text: scene.text,
    html: '<p>Zażółć <img src="cid:logo.png"></p>',
    attachments: [
      { filename: "datei ü.bin", content: scene.attachment },
      { cid: "logo.png", content: Buffer.from("not really a picture"), contentType: "image/png" },
    ],
  });
  assert.match(sent.messageId, /^<.+@.+>$/);
  for (const name of ["one", "two", "hidden"]) {
    assert.deepEqual(scene.how(await scene.outcome(domain, `${name}@verified.test`)), ["delivered", true, true]);
  }
  const message = scene.kept(process.env.SINK_VERIFIED, "one@verified.test");
  assert.ok(scene.holds(message, scene.attachment), "the attachment arrived as it was sent");
  assert.match(message, /^Reply-To: .*answers@sender\.test/im);
  assert.match(message, /^Content-ID: <logo\.png>/im);
  assert.doesNotMatch(message.slice(message.indexOf("X-Sink-Tls")), /hidden@verified\.test/);
  console.log("sending: joined recipients, a hidden one, an attachment, an inline image; delivered over verified TLS");
}

async function options() {
  const send = (to, more) => mailer().sendMail({ from: `app@${domain}`, to, subject: "TLS", text: "options", ...more });
  await send("demanded@plain.test", { "o:require-tls": "yes" });
  await send("open@plain.test", { "o:require-tls": "no" });
  await send("skipped@verified.test", { "o:require-tls": "yes", "o:skip-verification": "yes" });
  const left = await scene.outcome(domain, "demanded@plain.test");
  assert.deepEqual(scene.how(left).slice(0, 2), ["failed", "temporary"]);
  assert.equal(left["delivery-status"]["enhanced-code"], "4.7.4");
  assert.deepEqual(scene.how(await scene.outcome(domain, "open@plain.test")), ["delivered", false, false]);
  assert.deepEqual(scene.how(await scene.outcome(domain, "skipped@verified.test")), ["delivered", true, false]);
  console.log("TLS options: demanded and missing, open, without verification");
}

async function mistakes() {
  const mail = { from: `app@${domain}`, to: "one@verified.test", subject: "x", text: "x" };
  assert.equal((await scene.rejected(mailer({ auth: { api_key: "wrong" } }).sendMail(mail))).status, 401);
  const unknown = await scene.rejected(mailer({ auth: { domain: "nobody.test" } }).sendMail(mail));
  assert.equal(unknown.status, 404);
  assert.match(unknown.details, /Domain not found/);
  const missing = await scene.rejected(mailer().sendMail({ ...mail, to: undefined }));
  assert.equal(missing.status, 400);
  assert.match(missing.details, /to parameter is missing/);
  console.log("mistakes: wrong key, unknown domain, no recipient");
}

main().catch((error) => {
  console.error("FAILED:", error);
  process.exit(1);
});
