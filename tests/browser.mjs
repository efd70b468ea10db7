// Uses the page of examples/browser in headless Chromium.
//
// usage: node browser.mjs MODULES WASM URL
//
// MODULES is a folder with `node_modules/playwright-core`; WASM is the module; URL is the scripted
// model, to which the page's server forwards requests.

import { readFile } from "node:fs/promises";
import { createServer, request as forward } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

const [modules, wasm, url] = process.argv.slice(2);
const { chromium } = createRequire(join(modules, "index.js"))("playwright-core");
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const PATIENCE = 60_000;
const FILES = {
  "/": ["examples/browser/index.html", "text/html"],
  "/toolrunner/index.js": ["core/c/js/index.js", "text/javascript"],
  "/toolrunner/toolrunner.wasm": [wasm, "application/wasm"],
};

const server = createServer(async (request, response) => {
  if (request.method === "POST") {
    const { host, ...headers } = request.headers;
    const passed = forward(url + request.url, { method: "POST", headers }, (reply) => {
      response.writeHead(reply.statusCode, reply.headers);
      reply.pipe(response);
    });
    passed.on("error", () => response.destroy());
    return request.pipe(passed);
  }
  const file = FILES[request.url];
  if (!file) return response.writeHead(request.url === "/favicon.ico" ? 204 : 404).end();
  response.writeHead(200, { "content-type": file[1] }).end(await readFile(file[0]));
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });
let passed = 0;
let failed = 0;
const page = await browser.newPage();
page.setDefaultTimeout(PATIENCE);
const complaints = [];
page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
page.on("pageerror", (error) => complaints.push(error.message));

const log = () => page.locator("#log").textContent();
const status = (text) => page.waitForFunction((text) => document.querySelector("#status").textContent === text, text);
async function check(name, work) {
  try {
    await work();
    passed += 1;
    console.log(`ok   ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}: ${error.message}`);
  }
}
function expect(condition, words) {
  if (!condition) throw new Error(words);
}

await page.goto(`http://127.0.0.1:${server.address().port}/`);
await check("the page loads the module", () => status("ready"));
await check("text appears as it streams", async () => {
  // Records each length of the log: streamed text has many lengths, text that arrives at once has
  // few.
  await page.evaluate(() => {
    window.lengths = new Set();
    new MutationObserver(() => window.lengths.add(document.querySelector("#log").textContent.length)).observe(document.querySelector("#log"), { childList: true });
  });
  await page.click("form button");
  await status("ended end_turn");
  const lengths = await page.evaluate(() => window.lengths.size);
  expect(lengths > 15, `the log grew in ${lengths} steps`);
  const text = await log();
  expect(text.includes('get_weather({"location":"Paris"}) = {"temperature":"20°C","condition":"Sunny"}'), text);
  expect(text.endsWith("The weather in Paris: Sunny, 20°C. 15 + 27 = 42.\n"), text);
});
await check("a reply is stopped, and the conversation goes on", async () => {
  await page.fill("#prompt", "And the weather in Oslo?");
  await page.click("form button");
  await page.waitForFunction(() => document.querySelector("#log").textContent.includes("I'll look"));
  await page.click("#stop");
  await status("stopped ");
  await page.fill("#prompt", "And 2 + 2?");
  await page.click("form button");
  await status("ended end_turn");
  expect((await log()).endsWith("2 + 2 = 4.\n"), await log());
});
await check("nothing complained", () => expect(complaints.length === 0, complaints.join("; ")));

await browser.close();
server.closeAllConnections();
server.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
