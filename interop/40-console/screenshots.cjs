// Pictures of every page, light and dark, on a desk and on a phone: `node screenshots.cjs FOLDER [NAME…]`, with PANEL and
// NODE_PATH as run.sh sets them. For people to look at.
"use strict";

const path = require("node:path");
const { openPage, setUp, startBrowser, startServer } = require("./lib.cjs");
const allPages = require("./pages.cjs");

async function main([folder, ...names]) {
  const [server, browser] = await Promise.all([startServer(), startBrowser()]);
  try {
    const first = await openPage(browser, server);
    await setUp(first, server);
    const storageState = await first.context().storageState();
    const pages = Object.entries(await allPages(server)).filter(([name]) => !names.length || names.includes(name));
    for (const [width, device] of [[1280, "desk"], [390, "phone"]]) {
      for (const colorScheme of ["light", "dark"]) {
        const page = await openPage(browser, server, { viewport: { width, height: 900 }, colorScheme, storageState });
        for (const [name, where] of pages) {
          await page.go(where);
          const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          if (over > 0) console.log(`${name} is ${over} pixels too wide on the ${device}`);
          await page.screenshot({ path: path.join(folder, `${name}-${device}-${colorScheme}.png`), fullPage: true });
        }
        for (const one of page.trouble) console.log(one);
        await page.context().close();
      }
    }
  } finally {
    await browser.close();
    await server.stop();
  }
}

main(process.argv.slice(2)).catch((error) => { console.error(error); process.exitCode = 1; });
