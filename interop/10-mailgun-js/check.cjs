"use strict";
const assert = require("node:assert/strict");
const { createHmac } = require("node:crypto");
const http = require("node:http");
const FormData = require("form-data");
const Mailgun = require("mailgun.js");
const scene = require("../lib/scene.cjs");

const domain = "js.sender.test";
const client = new (Mailgun.default ?? Mailgun)(FormData).client({ username: "api", key: scene.key, url: scene.url });

console.warn = () => {}; // the SDK says with each call that events are deprecated in favour of logs

async function main() {
  await domains();
  await connection();
  await sending();
  await options();
  await stored();
  await suppressions();
  await templates();
  await paging();
  await mistakes();
  await webhooks();
}

async function domains() {
  const made = await client.domains.create({ name: domain });
  assert.equal(made.name, domain);
  assert.equal(made.require_tls, false);
  assert.equal((await client.domains.create({ name: "second.test", require_tls: "true" })).require_tls, true);

  const all = await client.domains.list();
  assert.deepEqual(all.map(({ name }) => name).sort(), [domain, "second.test"]);
  assert.deepEqual((await client.domains.list({ limit: 1, skip: 1 })).length, 1);

  await client.domains.update("second.test", { require_tls: "false", skip_verification: "true" });
  const second = await client.domains.get("second.test");
  assert.equal(second.name, "second.test");
  assert.deepEqual([second.require_tls, second.skip_verification], [false, true]);

  await client.domains.destroy("second.test");
  assert.equal((await scene.rejected(client.domains.get("second.test"))).status, 404);
  console.log("domains: made, listed, read, changed, deleted");
}

async function connection() {
  assert.deepEqual(settings(await client.domains.getConnection(domain)), [false, false]);
  const changed = await client.domains.updateConnection(domain, { require_tls: true, skip_verification: false });
  assert.match(changed.message, /connection settings have been updated/);
  assert.deepEqual(settings(changed), [true, false]);
  await client.domains.updateConnection(domain, { skip_verification: true }); // the other one stays
  assert.deepEqual(settings(await client.domains.getConnection(domain)), [true, true]);
  assert.deepEqual(settings(await client.domains.get(domain)), [true, true]);
  console.log("connection settings: read, changed, changed in part");
}

const settings = (from) => [from.require_tls, from.skip_verification];

async function sending() {
  await client.domains.updateConnection(domain, { require_tls: true, skip_verification: false });
  const sent = await client.messages.create(domain, {
    from: `Wäxwing <app@${domain}>`,
    to: ["one@verified.test", "Zwei <two@verified.test>"],
    cc: "three@verified.test",
    subject: scene.subject,
    text: scene.text,
    html: "<p>Zażółć</p>",
    attachment: [{ filename: "vedhæftet fil.bin", data: scene.attachment }],
    "o:require-tls": true,
    "o:skip-verification": false,
    "o:tag": ["first", "second"],
    "v:order": "4711",
    "h:X-Shop": "Café",
  });
  assert.equal(sent.status, 200);
  assert.match(sent.id, /^<.+@.+>$/);
  for (const name of ["one", "two", "three"]) {
    const event = await scene.outcome(domain, `${name}@verified.test`);
    assert.deepEqual(scene.how(event), ["delivered", true, true]);
    assert.equal(event.message.headers["message-id"], sent.id.slice(1, -1));
    assert.deepEqual(event.tags, ["first", "second"]);
    assert.equal(event["user-variables"].order, "4711");
  }
  const message = scene.kept(process.env.SINK_VERIFIED, "one@verified.test");
  assert.ok(scene.holds(message, scene.attachment), "the attachment arrived as it was sent");
  assert.match(message, /filename\*?(0\*)?=/);
  console.log("sending: three recipients, attachment, tags, variables; delivered over verified TLS");
}

async function options() {
  const send = (to, more) =>
    client.messages.create(domain, { from: `app@${domain}`, to, subject: "TLS", text: "options", ...more });

  await send("by-domain@plain.test", {}); // the domain demands TLS, the receiver has none
  await send("by-message@plain.test", { "o:require-tls": false }); // the message is stronger
  await send("skipped@verified.test", { "o:require-tls": true, "o:skip-verification": true });
  assert.deepEqual(scene.how(await scene.outcome(domain, "by-domain@plain.test")).slice(0, 2), ["failed", "temporary"]);
  assert.deepEqual(scene.how(await scene.outcome(domain, "by-message@plain.test")), ["delivered", false, false]);
  assert.deepEqual(scene.how(await scene.outcome(domain, "skipped@verified.test")), ["delivered", true, false]);
  const message = "From: app@js.sender.test\r\nTo: mime@verified.test\r\nSubject: MIME\r\n\r\nready made\r\n";
  await client.messages.create(domain, { to: "mime@verified.test", message });
  assert.deepEqual(scene.how(await scene.outcome(domain, "mime@verified.test")), ["delivered", true, true]);
  console.log("TLS options: message over domain in both directions; ready-made MIME");
}

async function stored() {
  const { storage } = await scene.outcome(domain, "one@verified.test");
  const message = await client.messages.retrieveStoredEmail(domain, storage.key);
  assert.equal(message.Subject, scene.subject);
  assert.equal(message["body-html"], "<p>Zażółć</p>");
  assert.deepEqual(message.attachments.map(({ size }) => size), [scene.attachment.length]);
  const again = await client.messages.resendEmail(domain, storage.key, "again@verified.test");
  assert.match(again.id, /^<.+@.+>$/);
  assert.deepEqual(scene.how(await scene.outcome(domain, "again@verified.test")), ["delivered", true, true]);
  assert.ok(scene.holds(scene.kept(process.env.SINK_VERIFIED, "again@verified.test"), scene.attachment));
  console.log("stored messages: read, and sent once more with all that was in it");
}

async function suppressions() {
  const lists = client.suppressions;
  await lists.create(domain, "bounces", { address: "gone@verified.test", code: "550", error: "no such user" });
  assert.deepEqual((await lists.list(domain, "bounces")).items.map(({ address }) => address), ["gone@verified.test"]);
  assert.equal((await lists.get(domain, "bounces", "gone@verified.test")).error, "no such user");
  await lists.destroy(domain, "bounces", "gone@verified.test");
  assert.equal((await scene.rejected(lists.get(domain, "bounces", "gone@verified.test"))).status, 404);
  const queues = await client.messages.getMessagesQueueStatus(domain);
  assert.deepEqual([queues.regular.is_disabled, queues.scheduled.is_disabled], [false, false]);
  console.log("suppressions: a bounce made, listed, read, deleted");
}

async function templates() {
  const made = await client.domains.domainTemplates.create(domain, {
    name: "Welcome",
    description: "for new ones",
    template: "<p>Hi {{name}}{{#each items}}, {{this}}{{/each}}</p>",
    headers: JSON.stringify({ Subject: "Hi {{name}}" }),
  });
  assert.deepEqual([made.name, made.version.tag], ["welcome", "initial"]);
  assert.ok(made.createdAt instanceof Date && !Number.isNaN(made.createdAt.getTime()));
  const second = await client.domains.domainTemplates.createVersion(domain, "welcome", {
    tag: "second",
    template: "<p>Dear {{name}}</p>",
    active: "yes",
  });
  assert.equal(second.template.version.tag, "second");
  const active = await client.domains.domainTemplates.get(domain, "welcome", { active: "yes" });
  assert.equal(active.version.template, "<p>Dear {{name}}</p>");
  await client.domains.domainTemplates.updateVersion(domain, "welcome", "initial", { comment: "again", active: "yes" });
  const { template } = await client.domains.domainTemplates.listVersions(domain, "welcome");
  assert.deepEqual(template.versions.map(({ tag, active }) => [tag, active]), [["initial", true], ["second", false]]);
  const page = await client.domains.domainTemplates.list(domain, { limit: 1 });
  assert.deepEqual(page.items.map(({ name }) => name), ["welcome"]);
  assert.deepEqual((await client.domains.domainTemplates.list(domain, { page: page.pages.next.page })).items, []);

  await client.messages.create(domain, {
    from: `app@${domain}`,
    to: "template@verified.test",
    template: "welcome",
    "t:text": "yes",
    "t:variables": JSON.stringify({ name: "Ann & Bob", items: ["one", 2] }),
  });
  const event = await scene.outcome(domain, "template@verified.test");
  assert.deepEqual(event.template, { name: "welcome", version: "initial", "is-text": true });
  assert.equal(event.message.headers.subject, "Hi Ann & Bob");
  assert.match(scene.kept(process.env.SINK_VERIFIED, "template@verified.test"), /<p>Hi Ann &amp; Bob, one, 2<\/p>/);

  assert.equal((await client.domains.domainTemplates.destroyVersion(domain, "welcome", "second")).message, "version has been deleted");
  assert.equal((await client.domains.domainTemplates.destroy(domain, "welcome")).message, "template has been deleted");
  assert.equal((await scene.rejected(client.domains.domainTemplates.get(domain, "welcome"))).status, 404);
  await client.domains.domainTemplates.destroyAll(domain);
  console.log("templates: made, versions, listed, sent, deleted");
}

async function paging() {
  const whole = await client.events.get(domain, { ascending: "yes", limit: 300 });
  assert.ok(whole.items.length >= 14, `only ${whole.items.length} events`);
  const seen = [];
  let page = await client.events.get(domain, { ascending: "yes", limit: 3 });
  let pages = 0;
  while (page.items.length > 0) {
    assert.ok(page.items.length <= 3);
    seen.push(...page.items.map(({ id }) => id));
    assert.ok(++pages < 100, "the pages do not end");
    page = await client.events.get(domain, { page: page.pages.next.page });
  }
  assert.deepEqual(seen, whole.items.map(({ id }) => id));
  const back = await client.events.get(domain, { page: page.pages.previous.page });
  assert.deepEqual(back.items.map(({ id }) => id), seen.slice(-back.items.length));
  const failed = await client.events.get(domain, { event: "failed", severity: "temporary" });
  assert.deepEqual(failed.items.map(({ recipient }) => recipient), ["by-domain@plain.test"]);
  console.log(`events: ${seen.length} in ${pages} pages to the end, and back`);
}

async function mistakes() {
  const mail = { from: `app@${domain}`, to: "one@verified.test", subject: "x", text: "x" };
  const stranger = new (Mailgun.default ?? Mailgun)(FormData).client({ username: "api", key: "wrong", url: scene.url });
  assert.equal((await scene.rejected(stranger.messages.create(domain, mail))).status, 401);
  assert.equal((await scene.rejected(stranger.domains.list())).status, 401);

  const unknown = await scene.rejected(client.messages.create("nobody.test", mail));
  assert.equal(unknown.status, 404);
  assert.match(unknown.details, /Domain not found: nobody\.test/);

  const { to: _, ...addressless } = mail;
  const missing = await scene.rejected(client.messages.create(domain, addressless));
  assert.equal(missing.status, 400);
  assert.match(missing.details, /to parameter is missing/);
  const nonsense = await scene.rejected(client.messages.create(domain, { ...mail, "o:require-tls": "perhaps" }));
  assert.equal(nonsense.status, 400);
  assert.match(nonsense.details, /o:require-tls/);
  console.log("mistakes: wrong key, unknown domain, no recipient, an option that is neither yes nor no");
}

async function webhooks() {
  const told = [];
  const receiver = http.createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    told.push(JSON.parse(body));
    response.end();
  });
  await new Promise((ready) => receiver.listen(0, "127.0.0.1", ready));
  const url = `http://127.0.0.1:${receiver.address().port}/hook`;
  const other = "https://example.com/hook";

  const made = await client.webhooks.create(domain, "delivered", url);
  assert.deepEqual([made.id, made.url, made.urls], ["delivered", url, [url]]);
  assert.equal((await scene.rejected(client.webhooks.create(domain, "delivered", url))).status, 400);
  assert.equal((await scene.rejected(client.webhooks.create(domain, "bounced", url))).status, 400);
  assert.deepEqual((await client.webhooks.create(domain, "opened", other)).urls, [other]);
  assert.deepEqual((await client.webhooks.update(domain, "opened", [other, url])).urls.sort(), [url, other].sort());
  assert.deepEqual((await client.webhooks.get(domain, "delivered")).urls, [url]);
  assert.deepEqual(Object.keys(await client.webhooks.list(domain, {})), ["delivered", "opened"]);
  assert.deepEqual((await client.webhooks.create(domain, "clicked", url, true)).code, 200);
  assert.equal(told[0]["event-data"].event, "clicked");

  await client.messages.create(domain, { from: `app@${domain}`, to: "hook@verified.test", subject: "x", text: "x" });
  const event = await scene.outcome(domain, "hook@verified.test");
  for (const deadline = Date.now() + 30_000; told.length < 2; await new Promise((go) => setTimeout(go, 100)))
    assert.ok(Date.now() < deadline, "the webhook was not told within 30 s");
  const { signature, "event-data": data } = told[1];
  assert.deepEqual(data, event);
  const { http_signing_key: key } = await scene.api("GET", "/v5/accounts/http_signing_key");
  const expected = createHmac("sha256", key).update(signature.timestamp + signature.token).digest("hex");
  assert.equal(signature.signature, expected);

  await client.webhooks.destroy(domain, "delivered");
  assert.equal((await scene.rejected(client.webhooks.get(domain, "delivered"))).status, 404);
  receiver.close();
  receiver.closeAllConnections();
  console.log("webhooks: made, listed, read, changed, tested, deleted; told of a delivery as the events API has it, signed");
}

main().catch((error) => {
  console.error("FAILED:", error);
  process.exit(1);
});
