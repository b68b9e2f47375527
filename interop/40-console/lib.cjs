// What the tests of the control panel share: a server with receivers in every TLS state, and a browser that looks at it.
"use strict";

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const readline = require("node:readline");
const { chromium } = require("playwright-core");

const PASSWORD = "correct horse battery staple";

// The server of crates/server/examples/panel.rs: {url, setup, key, domains, states} and stop().
async function startServer() {
  const child = spawn(process.env.PANEL, [], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const lines = readline.createInterface({ input: child.stdout });
  const line = await Promise.race([
    new Promise((resolve) => lines.once("line", resolve)),
    ended.then((code) => { throw new Error(`the server ended with ${code}`); }),
  ]);
  const server = JSON.parse(line);
  server.stop = async () => { child.stdin.end(); await ended; };
  server.api = async (method, where, form) => {
    const answer = await fetch(server.url + where, {
      method,
      headers: { Authorization: `Basic ${Buffer.from(`api:${server.key}`).toString("base64")}` },
      body: form && new URLSearchParams(form),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${where}: ${answer.status} ${text}`);
    return JSON.parse(text);
  };
  return server;
}

async function startBrowser() {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "waxwing-browser-"));
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", `--crash-dumps-dir=${profile}`],
  });
  browser.once("disconnected", () => fs.rmSync(profile, { recursive: true, force: true }));
  return browser;
}

// A page that tells of everything that must never happen: dialogs that a page's own text opened, errors of scripts,
// breaches of the policy, requests to elsewhere. What it tells is in `page.trouble`.
async function openPage(browser, server, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.trouble = [];
  page.setDefaultTimeout(15000);
  page.on("pageerror", (error) => page.trouble.push(`script: ${error.message}`));
  page.on("console", (message) => {
    // A page that is refused is an error to the browser's console, and wanted by the test.
    if (message.type() === "error" && !/the server responded with a status of 4/.test(message.text())) page.trouble.push(`console: ${message.text()}`);
  });
  // A page asks before it deletes; nothing else opens a dialog.
  page.on("dialog", (dialog) => {
    if (dialog.type() !== "confirm") page.trouble.push(`dialog: ${dialog.message()}`);
    dialog.accept();
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(server.url) && !request.url().startsWith("data:")) page.trouble.push(`request: ${request.url()}`);
  });
  page.go = async (where) => {
    const answer = await page.goto(where.startsWith("http") ? where : server.url + where);
    return answer;
  };
  return page;
}

// Makes the first user by the link of the terminal.
async function setUp(page, server, name = "ann") {
  await page.go(server.setup);
  await page.fill("#name", name);
  await page.fill("#password", PASSWORD);
  await page.fill("#again", PASSWORD);
  await page.click("button[type=submit]");
  await page.waitForURL(`${server.url}/`);
}

async function signIn(page, server, name, password = PASSWORD) {
  await page.go("/sign-in");
  await page.fill("#name", name);
  await page.fill("#password", password);
  await page.click("main button[type=submit]");
}

// The page of a message, by its recipient.
async function messagePath(server, recipient, domain = "shop.example") {
  const { items } = await server.api("GET", `/v1/events?event=accepted&domain=${domain}&recipient=${encodeURIComponent(recipient)}`);
  const id = items[0].message.headers["message-id"];
  return `/logs/message?${new URLSearchParams({ domain, "message-id": id, recipient })}`;
}

module.exports = { PASSWORD, messagePath, openPage, setUp, signIn, startBrowser, startServer };
