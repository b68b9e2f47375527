// What an operator does with the SDK beside sending: keys, credentials, DKIM, lists of recipients, numbers. The answers are
// looked at as the SDK hands them out, with its own types, so that a shape that it does not know is found.
"use strict";
const assert = require("node:assert/strict");
const FormData = require("form-data");
const Mailgun = require("mailgun.js");
const scene = require("../lib/scene.cjs");

const domain = "account.sender.test";
const open = (key) => new (Mailgun.default ?? Mailgun)(FormData).client({ username: "api", key, url: scene.url });
const client = open(scene.key);

console.warn = () => {}; // the SDK says with each call what of it is deprecated

async function main() {
  await client.domains.create({ name: domain });
  await records();
  await dkimKeys();
  await credentials();
  await keys();
  for (const list of ["bounces", "complaints", "unsubscribes", "whitelists"]) await suppressions(list);
  await copies();
  await logs();
  await numbers();
  await tags();
  await tagsOfAll();
  await signingKey();
  await tracking();
}

async function records() {
  const verified = await client.domains.verify(domain);
  assert.deepEqual([verified.name, verified.state, verified.type], [domain, "unverified", "custom"]);
  assert.ok(isDate(verified.created_at));
  assert.deepEqual(verified.receiving_dns_records, []);
  assert.deepEqual(verified.sending_dns_records.map(({ record_type, valid }) => [record_type, valid]), [
    ["TXT", "invalid"],
    ["TXT", "invalid"],
  ]);
  console.log("DNS records: looked for, not found, told");
}

async function dkimKeys() {
  const { domainKeys } = client.domains;
  const made = await domainKeys.create({ signingDomain: domain, selector: "second", bits: 2048 });
  assert.deepEqual([made.status, made.signing_domain, made.selector], [200, domain, "second"]);
  assert.match(made.dns_record.value, /^v=DKIM1; k=rsa; p=/);
  assert.deepEqual((await domainKeys.list(domain)).items.map(({ active }) => active), [true, false]);
  assert.equal((await domainKeys.listAll({ signingDomain: domain })).items.length, 2);
  assert.equal((await domainKeys.activate(domain, "second")).active, true);
  assert.equal((await domainKeys.deactivate(domain, "second")).active, false);
  await domainKeys.destroy(domain, "second");
  assert.equal((await domainKeys.updateDKIMSelector(domain, { dkimSelector: "third" })).message, "DKIM selector changed");
  const authority = await domainKeys.updateDKIMAuthority(domain, { self: "true" });
  assert.equal(authority.changed, false);
  assert.equal(authority.sending_dns_records[1].name, `third._domainkey.${domain}`);
  const [left] = (await domainKeys.list(domain)).items;
  assert.deepEqual([left.selector, left.active], ["third", true]);
  console.log("DKIM keys: made, listed, turned on and off, renamed, deleted");
}

async function credentials() {
  const { domainCredentials } = client.domains;
  const made = await domainCredentials.create(domain, { login: "alice", password: "a password" });
  assert.equal(made.message, "Created 1 credentials pair(s)");
  await domainCredentials.create(domain, { login: `bob@${domain}`, password: "a password" });
  const listed = await domainCredentials.list(domain, { limit: 10 });
  assert.deepEqual([listed.totalCount, ...listed.items.map(({ login }) => login)], [2, `alice@${domain}`, `bob@${domain}`]);
  assert.equal((await domainCredentials.update(domain, "alice", { password: "another one" })).message, "Password changed");
  assert.equal((await domainCredentials.destroy(domain, `alice@${domain}`)).spec, `alice@${domain}`);
  assert.equal((await domainCredentials.destroyAll(domain)).count, 1);
  assert.equal((await domainCredentials.list(domain)).totalCount, 0);
  console.log("credentials: made, listed, given another password, deleted");
}

async function keys() {
  const { key } = await client.apiKeys.create({
    role: "sending",
    kind: "domain",
    domain_name: domain,
    description: "shop",
    expiration: 3600,
  });
  assert.deepEqual([key.role, key.kind, key.domain_name, key.is_disabled], ["sending", "domain", domain, false]);
  const shop = open(key.secret);
  const mail = { from: `app@${domain}`, to: "key@verified.test", subject: "x", text: "x" };
  assert.equal((await shop.messages.create(domain, mail)).status, 200);
  assert.equal((await scene.rejected(shop.events.get(domain))).status, 403);
  assert.equal((await scene.rejected(shop.messages.create("js.sender.test", mail))).status, 404);
  const listed = await client.apiKeys.list({ domain_name: domain, kind: "domain" });
  assert.deepEqual([listed.totalCount, listed.items[0].id, isDate(listed.items[0].created_at)], [1, key.id, true]);
  assert.ok(!JSON.stringify(listed).includes(key.secret), "a key is shown once");
  assert.equal((await client.apiKeys.destroy(key.id)).message, "key deleted");
  assert.equal((await scene.rejected(shop.messages.create(domain, mail))).status, 401);
  console.log("API keys: a sending key that sends and does no more, listed, deleted");
}

async function suppressions(list) {
  const lists = client.suppressions;
  const one = list === "bounces" ? { code: "551", error: "moved" } : list === "unsubscribes" ? { tag: "news" } : {};
  await lists.create(domain, list, { address: "A@example.net", ...one });
  if (list === "whitelists") {
    await lists.create(domain, list, { domain: "example.org" }); // the SDK knows no several of these
    await lists.create(domain, list, { domain: "example.com" });
  } else {
    const tags = list === "unsubscribes" ? { tags: ["news", "offers"] } : {};
    await lists.create(domain, list, ["b@example.net", "c@example.net"].map((address) => ({ address, ...tags })));
  }

  const first = await lists.get(domain, list, "a@example.net");
  assert.ok(isDate(first.created_at ?? first.createdAt));
  if (list === "bounces") assert.deepEqual([first.code, first.error], [551, "moved"]);
  if (list === "unsubscribes") assert.deepEqual(first.tags, ["news"]);
  if (list === "whitelists") assert.equal(first.value, "a@example.net");

  const name = ({ address, value }) => address ?? value;
  const seen = [];
  let page = await lists.list(domain, list, { limit: 2 });
  for (let pages = 0; page.items.length > 0; page = await lists.list(domain, list, { page: page.pages.next.page })) {
    assert.ok(++pages < 5, "the pages do not end");
    seen.push(...page.items.map(name));
  }
  assert.equal(new Set(seen).size, 3, `${seen}`);
  const back = await lists.list(domain, list, { page: page.pages.previous.page });
  assert.equal(name(back.items.at(-1)), seen.at(-1));

  const rows = list === "whitelists" ? "address,domain\nd@example.net,\n,example.edu\n" : "address\nd@example.net\nnobody\n";
  const loaded = await lists.upload(domain, list, { filename: "list.csv", data: Buffer.from(rows) });
  assert.deepEqual([loaded.added, loaded.rejected], list === "whitelists" ? [2, 0] : [1, 1]);
  assert.equal(name(await lists.get(domain, list, "d@example.net")), "d@example.net");

  await lists.destroy(domain, list, "a@example.net");
  assert.equal((await scene.rejected(lists.get(domain, list, "a@example.net"))).status, 404);
  assert.equal((await lists.destroyAll(domain, list)).status, 200);
  assert.deepEqual((await lists.list(domain, list)).items, []);
  console.log(`${list}: one and several made, read, paged through to the end and back, loaded from CSV, deleted`);
}

async function copies() {
  const variables = { "copy-1@verified.test": { name: "Eins" }, "copy-2@verified.test": { name: "Zwei" } };
  await client.messages.create(domain, {
    from: `app@${domain}`,
    to: Object.keys(variables),
    subject: "Hallo %recipient.name%",
    text: "an %recipient_email%",
    "recipient-variables": JSON.stringify(variables),
    "o:tag": ["letter", "autumn"],
    "o:deliver-within": "1h",
    "o:deliverytime": new Date(Date.now() - 60_000).toUTCString(),
    "o:dkim": false,
  });
  for (const [recipient, { name }] of Object.entries(variables)) {
    assert.deepEqual(scene.how(await scene.outcome(domain, recipient)), ["delivered", true, true]);
    const message = scene.kept(process.env.SINK_VERIFIED, recipient);
    assert.match(message, new RegExp(`^Subject: Hallo ${name}\r$`, "m"));
    assert.ok(message.includes(`an ${recipient}`));
    assert.doesNotMatch(message, /^DKIM-Signature:/im);
  }
  await client.messages.create(domain, {
    from: `app@${domain}`,
    to: "everything@verified.test",
    cc: ["cc@verified.test"],
    bcc: "bcc@verified.test",
    subject: "everything",
    text: "text",
    html: '<img src="cid:logo.png">',
    "amp-html": "<!doctype html><html amp4email></html>",
    inline: [{ filename: "logo.png", data: scene.attachment }],
    attachment: { filename: "note.txt", data: "plain words" },
    "h:Reply-To": "answers@sender.test",
    "v:order": JSON.stringify({ id: 7 }),
    "o:testmode": true,
    "o:tracking": false,
    "o:tracking-clicks": false,
    "o:tracking-opens": false,
  });
  // The numbers below count on it that all of this has arrived.
  for (const name of ["key", "everything", "cc"]) await scene.outcome(domain, `${name}@verified.test`);
  const event = await scene.outcome(domain, "bcc@verified.test");
  assert.deepEqual([event.flags["is-test-mode"], event["delivery-status"].code], [true, 650]);
  assert.deepEqual(event.message.attachments.map(({ filename }) => filename).sort(), ["logo.png", "note.txt"]);
  assert.deepEqual(event["user-variables"], { order: '{"id":7}' });
  console.log("messages: copies of their own, every option that the SDK types");
}

const ofDomain = { AND: [{ attribute: "domain", comparator: "=", values: [{ label: domain, value: domain }] }] };
const hours = (hours) => new Date(Date.now() + hours * 3_600_000);

async function logs() {
  const asked = {
    start: hours(-1),
    end: hours(1),
    events: ["accepted"],
    filter: ofDomain,
    include_totals: true,
    include_subaccounts: true,
  };
  const seen = [];
  let token;
  for (let pages = 0; ; pages++) {
    assert.ok(pages < 10, "the pages do not end");
    const page = await client.logs.list({ ...asked, pagination: { sort: "timestamp:asc", limit: 2, token } });
    assert.ok(isDate(page.start) && isDate(page.end));
    assert.deepEqual([page.pagination.total, page.aggregates.metrics.accepted_count], [6, 6]);
    if (page.items.length === 0) break;
    seen.push(...page.items);
    token = page.pagination.next;
  }
  assert.equal(new Set(seen.map(({ id }) => id)).size, 6);
  assert.ok(seen.every((item) => isDate(item["@timestamp"]) && item.domain.name === domain && item.event === "accepted"));
  console.log("logs: filtered, counted, paged through to the end");
}

async function numbers() {
  const metrics = ["accepted_count", "delivered_count", "delivered_rate"];
  const told = await client.metrics.getAccount({
    start: hours(-24),
    end: hours(1),
    resolution: "month",
    dimensions: ["domain"],
    metrics,
    filter: ofDomain,
    include_aggregates: true,
    include_subaccounts: true,
  });
  assert.ok(isDate(told.start) && isDate(told.end));
  const expected = { accepted_count: 6, delivered_count: 6, delivered_rate: "1.0000" };
  assert.deepEqual(told.aggregates.metrics, expected);
  assert.deepEqual(told.items.at(-1).metrics, expected);
  assert.deepEqual(told.items.at(-1).dimensions[0].value, domain);

  const stats = await client.stats.getDomain(domain, { event: ["accepted", "delivered", "failed"], duration: "1d" });
  assert.ok(isDate(stats.start) && stats.stats.every(({ time }) => isDate(time)));
  assert.equal(sum(stats.stats, ({ accepted }) => accepted.total), 6);
  assert.equal(sum(stats.stats, ({ delivered }) => delivered.total), 6);
  assert.equal(sum(stats.stats, ({ failed }) => failed.permanent.total), 0);
  const all = await client.stats.getAccount({ event: ["accepted"], start: hours(-1), end: hours(0), resolution: "hour" });
  assert.equal(all.resolution, "hour");
  console.log("metrics and stats: counted by domain, and over time");
}

async function tags() {
  const { domainTags } = client.domains;
  const seen = [];
  let page = await domainTags.list(domain, { limit: 1 });
  for (let pages = 0; page.items.length > 0; page = await domainTags.list(domain, { page: page.pages.next.page })) {
    assert.ok(++pages < 5, "the pages do not end");
    seen.push(...page.items.map(({ tag }) => tag));
  }
  assert.deepEqual(seen, ["autumn", "letter"]);
  await domainTags.update(domain, "letter", "Every week");
  const letter = await domainTags.get(domain, "letter");
  assert.deepEqual([letter.tag, letter.description], ["letter", "Every week"]);
  assert.ok(isDate(letter["first-seen"]) && isDate(letter["last-seen"]));
  const { tag, stats } = await domainTags.statistic(domain, "letter", { event: ["delivered"], duration: "1d" });
  assert.deepEqual([tag, sum(stats, ({ delivered }) => delivered.total)], ["letter", 2]);
  assert.ok(stats.every(({ time }) => isDate(time)));
  assert.equal((await domainTags.destroy(domain, "autumn")).status, 200);
  assert.equal((await scene.rejected(domainTags.get(domain, "autumn"))).status, 404);
  console.log("tags of a domain: listed page by page, described, counted, forgotten");
}

async function tagsOfAll() {
  const found = await client.tags.list({
    tag: "let",
    pagination: { sort: "lastseen:desc", limit: 10, include_total: true },
    include_subaccounts: true,
    include_metrics: true,
  });
  assert.equal(found.pagination.total, 1);
  const [{ tag, description, metrics, first_seen }] = found.items;
  assert.deepEqual([tag, description, metrics.delivered_count, isDate(first_seen)], ["letter", "Every week", 2, true]);
  assert.equal((await client.tags.update("letter", "No more")).message, "Tag updated");
  assert.equal((await client.tags.limits()).limit_reached, false);
  assert.equal((await client.tags.destroy("letter")).message, "Tag deleted");
  assert.deepEqual((await client.tags.list({ tag: "let", pagination: { limit: 10 } })).items, []);
  console.log("tags of all domains: found with their metrics, described, forgotten");
}

async function signingKey() {
  const before = await client.accountManagement.getWebhookSigningKey();
  const after = await client.accountManagement.createWebhookSigningKey();
  assert.notEqual(after.http_signing_key, before.http_signing_key);
  assert.equal((await client.accountManagement.getWebhookSigningKey()).http_signing_key, after.http_signing_key);
  console.log("the webhook signing key: read, made anew");
}

async function tracking() {
  const { domainTracking } = client.domains;
  const opens = await domainTracking.updateTracking(domain, "open", { active: true });
  assert.match(opens.message, /tracking settings have been updated/);
  assert.equal(opens.open.active, true);
  assert.equal((await domainTracking.updateTracking(domain, "click", { active: "htmlonly" })).click.active, "htmlonly");
  const settings = await domainTracking.getTracking(domain);
  assert.deepEqual([settings.open.active, settings.click.active], [true, "htmlonly"]);

  const mail = { from: `app@${domain}`, subject: "x", html: '<p><a href="https://example.com/shop?a=1&amp;b=2">shop</a></p>' };
  await client.messages.create(domain, { ...mail, to: "tracked@verified.test", "o:tag": "watched" });
  await client.messages.create(domain, { ...mail, to: "untracked@verified.test", "o:tracking": false });
  for (const name of ["tracked", "untracked"]) await scene.outcome(domain, `${name}@verified.test`);
  const links = (recipient) => {
    const message = scene.kept(process.env.SINK_VERIFIED, recipient).replace(/=\r\n/g, "").replaceAll("=3D", "=");
    return [...message.matchAll(/(?:href|src)="([^"]+)"/g)].map(([, link]) => new URL(link));
  };
  assert.deepEqual(links("untracked@verified.test").map(({ host }) => host), ["example.com"]);
  const tracked = links("tracked@verified.test");
  assert.deepEqual(tracked.map(({ host }) => host), ["track.sender.test", "track.sender.test"]);
  const [click, open] = await Promise.all(
    tracked.map(({ pathname, search }) => fetch(scene.url + pathname + search, { redirect: "manual" })),
  );
  assert.deepEqual([click.status, click.headers.get("location")], [302, "https://example.com/shop?a=1&b=2"]);
  assert.match(open.headers.get("content-type"), /^image\//);
  for (const deadline = Date.now() + 30_000; ; await new Promise((go) => setTimeout(go, 100))) {
    const { items } = await client.events.get(domain, { event: "opened OR clicked", tags: "watched" });
    if (items.length === 2) {
      assert.equal(items.find(({ event }) => event === "clicked").url, "https://example.com/shop?a=1&b=2");
      assert.ok(items.every(({ recipient }) => recipient === "tracked@verified.test"));
      break;
    }
    assert.ok(Date.now() < deadline, "no events of what the recipient did within 30 s");
  }
  const stats = await client.stats.getDomain(domain, { event: ["opened", "clicked"], duration: "1d" });
  assert.deepEqual([sum(stats.stats, (at) => at.opened.total), sum(stats.stats, (at) => at.clicked.total)], [1, 1]);
  console.log("tracking: set for the domain, taken back for a message; opens and clicks told and counted");
}

const sum = (parts, of) => parts.map(of).reduce((one, other) => one + other, 0);
const isDate = (value) => value instanceof Date && !Number.isNaN(value.getTime());

main().catch((error) => {
  console.error("FAILED:", error);
  process.exit(1);
});
