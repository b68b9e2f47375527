// Every page of the panel, for what is true of all of them: a name and an address each.
"use strict";

const { messagePath } = require("./lib.cjs");

module.exports = async function pages(server) {
  return {
    overview: "/",
    "overview-day": "/?period=day",
    domains: "/sending/domains",
    records: "/sending/domains/shop.example",
    security: "/sending/domains/shop.example/security",
    "what-if": "/sending/domains/shop.example/security?what-if=yes",
    access: "/sending/domains/shop.example/access",
    suppressions: "/sending/domains/shop.example/suppressions",
    webhooks: "/sending/domains/shop.example/webhooks",
    templates: "/sending/domains/shop.example/templates",
    queue: "/queue?domain=shop.example",
    settings: "/sending/domains/shop.example/settings",
    test: "/sending/test",
    logs: "/logs",
    "logs-filtered": "/logs?event=delivered&tls=no&mx-host=starttls",
    "message-verified": await messagePath(server, "row0@good.test"),
    "message-plaintext": await messagePath(server, "row0@self-signed.test"),
    "message-deferred": await messagePath(server, "row2@no-starttls.test"),
    "message-hostile": await messagePath(server, "row0@hostile.test"),
    destinations: "/destinations",
    destination: "/destinations/good.test",
    check: "/destinations/check",
    reports: "/reports",
    "webhooks-of-all": "/webhooks",
    keys: "/keys",
    users: "/users",
    account: "/account",
  };
};
