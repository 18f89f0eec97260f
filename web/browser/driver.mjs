// A browser for tests: reads one JSON request per line, answers each with one JSON line. tests/web/browser.py speaks to it.
//
//   node browser/driver.mjs EXECUTABLE

import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const browser = await chromium.launch({ executablePath: process.argv[2], headless: true, args: FLAGS });
const seen = { requests: [], problems: [] };
let page;

/** A page of its own: no storage of the one before. */
async function open({ url, width = 1280, height = 800, dark = true }) {
  await page?.context().close();
  seen.requests.length = 0;
  seen.problems.length = 0;
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: dark ? "dark" : "light",
  });
  page = await context.newPage();
  page.on("request", (request) => seen.requests.push(request.url()));
  page.on("websocket", (socket) => seen.requests.push(socket.url()));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) seen.problems.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => seen.problems.push(`exception: ${error.message}`));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`refused by the policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
    });
  });
  await page.goto(url);
}

/**
 * How long each of `count` frames took while the box that `selector` names scrolls four rows a frame, in milliseconds; and
 * `busy`, what the page's main thread took of a CPU meanwhile, per frame: that does not depend on what else runs.
 */
async function frames({ selector, count }) {
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  const taken = async () => {
    const { metrics } = await session.send("Performance.getMetrics");
    const found = ["TaskDuration", "ScriptDuration", "LayoutDuration", "RecalcStyleDuration"].map(
      (wanted) => metrics.find(({ name }) => name === wanted).value * 1000,
    );
    return { task: found[0], script: found[1], layout: found[2], style: found[3] };
  };
  const before = await taken();
  const times = await page.evaluate(
    ([where, most]) =>
      new Promise((resolve) => {
        const box = document.querySelector(where);
        const found = [];
        let last = performance.now();
        const frame = (now) => {
          found.push(now - last);
          last = now;
          box.scrollTop += 120;
          if (found.length <= most) requestAnimationFrame(frame);
          else resolve(found.slice(1));
        };
        requestAnimationFrame(frame);
      }),
    [selector, count],
  );
  const after = await taken();
  const busy = Object.fromEntries(
    Object.keys(before).map((name) => [name, (after[name] - before[name]) / times.length]),
  );
  await session.detach();
  return { times, busy };
}

const actions = {
  open,
  frames,
  go: ({ hash }) => page.evaluate((to) => void (location.hash = to), hash),
  count: ({ selector }) => page.locator(selector).count(),
  texts: ({ selector }) => page.locator(selector).allInnerTexts(),
  titles: ({ selector }) => page.locator(selector).evaluateAll((all) => all.map((one) => one.getAttribute("title"))),
  classes: ({ selector }) => page.locator(selector).evaluateAll((all) => all.map((one) => one.className)),
  press: ({ keys }) => keys.reduce((done, key) => done.then(() => page.keyboard.press(key)), Promise.resolve()),
  fill: ({ selector, text }) => page.locator(selector).fill(text),
  choose: ({ selector, value }) => page.locator(selector).selectOption(value),
  click: ({ selector }) => page.locator(selector).first().click(),
  address: () => page.url(),
  theme: () => page.evaluate(() => document.documentElement.dataset.theme),
  widths: () => page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]),
  /** Pixels of the drawing that are not transparent: something has been drawn. */
  drawn: ({ selector }) =>
    page.locator(selector).evaluateAll((all) =>
      all.map((canvas) => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        let count = 0;
        for (let at = 3; at < data.length; at += 4) if (data[at]) count += 1;
        return count;
      }),
    ),
  picture: ({ path, ...options }) => page.screenshot({ path, ...options }).then(() => path),
  seen: () => seen,
};

for await (const line of createInterface({ input: process.stdin })) {
  const { action, ...settings } = JSON.parse(line);
  let answer;
  try {
    answer = { answer: (await actions[action](settings)) ?? null };
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
