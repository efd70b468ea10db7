// Uses the playground in headless Chromium as a person would, at the widths of a desktop and a
// phone.
//
// usage: node playground.mjs MODULES URL [SCREENSHOTS]
//
// MODULES is a folder with `node_modules/playwright-core`; URL is a server that runs the contract
// agent with the scripted model. Prints a line for each check, and `N passed, N failed`.
import { createRequire } from "node:module";
import { join } from "node:path";

const [modules, url, screenshots] = process.argv.slice(2);
const { chromium } = createRequire(join(modules, "index.js"))("playwright-core");
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const PATIENCE = 60_000;

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });
let passed = 0;
let failed = 0;

async function use(width, height, colorScheme) {
  const page = await browser.newPage({ viewport: { width, height }, colorScheme });
  page.setDefaultTimeout(PATIENCE);
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  const status = (text) => page.waitForFunction((text) => document.querySelector("#session-status").textContent === text, text);
  const last = (selector) => page.locator(selector).last().textContent();
  const send = async (text) => {
    await page.fill("#text", text);
    await page.keyboard.press("Enter");
  };
  const check = async (name, work) => {
    try {
      await work();
      passed += 1;
      console.log(`ok   ${width} ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL ${width} ${name}: ${error.message}`);
    }
    if (screenshots) await page.screenshot({ path: join(screenshots, `${width}-${name.replaceAll(" ", "-")}.png`) });
  };
  const expect = (found, wanted) => {
    if (!found.includes(wanted)) throw new Error(`expected ${JSON.stringify(wanted)} in ${JSON.stringify(found)}`);
  };

  await page.goto(`${url}/playground`);
  await check("text streams", async () => {
    await send("deltas 20 50 The weather is fine today");
    await page.waitForSelector(".message.streaming");
    await status("ready");
    expect(await last(".message.agent"), "The weather is fine today");
  });
  await check("a tool call shows its input and its result", async () => {
    await send('call get_weather {"location":"Paris"} then say It is warm.');
    await page.waitForSelector('.tool .state:has-text("done")');
    await page.locator("details.tool summary").last().click();
    expect(await last("details.tool"), "20°C in Paris");
    await status("ready");
  });
  await check("an approval survives a reload", async () => {
    await send('call dangerous_tool {"path":"/tmp/x"} then results');
    await page.waitForSelector(".ask");
    await page.reload();
    await page.waitForSelector(".ask");
    await status("needs you");
    await page.click(".ask .good");
    await status("ready");
    expect(await last(".message.agent"), "Deleted /tmp/x");
  });
  await check("a rejection reaches the model", async () => {
    await send('call dangerous_tool {"path":"/tmp/y"} then results');
    await page.waitForSelector(".ask");
    // Uses only the keyboard: Tab reaches the buttons.
    await page.locator(".ask .danger").focus();
    await page.keyboard.press("Enter");
    await status("ready");
    expect(await last(".message.agent"), "reject");
  });
  await check("a question is answered", async () => {
    await send('call ask_user {"question":"Which?","options":["Red","Blue"]} then results');
    await page.check(".ask input[value=Blue]");
    await page.click(".ask button[type=submit]");
    await status("ready");
    expect(await last(".message.agent"), "Answered Blue");
  });
  await check("a turn is stopped", async () => {
    await send('call slow_tool {"seconds": 300} then results');
    await page.waitForSelector('.tool .state:has-text("running")');
    await page.click("#cancel");
    await status("ready");
    expect(await last(".note"), "stopped");
  });
  await check("an error names its type", async () => {
    await send("error 400");
    await status("failed");
    expect(await last(".note.bad"), "invalid_request_error");
  });
  await check("the session is listed and shown again after a reload", async () => {
    await page.reload();
    await status("failed");
    await page.waitForSelector('.turn:has-text("Turn 1")', { state: "attached" });
    expect(await last("#session-list"), "deltas 20 50");
  });
  await check("nothing is wider than the page", async () => {
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (over > 0) throw new Error(`${over} pixels too wide`);
  });
  await check("the page complains of nothing", async () => {
    // The browser reports a refused request as an error; the page shows it as a message.
    const others = complaints.filter((text) => !text.includes("the server responded with a status of"));
    if (others.length) throw new Error(others.join("; "));
  });
  await page.close();
}

await use(1280, 800, "light");
await use(375, 720, "dark");
await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
