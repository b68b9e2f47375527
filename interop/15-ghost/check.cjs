"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const { setTimeout: sleep } = require("node:timers/promises");
const FormData = require("form-data");
const Mailgun = require("mailgun.js");
const scene = require("../lib/scene.cjs");

const domain = "news.sender.test";
const client = new (Mailgun.default ?? Mailgun)(FormData).client({ username: "api", key: scene.key, url: scene.url });
const fiveTypes = "delivered OR opened OR failed OR unsubscribed OR complained";

console.warn = () => {}; // the SDK says with each call that events are deprecated in favour of logs

// Names as members have them, and as they should not have them.
const names = ["Ann", "Zoë Ångström", "山田太郎", 'O\'Neil "Bo" <b@x.test>', "a,b;c: d\\", "100% %recipient.name%", "x\r\nBcc: y@x.test", ""];

function members(from, count) {
  return Array.from({ length: count }, (_, i) => {
    const n = from + i;
    const refused = n % 100 === 99 ? "reject-" : "";
    return { email: `${refused}member${n}@verified.test`, name: names[n % names.length], uuid: `uuid-${n}` };
  });
}

async function main() {
  await client.domains.create({ name: domain });
  const begin = Date.now() / 1000 - 1;
  const all = [members(0, 1000), members(1000, 300)];
  const ids = new Map();
  await others();
  for (const batch of all) {
    const started = Date.now();
    const sent = await send(batch);
    console.log(`${batch.length} members accepted in ${Date.now() - started} ms`);
    batch.forEach(({ email }) => ids.set(email, sent.id.slice(1, -1)));
  }
  await poll(begin, ids);
  await readers();
  fs.writeFileSync(process.env.GHOST_MEMBERS, JSON.stringify(all.flat().map((one) => ({ ...one, id: ids.get(one.email) }))));
}

// Mail that is not the newsletter's: no tag, another tag, and the newsletter's in another domain. Polling must not see it.
async function others() {
  await client.domains.create({ name: "other.sender.test" });
  for (const [from, tag] of [[domain, undefined], [domain, "bulk-email-2"], [domain, "ghost-email"], ["other.sender.test", "bulk-email"]]) {
    const message = { to: `other-${tag}@plain.test`, from: `a@${from}`, subject: "x", text: "x" };
    await client.messages.create(from, tag ? { ...message, "o:tag": tag } : message);
  }
}

async function send(batch) {
  const variables = Object.fromEntries(
    batch.map(({ email, name, uuid }) => [
      email,
      { name, unique_id: uuid, list_unsubscribe: `<https://blog.test/unsubscribe/?uuid=${uuid}&key=${uuid}>` },
    ])
  );
  const sent = await client.messages.create(domain, {
    to: Object.keys(variables),
    from: `"The Blög" <noreply@${domain}>`,
    subject: "Dear %recipient.name%, grüße",
    html: `<p>Dear %recipient.name%</p>${"<p>The same for everybody, ünd long. </p>".repeat(200)}<a href="https://blog.test/?uuid=%recipient.unique_id%">out</a>`,
    text: "Dear %recipient.name%,\n--\nhttps://blog.test/?uuid=%recipient.unique_id%\n",
    "recipient-variables": JSON.stringify(variables),
    "h:Reply-To": `replies@${domain}`,
    "h:Sender": `"The Blög" <noreply@${domain}>`,
    "h:Auto-Submitted": "auto-generated",
    "h:X-Auto-Response-Suppress": "OOF, AutoReply",
    "h:List-Unsubscribe": "%recipient.list_unsubscribe%, <%tag_unsubscribe_email%>",
    "h:List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    "o:tag": ["bulk-email", "ghost-email"],
    "o:tracking-opens": true,
    "v:email-id": "64b0c2",
    "v:member": "%recipient.unique_id%",
  });
  assert.equal(sent.status, 200);
  assert.match(sent.message, /^Queued/);
  return sent;
}

// Members who open their copy become events that the next poll finds, and no others.
async function readers() {
  const begin = Date.now() / 1000;
  const opened = ["member3@verified.test", "member1001@verified.test"];
  for (const member of opened) {
    const copy = scene.kept(process.env.SINK_VERIFIED, member).replace(/=\r\n/g, "");
    const [, pixel] = copy.match(/http:\/\/track\.sender\.test(\/t\/o\/[\w.~-]+)/);
    const answer = await fetch(scene.url + pixel, { headers: { "user-agent": "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 Safari/605" } });
    assert.equal(answer.status, 200);
  }
  const deadline = Date.now() + 30_000;
  let found = [];
  while (found.length < opened.length) {
    assert.ok(Date.now() < deadline, `only ${found.length} of ${opened.length} opened`);
    const page = await client.events.get(domain, { event: fiveTypes, tags: "bulk-email", begin, ascending: "yes", limit: 300 });
    found = page.items;
    await sleep(100);
  }
  assert.deepEqual(found.map(({ event, recipient }) => `${event} ${recipient}`).sort(), opened.map((one) => `opened ${one}`).sort());
  console.log(`opened: ${found.length}`);
}

// Page after page; behind the last one the same page is asked for again, as long as something is still to come.
async function poll(begin, ids) {
  const seen = new Map();
  const outcomes = new Map();
  const deadline = Date.now() + 240_000;
  let page = await client.events.get(domain, { event: fiveTypes, tags: "bulk-email", begin, ascending: "yes", limit: 300 });
  let pages = 0;
  for (;;) {
    for (const event of page.items) {
      assert.ok(!seen.has(event.id), `the event ${event.id} was seen twice`);
      seen.set(event.id, event);
      const { recipient } = event;
      assert.ok(!outcomes.has(recipient), `two outcomes of ${recipient}`);
      outcomes.set(recipient, event);
      assert.equal(event.message.headers["message-id"], ids.get(recipient));
      assert.deepEqual(event.tags, ["bulk-email", "ghost-email"]);
      assert.deepEqual(event["user-variables"], { "email-id": "64b0c2", member: `uuid-${recipient.match(/\d+/)[0]}` });
      assert.deepEqual([event.event, event.severity], recipient.startsWith("reject") ? ["failed", "permanent"] : ["delivered", undefined]);
    }
    if (page.items.length === 0 && outcomes.size === ids.size) break;
    assert.ok(Date.now() < deadline, `only ${outcomes.size} of ${ids.size} outcomes`);
    if (page.items.length === 0) await sleep(200);
    else pages++;
    page = await client.events.get(domain, { page: page.pages.next.page });
  }
  assert.equal(page.items.length, 0);

  // From the beginning once more, now that all is there: the same events, in full pages.
  const again = [];
  page = await client.events.get(domain, { event: fiveTypes, tags: "bulk-email", begin, ascending: "yes", limit: 300 });
  while (page.items.length > 0) {
    again.push(...page.items.map(({ id }) => id));
    page = await client.events.get(domain, { page: page.pages.next.page });
  }
  assert.deepEqual(again, [...seen.keys()]);
  const failed = [...outcomes.values()].filter(({ event }) => event === "failed").length;
  console.log(`events: ${seen.size} in ${pages} pages while they came, each once; ${failed} failed`);
}

main().catch((error) => {
  console.error("FAILED:", error);
  process.exit(1);
});
