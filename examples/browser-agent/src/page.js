// What the browser asks of a page. It runs in a world of its own: the page's scripts do not see it, and cannot change what it uses.
// Elements have references, which end with the document.
(() => {
  const elements = new Map(), names = new WeakMap();
  const ROLES = { a: "link", button: "button", input: "textbox", textarea: "textbox", select: "combobox", img: "image", nav: "navigation", main: "main", form: "form", ul: "list", ol: "list", li: "listitem", table: "table", label: "label", h1: "heading", h2: "heading", h3: "heading", h4: "heading", h5: "heading", h6: "heading" };
  const TYPES = { checkbox: "checkbox", radio: "radio", submit: "button", button: "button", reset: "button", range: "slider", file: "file" };
  const INTERACTIVE = new Set(["link", "button", "textbox", "combobox", "checkbox", "radio", "slider", "file", "menuitem", "tab", "switch", "option"]);
  const LIMIT = 50000;

  const ref = (element) => {
    if (!names.has(element)) {
      names.set(element, `ref_${elements.size + 1}`);
      elements.set(names.get(element), new WeakRef(element));
    }
    return names.get(element);
  };
  const element = (name) => {
    const found = elements.get(name)?.deref();
    if (!found?.isConnected) throw new Error(`${name} is not on this page (any more); use read_page or find to get references`);
    return found;
  };
  const one = (text) => (text ?? "").replace(/\s+/g, " ").trim();
  const role = (e) => {
    const own = e.getAttribute("role");
    if (own) return own;
    const tag = e.localName;
    if (tag === "input") return TYPES[e.type] ?? "textbox";
    if (tag === "a" && !e.hasAttribute("href")) return "";
    return ROLES[tag] ?? "";
  };
  const label = (e) => one(e.getAttribute("aria-label") || e.labels?.[0]?.textContent || e.getAttribute("alt") || e.getAttribute("placeholder") || e.getAttribute("title")
    || (["submit", "button", "reset"].includes(e.type) ? e.value : "") || (["link", "button", "heading", "label", "listitem", "option", "menuitem", "tab"].includes(role(e)) ? e.textContent : "")).slice(0, 200);
  const visible = (e) => e.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const inView = (e) => {
    const box = e.getBoundingClientRect();
    return box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
  };
  const line = (e) => {
    const of = role(e), value = of === "checkbox" || of === "radio" ? (e.checked ? " (checked)" : "") : of === "textbox" && e.type !== "password" && e.value ? ` value=${JSON.stringify(e.value.slice(0, 200))}` : "";
    const name = label(e), href = of === "link" ? ` href=${JSON.stringify(e.getAttribute("href"))}` : "";
    return `${of}${name ? ` ${JSON.stringify(name)}` : ""} [${ref(e)}]${value}${href}${e.disabled ? " (disabled)" : ""}`;
  };

  globalThis.toolrunner = {
    // An explicit stack: a page may nest its elements deeper than the engine's.
    read(filter, root, depth) {
      const lines = [], open = [[root ? element(root) : document.body, 0]];
      let size = 0;
      while (open.length > 0) {
        const [e, level] = open.pop();
        if (!e || !visible(e)) continue;
        const of = role(e), own = [...e.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => one(node.data)).join(" ").trim();
        const shown = filter === "interactive" ? INTERACTIVE.has(of) : of || own;
        if (shown && (filter === "all" || inView(e))) {
          const text = " ".repeat(level) + (of ? line(e) : `text ${JSON.stringify(own.slice(0, 500))}`);
          size += text.length + 1;
          if (size > LIMIT) {
            lines.push(`[more than ${LIMIT} characters; narrow it with ref or depth]`);
            break;
          }
          lines.push(text);
        }
        if (level < depth) open.push(...[...e.children].reverse().map((child) => [child, level + 1]));
      }
      return lines.join("\n");
    },
    text() {
      const text = (document.querySelector("article, main") ?? document.body)?.innerText ?? "";
      return text.length > LIMIT ? `${text.slice(0, LIMIT)}\n[${text.length - LIMIT} more characters are not shown]` : text;
    },
    // No model: an element fits if it has words of the query, and the more the better.
    find(query) {
      const words = query.toLowerCase().split(/\W+/).filter((word) => word.length > 1);
      const found = [...document.querySelectorAll("body *")].filter((e) => role(e) && visible(e)).map((e) => {
        const text = `${role(e)} ${label(e)} ${e.id} ${e.getAttribute("name") ?? ""} ${e.type ?? ""}`.toLowerCase().split(/\W+/);
        return [words.filter((word) => text.includes(word)).length, e];
      });
      return found.filter(([score]) => score > 0).sort(([a], [b]) => b - a).slice(0, 20).map(([, e]) => line(e)).join("\n");
    },
    point(name) {
      const e = element(name);
      e.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
      const box = e.getBoundingClientRect();
      if (box.width === 0 || box.height === 0) throw new Error(`${name} is not visible`);
      return [Math.round(box.left + box.width / 2), Math.round(box.top + box.height / 2)];
    },
    set(name, value) {
      const e = element(name), of = role(e);
      if (e.disabled) throw new Error(`${name} is disabled`);
      if (of === "checkbox" || of === "radio") {
        if (typeof value !== "boolean") throw new Error(`${name} is a ${of}: the value must be true or false`);
        if (e.checked !== value) e.click();
      } else if (e.localName === "select") {
        const option = [...e.options].find((option) => option.value === String(value) || one(option.textContent) === one(String(value)));
        if (!option) throw new Error(`${name} has no option ${JSON.stringify(value)}; options: ${[...e.options].map((option) => one(option.textContent)).join(", ")}`);
        e.value = option.value;
      } else if (e.localName === "input" || e.localName === "textarea") {
        if (e.type === "file") throw new Error(`${name} takes files, not a value`);
        e.focus();
        e.value = String(value);
      } else throw new Error(`${name} is not a form element`);
      e.dispatchEvent(new Event("input", { bubbles: true }));
      e.dispatchEvent(new Event("change", { bubbles: true }));
    },
  };
})();
