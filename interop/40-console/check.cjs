// The control panel in a real browser. Each part of the story is a test; they share one server and one browser.
"use strict";

const assert = require("node:assert/strict");
const { after, before, test } = require("node:test");
const axe = require("axe-core");
const { PASSWORD, messagePath, openPage, setUp, signIn, startBrowser, startServer } = require("./lib.cjs");
const allPages = require("./pages.cjs");

let server, browser, page;
const opened = [];

async function open(options) {
  const one = await openPage(browser, server, options);
  opened.push(one);
  return one;
}

// A second user, of one domain, who is signed in.
async function userOf(domain, name) {
  await page.go("/users");
  await page.fill("#name", name);
  await page.selectOption("#domain", domain);
  await page.fill("#password", PASSWORD);
  await page.fill("#again", PASSWORD);
  await page.click("text=Add the user");
  await page.waitForSelector("[role=status]");
  const own = await open();
  await signIn(own, server, name);
  await own.waitForURL(`${server.url}/`);
  return own;
}

const text = (one = page) => one.innerText("main");

before(async () => {
  [server, browser] = await Promise.all([startServer(), startBrowser()]);
  page = await open();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

test("the link of the first start makes one user, once", async () => {
  await page.go("/");
  assert.match(page.url(), /\/sign-in/);
  assert.match(await page.innerText("main"), /Open the link that the server printed/);
  await page.go(`${server.url}/setup?token=guessed`);
  assert.match(await page.innerText("main"), /not the one that the server printed/);

  await setUp(page, server);
  assert.equal(await page.innerText("h1"), "Overview");
  const other = await open();
  await other.go(server.setup);
  assert.match(other.url(), /\/sign-in/, "the link opens nothing any more");
});

test("who signs in is led where he wanted to go, and a wrong password leads nowhere", async () => {
  const other = await open();
  await other.go("/logs?event=failed");
  await other.fill("#name", "ANN");
  await other.fill("#password", "not the password");
  await other.keyboard.press("Enter");
  await other.waitForSelector("[role=alert]");
  assert.match(await other.innerText("[role=alert]"), /name or the password is wrong/);
  // By keyboard alone.
  await other.focus("#name");
  await other.keyboard.press("Control+A");
  await other.keyboard.type("ann");
  await other.keyboard.press("Tab");
  await other.keyboard.type(PASSWORD);
  await other.keyboard.press("Enter");
  await other.waitForURL(/\/logs\?event=failed/);
  await other.click("text=Sign out");
  await other.waitForURL(/\/sign-in/);
  await other.go("/logs");
  assert.match(other.url(), /\/sign-in\?next=/);
});

test("the list of events is filtered by what the API filters by, and says what is wrong with a filter", async () => {
  await page.go("/logs");
  await page.selectOption("#f-tls", "no");
  await page.selectOption("#f-event", "delivered");
  await page.click("form[role=search] button[type=submit]");
  const rows = await page.locator("#events tbody tr").allInnerTexts();
  assert.ok(rows.length > 0 && rows.every((row) => /plaintext/.test(row)), rows.join("\n"));

  for (const [view, word] of [["Encrypted, not verified", "encrypted"], ["Deferred", "deferred"], ["Failed for good", "failed"]]) {
    await page.click(`.tabs >> text="${view}"`);
    const shown = await page.locator("#events tbody tr").allInnerTexts();
    assert.ok(shown.length > 0 && shown.every((row) => row.includes(word)), `${view}: ${shown}`);
  }

  await page.go("/logs?subject=%28order");
  assert.match(await page.innerText("[role=alert]"), /a parenthesis is not closed/);
  assert.equal(await page.inputValue("#f-subject"), "(order", "what was typed stays");
});

test("pages lead through all events, older and back", async () => {
  await page.go("/logs");
  const first = await page.locator("#events tbody tr").first().innerText();
  await page.click("text=Older");
  assert.notEqual(await page.locator("tbody tr").first().innerText(), first);
  await page.click("text=Newer");
  assert.equal(await page.locator("tbody tr").first().innerText(), first);
});

test("a new event appears without a reload", async () => {
  await page.go("/logs");
  await page.evaluate(() => { window.stays = true; });
  await server.api("POST", "/v3/shop.example/messages", { from: "a@shop.example", to: "new@good.test", subject: "Fresh", text: "x" });
  await page.waitForSelector("#events >> text=new@good.test");
  assert.equal(await page.evaluate(() => window.stays), true);
});

test("an export has every event of the list", async () => {
  const path = "/logs/export?event=delivered&tls=no";
  const { items } = await server.api("GET", "/v1/events?event=delivered&tls=no&limit=300");
  const get = async (format) => (await page.context().request.get(`${server.url}${path}&format=${format}`)).text();
  const lines = (await get("jsonl")).trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(lines.map((one) => one.id), items.map((one) => one.id));
  const csv = (await get("csv")).trim().split("\r\n");
  assert.equal(csv.length, items.length + 1);
  assert.match(csv[0], /^timestamp,domain,event,/);
});

// What the page of a message must say: by receiver, and by the row of the table of settings.
const STATES = [
  ["row0@good.test", [/delivered verified/, /within TLS, with its certificate verified/, /TLSv1\.3/, /CN=mx\.good\.test/, /Issuer/, /Valid/]],
  ["row1@good.test", [/nothing depended on the certificate, which is valid/]],
  ["row2@good.test", [/within TLS, with its certificate verified/, /required \(the message said so\)/]],
  ["row0@tls12-only.test", [/TLSv1\.2/]],
  ["row0@self-signed.test", [/in plaintext, because no trusted authority signed the certificate/, /tried again in plaintext/, /not valid/]],
  ["row1@self-signed.test", [/nothing depended on the certificate, which is not valid/]],
  ["row2@self-signed.test", [/deferred nothing sent/, /It is tried again/, /was left: nothing of the message was said to it/]],
  ["row0@expired.test", [/because the certificate has expired/]],
  ["row0@wrong-name.test", [/because the certificate is for another host/]],
  ["row0@no-starttls.test", [/because the server does not offer STARTTLS/, /STARTTLS is not offered/]],
  ["row2@no-starttls.test", [/deferred nothing sent/, /451 4\.7\.4/]],
  ["row0@starttls-454.test", [/because the server offered STARTTLS and refused it/]],
  ["row0@broken-handshake.test", [/because the TLS handshake failed/]],
  ["row0@full.test", [/deferred/, /452 4\.2\.2 The mailbox is full/]],
];

for (const [recipient, expected] of STATES) {
  test(`the page of a message tells its journey: ${recipient}`, async () => {
    await page.go(await messagePath(server, recipient));
    const said = (await text()).replace(/\s+/g, " ");
    for (const words of expected) assert.match(said, words);
    // The raw event is what the API gives.
    await page.locator("text=Everything that is known, as JSON").last().click();
    const raw = JSON.parse(await page.innerText("main pre"));
    const { items } = await server.api("GET", `/v1/events?domain=shop.example&id=${encodeURIComponent(raw.id)}`);
    assert.deepEqual(raw, items[0]);
  });
}

test("what strangers say is text, whatever they say", async () => {
  await page.go(await messagePath(server, "row0@hostile.test"));
  assert.match(await text(), /<script>document\.title='taken'<\/script>/);
  assert.ok(!(await text()).includes("\u202e"), "nothing turns the direction of writing");
  const agent = await open({ userAgent: "<img src=x onerror=alert(1)>" });
  await signIn(agent, server, "ann");
  await agent.waitForURL(`${server.url}/`);
  await page.go("/account");
  assert.match(await text(), /<img src=x onerror=alert\(1\)>/);
  for (const where of ["/logs", "/", "/queue", "/destinations", "/sending/domains/shop.example/suppressions"]) {
    await page.go(where);
    assert.doesNotMatch(await page.title(), /taken/, where);
    assert.equal(await page.locator("main img, main script").count(), 0, where);
  }
});

test("a form with a wrong token changes nothing", async () => {
  for (const spoil of ["", "wrong"]) {
    await page.go("/sending/domains/shop.example/security");
    await page.evaluate((value) => { document.querySelectorAll("main input[name=csrf]").forEach((one) => { one.value = value; }); }, spoil);
    await page.check("#skip_verification");
    const [answer] = await Promise.all([page.waitForResponse((one) => one.request().method() === "POST"), page.click("text=Save")]);
    assert.equal(answer.status(), 403);
  }
  const { skip_verification: skips } = await server.api("GET", "/v3/domains/shop.example/connection");
  assert.equal(skips, false);
});

test("the user of a domain sees that domain and nothing else", async () => {
  const own = await userOf("other.example", "olga");
  await own.go("/logs");
  assert.match(await text(own), /Of the other domain/);
  assert.doesNotMatch(await text(own), /shop\.example|Your order/);
  const { items } = await server.api("GET", "/v1/events?domain=shop.example&limit=1");
  const others = [
    await messagePath(server, "row0@good.test"),
    `/logs/content?domain=shop.example&key=${items[0].storage.key}`,
    `/logs/event?domain=shop.example&id=${items[0].id}&message-id=${items[0].message.headers["message-id"]}`,
    "/logs/export?domain=shop.example&format=csv",
    "/queue?domain=shop.example",
    ...["", "/security", "/access", "/suppressions", "/webhooks", "/templates", "/settings"].map((tab) => `/sending/domains/shop.example${tab}`),
    "/users",
    "/keys",
    "/webhooks",
  ];
  for (const where of others) {
    const answer = await own.go(where);
    assert.ok([403, 404].includes(answer.status()), `${where}: ${answer.status()}`);
    assert.doesNotMatch(await text(own), /Your order|require_tls|ann/, where);
  }
  await own.go("/destinations");
  assert.doesNotMatch(await text(own), /shop\.example|self-signed/);
  await own.go("/");
  assert.doesNotMatch(await text(own), /shop\.example/);
});

test("the switches of Security change what a following message does, and say before what that would have stopped", async () => {
  await page.go("/sending/domains/shop.example/security");
  await page.check("#require_tls");
  await page.click("text=Save");
  assert.match(await text(), /would have kept back\s+\d+ messages to \d+ recipients/);
  assert.match(await text(), /no-starttls\.test/);
  assert.equal((await server.api("GET", "/v3/domains/shop.example/connection")).require_tls, false, "nothing is saved yet");
  await page.click("button >> text=Require TLS");
  await page.waitForSelector("[role=status]");
  assert.equal(await page.isChecked("#require_tls"), true);

  const sendTo = async (to) => {
    await page.go("/sending/test?domain=shop.example");
    await page.fill("#to", to);
    await page.click("text=Send it");
    await page.waitForURL(/\/logs\/message/);
  };
  await sendTo("after@no-starttls.test");
  await page.waitForSelector("text=nothing sent");
  assert.match(await text(), /the sending domain's setting/);
  await sendTo("after@good.test");
  await page.waitForSelector("h2 >> text=verified");

  await page.go("/sending/domains/shop.example/security");
  await page.uncheck("#require_tls");
  await page.click("text=Save");
  await page.waitForSelector("[role=status]");
  await sendTo("again@no-starttls.test");
  await page.waitForSelector("h2 >> text=plaintext");
});

test("a test message with its own settings is watched on its way without a reload, and all of it works without scripts", async () => {
  await page.go("/sending/test?domain=shop.example&to=watched@self-signed.test");
  await page.selectOption("#require-tls", "yes");
  await page.selectOption("#skip-verification", "yes");
  await page.click("text=Send it");
  await page.waitForURL(/\/logs\/message/);
  await page.waitForSelector("h2 >> text=encrypted");

  const plain = await open({ javaScriptEnabled: false });
  await signIn(plain, server, "ann");
  await plain.go("/sending/test?domain=shop.example&to=plain@good.test");
  await plain.click("text=Send it");
  await plain.waitForURL(/\/logs\/message/);
  for (let tries = 0; tries < 50 && !/verified/.test(await text(plain)); tries++) await plain.reload();
  assert.match(await text(plain), /with its certificate verified/);
});

test("what waits is held, released, tried and removed", async () => {
  const { url } = server;
  const state = async (recipient) => {
    const { items } = await server.api("GET", "/v1/queue?domain=shop.example&limit=300");
    return items.find((one) => one.recipient === recipient)?.state;
  };
  const act = async (recipient, label) => {
    await page.go("/queue?domain=shop.example&destination=full.test");
    await page.check(`[aria-label="Choose ${recipient}"]`);
    await page.locator("#queue").locator(`button >> text="${label}"`).click();
    await page.waitForURL(`${url}/queue?domain=shop.example&destination=full.test`);
    await page.waitForSelector("[role=status]");
  };
  await act("row0@full.test", "Hold");
  assert.equal(await state("row0@full.test"), "held");
  assert.match(await text(), /452 4\.2\.2 The mailbox is full|held/);
  await act("row0@full.test", "Release");
  assert.equal(await state("row0@full.test"), "deferred");
  await act("row1@full.test", "Remove");
  assert.equal(await state("row1@full.test"), undefined);
  const { items } = await server.api("GET", "/v1/events?event=failed&reason=dropped");
  assert.equal(items[0].recipient, "row1@full.test");
  await act("row0@full.test", "Retry now");
  const attempts = async () => {
    const { items: waiting } = await server.api("GET", "/v1/queue?destination=full.test");
    return waiting.find((one) => one.recipient === "row0@full.test").attempts;
  };
  for (let tries = 0; tries < 100 && (await attempts()) < 2; tries++) await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(await attempts(), 2);
});

test("keys and logins are shown once", async () => {
  await page.go("/sending/domains/shop.example/access");
  await page.fill("#description", "the shop");
  await page.click("text=Make the key");
  const key = await page.innerText(".notice code");
  assert.match(key, /^key-[0-9a-f]{48}$/);
  assert.ok(!page.url().includes("key-"));
  await page.go("/sending/domains/shop.example/access");
  assert.ok(!(await page.content()).includes(key));
  const answer = await fetch(`${server.url}/v3/shop.example/messages`, {
    method: "POST",
    headers: { Authorization: `Basic ${Buffer.from(`api:${key}`).toString("base64")}` },
    body: new URLSearchParams({ from: "a@shop.example", to: "key@good.test", text: "x" }),
  });
  assert.equal(answer.status, 200);
  await page.fill("#login", "app");
  await page.click("text=Make the login");
  assert.match(await page.innerText(".notice"), /app@shop\.example/);
});

test("a destination is looked at from its page", async () => {
  await page.go("/destinations/self-signed.test");
  assert.match(await text(), /plaintext/);
  await page.click("text=Check now");
  await page.waitForSelector("text=What would become of a message");
  const said = await text();
  assert.match(said, /mx\.self-signed\.test/);
  assert.match(said, /deferred/);
});

test("suppressions, webhooks and templates are made, seen and deleted", async () => {
  const at = "/sending/domains/shop.example";
  await page.go(`${at}/suppressions`);
  await page.fill("#address", "never@example.net");
  await page.click("button >> text=Add");
  await page.waitForSelector("td >> text=never@example.net");

  await page.go(`${at}/webhooks`);
  await page.fill("#url", "https://127.0.0.1:1/hook");
  await page.check("input[value=delivered]");
  await page.click("text=Add the webhook");
  await page.waitForSelector("td >> text=https://127.0.0.1:1/hook");
  await page.click("button >> text=Test");
  await page.waitForSelector("[role=alert]");
  assert.match(await page.innerText("[role=alert]"), /not a public address/);

  await page.go("/webhooks");
  await page.fill("#url", "https://127.0.0.1:1/all");
  await page.check("input[value=permanent_fail]");
  await page.click("text=Add the webhook");
  await page.waitForSelector("td >> text=https://127.0.0.1:1/all");
  await page.click("button >> text=Test");
  await page.waitForSelector("[role=alert]");
  await page.click("button >> text=Delete");
  await page.waitForSelector("[role=status]");
  assert.deepEqual((await server.api("GET", "/v1/webhooks")).webhooks, []);

  await page.go(`${at}/settings`);
  await page.fill("#message_ttl", "1.5");
  await page.fill("#event_limit", "100000");
  await page.locator("form[action$=retention] button").click();
  await page.waitForSelector("[role=status]");
  const { domain } = await server.api("GET", "/v4/domains/shop.example");
  assert.deepEqual([domain.message_ttl, domain.event_limit], [129600, 100000]);
  assert.equal(await page.inputValue("#message_ttl"), "1.5");

  await page.go(`${at}/templates`);
  await page.fill("#name", "hello");
  await page.fill("#template", "<h1>Hi {{name}}</h1><script>top.document.title='taken'</script>");
  await page.click("text=Make the template");
  await page.waitForURL(/templates\/hello/);
  await page.fill("#variables", '{"name": "<Ann>"}');
  await page.locator("form[method=get] button").click();
  const frame = page.frameLocator("iframe");
  assert.equal(await frame.locator("h1").innerText(), "Hi <Ann>");
  assert.doesNotMatch(await page.title(), /taken/);
  // That the frame runs nothing is told to the console, and is what is wanted.
  page.trouble = page.trouble.filter((one) => !/Blocked script execution/.test(one));
});

test("every page is small, is read without a mouse, and has no serious fault of accessibility, light and dark", async () => {
  const pages = { ...(await allPages(server)), template: "/sending/domains/shop.example/templates/hello" };
  const faults = [];
  for (const colorScheme of ["light", "dark"]) {
    const own = await open({ colorScheme, bypassCSP: true });
    await signIn(own, server, "ann");
    await own.waitForURL(`${server.url}/`);
    for (const [name, where] of Object.entries(pages)) {
      const answer = await own.go(where);
      assert.equal(answer.status(), 200, name);
      const octets = (await answer.body()).length;
      assert.ok(octets < 100_000, `${name} has ${octets} octets`);
      assert.equal(await own.locator("h1").count(), 1, name);
      await own.evaluate(axe.source);
      const { violations } = await own.evaluate(() => window.axe.run(document, { resultTypes: ["violations"], iframes: false }));
      for (const one of violations.filter(({ impact }) => ["serious", "critical"].includes(impact))) {
        faults.push(`${name} (${colorScheme}): ${one.id}: ${one.nodes[0].html.slice(0, 150)} ${one.nodes[0].failureSummary}`);
      }
    }
    own.trouble = [];
  }
  assert.deepEqual(faults, []);
  await page.go("/logs");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
});

test("no page ran a stranger's script, broke the policy or asked for anything elsewhere", () => {
  for (const one of opened) assert.deepEqual(one.trouble, []);
});
