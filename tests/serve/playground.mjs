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

  // Fails if text or a control of the page has too little contrast, in the light or the dark scheme.
  const contrast = async () => {
    for (const scheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme: scheme });
      const { seen, poor } = await page.evaluate(measureContrast);
      if (!seen) throw new Error("no text was measured");
      if (poor.length) throw new Error(`${scheme}: ${poor.join("; ")}`);
    }
    await page.emulateMedia({ colorScheme });
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
  await check("a rejection by keyboard reaches the model", async () => {
    await send('call dangerous_tool {"path":"/tmp/y"} then results');
    await page.waitForSelector(".ask");
    await page.focus("#text");
    await press(page, "Shift+Tab", ".ask .danger");
    await page.keyboard.press("Enter");
    await status("ready");
    expect(await last(".message.agent"), "reject");
  });
  await check("a question is answered", async () => {
    await send('call ask_user {"question":"Which?","options":["Red","Blue"]} then results');
    await page.waitForSelector(".ask input");
    await contrast();
    await page.check(".ask input[value=Blue]");
    await page.click(".ask button[type=submit]");
    await status("ready");
    expect(await last(".message.agent"), "Answered Blue");
  });
  await check("a turn is stopped", async () => {
    await send('call slow_tool {"seconds": 300} then results');
    await page.waitForSelector('.tool .state:has-text("running")');
    await contrast();
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
  await check("text and controls have the contrast of WCAG AA", async () => {
    const closed = page.locator("details.tool:not([open]) summary");
    while (await closed.count()) await closed.first().click();
    await contrast();
    await page.click("#delete-session");
    await contrast();
    await page.keyboard.press("Escape");
    if (width >= 760) return;
    for (const name of ["sessions", "timeline"]) {
      await page.click(`#toggle-${name}`);
      await contrast();
      await page.keyboard.press("Escape");
    }
  });
  await check("Tab visits every control once, in the order of the page", async () => {
    await page.evaluate(() => {
      // Begins at the top of the page.
      document.body.tabIndex = -1;
      document.body.focus();
      document.body.removeAttribute("tabindex");
    });
    const expected = await page.evaluate(listStops);
    if (expected.length < 8) throw new Error(`only ${expected.length} controls: ${expected}`);
    const visited = [];
    for (let i = 0; i <= expected.length; i += 1) {
      await page.keyboard.press("Tab");
      const stop = await page.evaluate(lookAtFocus);
      if (!stop || stop.name === visited[0]) break;
      if (!stop.isVisible) throw new Error(`the focus is on ${stop.name}, which cannot be seen`);
      if (!stop.isMarked) throw new Error(`nothing shows that the focus is on ${stop.name}`);
      visited.push(stop.name);
    }
    if (visited.join(" ") !== expected.join(" ")) throw new Error(`visited ${visited.join(" ")}, expected ${expected.join(" ")}`);
    if (!expected[0].startsWith("a.skip")) throw new Error(`the first stop is ${expected[0]}`);
    await page.focus(".skip");
    await page.keyboard.press("Enter");
    await page.keyboard.type("typed");
    expect(await page.inputValue("#text"), "typed");
    await page.fill("#text", "");
  });
  await check("a dialog keeps the focus and returns it", async () => {
    await page.focus("#delete-session");
    await page.keyboard.press("Enter");
    for (let i = 0; i < 4; i += 1) {
      const outside = await page.evaluate(() => document.activeElement !== document.body && !document.activeElement.closest("#confirm-delete"));
      if (outside) throw new Error("the focus left the open dialog");
      await page.keyboard.press("Tab");
    }
    await page.keyboard.press("Escape");
    if ((await page.evaluate(() => document.activeElement.id)) !== "delete-session") throw new Error("the focus did not return");
  });
  if (width < 760) {
    await check("drawers open and close by keyboard", async () => {
      for (const [name, inside] of [["sessions", "#new-session"], ["timeline", null]]) {
        const state = () => page.getAttribute(`#toggle-${name}`, "aria-expanded");
        await page.focus(`#toggle-${name}`);
        await page.keyboard.press("Enter");
        if ((await state()) !== "true") throw new Error(`${name} did not open`);
        if (inside) await press(page, "Tab", inside);
        await page.keyboard.press("Escape");
        if ((await state()) !== "false") throw new Error(`${name} did not close`);
        const focused = await page.evaluate(() => document.activeElement.id);
        if (focused !== `toggle-${name}`) throw new Error(`the focus is on ${focused}`);
      }
    });
  }
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

// Presses a key until the focus is on an element that fits the selector.
async function press(page, key, selector) {
  for (let i = 0; i < 60; i += 1) {
    await page.keyboard.press(key);
    if (await page.evaluate((selector) => document.activeElement.matches(selector), selector)) return;
  }
  throw new Error(`${key} does not reach ${selector}`);
}

// The functions below run in the page.

// Returns the visible elements that Tab should visit, in the order of the document.
function listStops() {
  const selector = "a[href], button, input, textarea, select, summary, [tabindex]";
  const groups = new Set();
  return [...document.querySelectorAll(selector)]
    .filter((item) => !item.disabled && item.tabIndex === 0 && item.getClientRects().length > 0 && getComputedStyle(item).visibility === "visible")
    .filter((item) => !item.closest("dialog"))
    .filter((item) => item.type !== "radio" || (!groups.has(item.name) && groups.add(item.name)))
    .map((item) => {
      const all = [...document.querySelectorAll("*")];
      return `${item.tagName.toLowerCase()}${item.className ? `.${item.className.split(" ")[0]}` : ""}#${all.indexOf(item)}`;
    });
}

function lookAtFocus() {
  const item = document.activeElement;
  if (!item || item === document.body || item === document.documentElement) return null;
  const all = [...document.querySelectorAll("*")];
  const name = `${item.tagName.toLowerCase()}${item.className ? `.${item.className.split(" ")[0]}` : ""}#${all.indexOf(item)}`;
  const box = item.getBoundingClientRect();
  const style = getComputedStyle(item);
  // Something may lie above a part of it, but not above all of it.
  const parts = [0.1, 0.5, 0.9];
  const isVisible = parts.some((x) =>
    parts.some((y) => {
      const top = document.elementFromPoint(box.left + x * box.width, box.top + y * box.height);
      return !!top && item.contains(top);
    }),
  );
  return { name, isVisible, isMarked: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 };
}

// Measures the contrast of all visible text with its background (4.5, or 3 if it is large), and of the
// borders, bars and outlines that identify controls (3), from the computed styles.
function measureContrast() {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parse = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1];
  const ground = (item) => {
    const layers = [];
    for (let at = item; at; at = at.parentElement) {
      const layer = parse(getComputedStyle(at).backgroundColor);
      layers.push(layer);
      if (layer[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  const luminance = (color) => {
    const [r, g, b] = color.slice(0, 3).map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, two) => {
    const [dark, light] = [luminance(one), luminance(two)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const dialog = document.querySelector("dialog[open]");
  const isShown = (item) => item.getClientRects().length > 0 && getComputedStyle(item).visibility === "visible" && !item.closest(".hidden-text") && (!dialog || dialog.contains(item));
  const poor = new Set();
  let seen = 0;
  const need = (least, color, below, item, what) => {
    seen += 1;
    const found = ratio(over(parse(color), below), below);
    if (found < least) poor.add(`${what} of ${item.tagName.toLowerCase()}.${item.className || item.id}: ${found.toFixed(2)} < ${least}`);
  };
  for (const item of document.querySelectorAll("body, body *")) {
    // WCAG leaves out controls that cannot be used now.
    if (!isShown(item) || item.closest(":disabled")) continue;
    const style = getComputedStyle(item);
    if (style.opacity !== "1" && item.textContent.trim()) poor.add(`${item.tagName}.${item.className} is translucent`);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    if ([...item.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim())) need(least, style.color, ground(item), item, "text");
    if (item.placeholder) need(4.5, getComputedStyle(item, "::placeholder").color, ground(item), item, "placeholder");
    const around = item.parentElement ? ground(item.parentElement) : [255, 255, 255, 1];
    const hasBorder = parseFloat(style.borderTopWidth) > 0 && parse(style.borderTopColor)[3] > 0;
    if (item.matches("textarea, input:not([type=radio], [type=checkbox]), button") && hasBorder) need(3, style.borderTopColor, around, item, "border");
    if (item.matches(".track i, #legend i") && style.backgroundImage === "none") need(3, style.backgroundColor, around, item, "bar");
  }
  // The outline of the focus is drawn outside of a control, on the page or on a panel.
  for (const item of [document.body, document.querySelector("main"), document.querySelector("nav")]) {
    need(3, getComputedStyle(document.documentElement).getPropertyValue("--accent"), ground(item), item, "focus outline");
  }
  return { seen, poor: [...poor] };
}

await use(1280, 800, "light");
await use(375, 720, "dark");
await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
