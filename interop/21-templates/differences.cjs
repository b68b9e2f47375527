// Where Waxwing's templates lead to something else than handlebars.js does, and to what; docs/mailgun.md tells of it.
"use strict";

module.exports = {
  // Refused
  "quoted name": "refused",
  "block for what is not there": "refused",
  "block of a path": "refused",
  log: "refused",
  "inline partial": "refused",
  // Told otherwise
  "truth of an empty object": "n",
  "with zero": "e",
  "parent beyond the root": "(text)(text)",
  "lookup of a list": "[a, b]",
  "key in a list": "",
  "keyword as variable": "[object Object] word",
  "raw block": "{{s}} ",
  // Refused by handlebars.js
  "index without brackets": "one",
  "closed too much": "text}",
  "inline if": "",
  eq: "y",
  gt: "y",
  and: "y",
  len: "5",
};
