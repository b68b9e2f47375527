"use strict";
const assert = require("node:assert/strict");
const mailgunJs = require("mailgun-js");
const strapi = require("@strapi/provider-email-mailgun");
const scene = require("../lib/scene.cjs");

const domain = "applications.sender.test";
const { hostname: host, port } = new URL(scene.url);
const client = mailgunJs({ apiKey: scene.key, domain, host, port, protocol: "http:", endpoint: "/v3" });

async function main() {
  await domains();
  await credentials();
  await sending();
  await events();
  for (const list of ["bounces", "unsubscribes", "complaints"]) await suppressions(list);
  await tags();
  await mistakes();
  await throughStrapi();
}

async function domains() {
  const made = await client.domains().create({ name: domain });
  assert.equal(made.domain.name, domain);
  assert.deepEqual((await client.domains().list()).items.map(({ name }) => name), [domain]);
  assert.equal((await client.domains(domain).info()).sending_dns_records.length, 2);
  assert.equal((await client.domains(domain).verify().verify()).domain.state, "unverified");
  console.log("domains: made, listed, read, looked for in the DNS");
}

async function credentials() {
  await client.domains(domain).credentials().create({ login: "alice", password: "a password" });
  await client.domains(domain).credentials("alice").update({ password: "another one" });
  const { items } = await client.domains(domain).credentials().list();
  assert.deepEqual(items.map(({ login }) => login), [`alice@${domain}`]);
  await client.domains(domain).credentials("alice").delete();
  console.log("credentials: made, changed, listed, deleted");
}

async function sending() {
  const attachment = new client.Attachment({ data: scene.attachment, filename: "datei ü.bin" });
  const sent = await client.messages().send({
    from: `Wäxwing <app@${domain}>`,
    to: ["one@verified.test", "two@verified.test"],
    subject: "%recipient.n%: " + scene.subject,
    text: scene.text,
    html: "<p>Zażółć</p>",
    attachment,
    "recipient-variables": { "one@verified.test": { n: 1 }, "two@verified.test": { n: 2 } },
    "o:tag": ["bulk-email", "letter"],
    "o:require-tls": true,
    "v:order": { id: 4711 },
  });
  assert.equal(sent.message, "Queued. Thank you.");
  for (const [recipient, n] of [["one@verified.test", 1], ["two@verified.test", 2]]) {
    const event = await scene.outcome(domain, recipient);
    assert.deepEqual(scene.how(event), ["delivered", true, true]);
    assert.deepEqual(event.message.headers.subject, `${n}: ${scene.subject}`);
    assert.deepEqual(event["user-variables"], { order: '{"id":4711}' });
    assert.ok(scene.holds(scene.kept(process.env.SINK_VERIFIED, recipient), scene.attachment));
  }
  const message = `From: app@${domain}\r\nTo: mime@verified.test\r\nSubject: MIME\r\n\r\nready made\r\n`;
  await client.messages().sendMime({ to: "mime@verified.test", message });
  assert.deepEqual(scene.how(await scene.outcome(domain, "mime@verified.test")), ["delivered", true, true]);
  console.log("sending: copies of their own, an attachment, options, ready-made MIME; delivered over verified TLS");
}

async function events() {
  const begin = new Date(Date.now() - 3_600_000).toUTCString();
  let page = await client.events().get({ event: "delivered", tags: "bulk-email AND letter", begin, ascending: "yes", limit: 1 });
  const [{ storage }] = page.items;
  const seen = [];
  for (; page.items.length > 0; page = await client.get(new URL(page.paging.next).pathname.replace(/^\/v3/, ""))) {
    seen.push(...page.items.map(({ recipient }) => recipient));
    assert.ok(seen.length < 10, "the pages do not end");
  }
  assert.deepEqual(seen.sort(), ["one@verified.test", "two@verified.test"]);
  const stored = await client.messages(storage.key).info();
  assert.equal(stored.attachments.length, 1);
  console.log("events: filtered, paged through to the end; the message that one tells of is read");
}

async function suppressions(list) {
  const address = "gone@verified.test";
  await client[list]().create({ address });
  assert.deepEqual((await client[list]().list()).items.map((entry) => entry.address), [address]);
  assert.equal((await client[list](address).info()).address, address);
  await client[list](address).delete();
  assert.equal((await scene.rejected(client[list](address).info())).statusCode, 404);
  console.log(`${list}: made, listed, read, deleted`);
}

async function tags() {
  assert.deepEqual((await client.tags().list()).items.map(({ tag }) => tag), ["bulk-email", "letter"]);
  assert.equal((await client.tags("letter").info()).tag, "letter");
  const { stats } = await client.get(`/${domain}/tags/letter/stats`, { event: ["accepted", "delivered"], duration: "1d" });
  assert.equal(stats.reduce((sum, { delivered }) => sum + delivered.total, 0), 2);
  await client.tags("letter").delete();
  assert.equal((await scene.rejected(client.tags("letter").info())).statusCode, 404);
  console.log("tags: listed, read, counted, deleted");
}

async function mistakes() {
  const mail = { from: `app@${domain}`, to: "one@verified.test", subject: "x", text: "x" };
  const stranger = mailgunJs({ apiKey: "wrong", domain, host, port, protocol: "http:", endpoint: "/v3" });
  assert.equal((await scene.rejected(stranger.messages().send(mail))).statusCode, 401);
  const nonsense = await scene.rejected(client.messages().send({ ...mail, "o:require-tls": "perhaps" }));
  assert.equal(nonsense.statusCode, 400);
  assert.match(nonsense.message, /o:require-tls/);
  console.log("mistakes: wrong key, an option that is neither yes nor no");
}

async function throughStrapi() {
  const settings = { defaultFrom: `Strapi <cms@${domain}>`, defaultReplyTo: "answers@sender.test" };
  const provider = strapi.init({ key: scene.key, domain, url: scene.url }, settings);
  await provider.send({
    to: "strapi@verified.test",
    bcc: "hidden@verified.test",
    subject: scene.subject,
    text: scene.text,
    html: "<p>Zażółć</p>",
    attachment: [{ filename: "datei.bin", data: scene.attachment }],
    "o:require-tls": "yes",
  });
  for (const recipient of ["strapi@verified.test", "hidden@verified.test"]) {
    assert.deepEqual(scene.how(await scene.outcome(domain, recipient)), ["delivered", true, true]);
  }
  const message = scene.kept(process.env.SINK_VERIFIED, "strapi@verified.test");
  assert.match(message, /^From: .*<cms@applications\.sender\.test>/im);
  assert.match(message, /^Reply-To: .*answers@sender\.test/im);
  assert.ok(scene.holds(message, scene.attachment));
  await provider.send({ to: "plain@plain.test", subject: "x", text: "x", "o:require-tls": "yes" });
  assert.deepEqual(scene.how(await scene.outcome(domain, "plain@plain.test")).slice(0, 2), ["failed", "temporary"]);
  console.log("Strapi: its provider's own defaults, a hidden recipient, an attachment; TLS demanded and missing");
}

main().catch((error) => {
  console.error("FAILED:", error);
  process.exit(1);
});
