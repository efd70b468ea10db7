// Draws the items of a conversation. Text from the model, tools and the server is inserted only as
// text nodes.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

// Renders fenced code, inline code and paragraphs. Other Markdown stays as it was written.
function prose(text) {
  const body = element("div", { class: "body" });
  text.split(/^```[^\n]*\n([\s\S]*?)(?:^```\s*$|$(?![\s\S]))/m).forEach((part, index) => {
    if (index % 2 === 1) {
      body.append(element("pre", { tabindex: "0" }, element("code", {}, part.replace(/\n$/, ""))));
    } else if (part.trim()) {
      for (const paragraph of part.trim().split(/\n{2,}/)) {
        const pieces = paragraph.split(/`([^`\n]+)`/).map((piece, at) => (at % 2 === 1 ? element("code", {}, piece) : piece));
        body.append(element("p", {}, ...pieces));
      }
    }
  });
  return body;
}

function message(who, item) {
  const classes = `message ${item.kind}${item.streaming ? " streaming" : ""}`;
  return element("article", { class: classes, "aria-busy": item.streaming ? "true" : undefined }, element("span", { class: "who" }, who), prose(item.text));
}

const STATES = {
  running: ["running…", ""],
  waiting: ["waiting for you", "waiting"],
  denied: ["denied", "failed"],
  ended: ["not finished", ""],
  ok: ["done", "ok"],
  failed: ["failed", "failed"],
};

function resultBlocks(blocks) {
  if (typeof blocks === "string") return [element("pre", { tabindex: "0" }, blocks)];
  return (blocks ?? []).map((block) => {
    if (block.type === "text") return element("pre", { tabindex: "0" }, block.text);
    const source = block.source;
    if (block.type === "image" && source?.type === "base64" && /^image\/(png|jpeg|gif|webp)$/.test(source.media_type)) {
      return element("img", { src: `data:${source.media_type};base64,${source.data}`, alt: "Image from the tool" });
    }
    return element("pre", { tabindex: "0" }, JSON.stringify(block, null, 2));
  });
}

function tool(item, actions) {
  const [label, tone] = STATES[item.state] ?? ["", ""];
  const summary = element("summary", {}, element("span", { class: "name" }, item.name ?? "tool"), element("span", { class: `state ${tone}` }, label));
  const parts = element("div", { class: "parts" }, element("h3", {}, "Input"), element("pre", { tabindex: "0" }, JSON.stringify(item.input ?? {}, null, 2)));
  if (item.result !== undefined) parts.append(element("h3", {}, item.state === "failed" ? "Error" : "Result"), ...resultBlocks(item.result));
  const details = element("details", { class: "tool", open: actions.isOpen(item) }, summary, parts);
  details.addEventListener("toggle", () => actions.setOpen(item, details.open));
  const interrupt = item.state === "waiting" && actions.interruptOf(item.key);
  if (!interrupt) return details;
  const ask = interrupt.type === "user_input" ? question(interrupt, actions) : approval(item, interrupt, actions);
  return element("div", {}, details, ask);
}

function approval(item, interrupt, actions) {
  const answer = (approved) => (event) => {
    event.currentTarget.closest(".ask").querySelectorAll("button").forEach((button) => (button.disabled = true));
    actions.answer(interrupt.interrupt_id, { approved });
  };
  return element(
    "div",
    { class: "ask", role: "group", "aria-label": `Approval of ${item.name}` },
    element("p", {}, "Allow the agent to run ", element("code", {}, item.name ?? "this tool"), " with this input?"),
    element("div", { class: "bar" }, element("button", { type: "button", class: "good", onclick: answer(true) }, "Approve"), element("button", { type: "button", class: "danger", onclick: answer(false) }, "Reject")),
  );
}

function question(interrupt, actions) {
  const questions = interrupt.payload?.questions ?? [];
  const form = element("form", { class: "ask" });
  questions.forEach((asked, index) => {
    const type = asked.multiSelect ? "checkbox" : "radio";
    const options = (asked.options ?? []).map((option) => {
      const input = element("input", { type, name: `q${index}`, value: option.label, required: type === "radio" });
      return element("label", {}, input, element("span", {}, option.label, option.description && element("small", {}, option.description)));
    });
    if (!options.length) options.push(element("input", { type: "text", name: `q${index}`, required: true, "aria-label": asked.question }));
    form.append(element("fieldset", {}, element("legend", {}, asked.question), ...options));
  });
  form.append(element("div", { class: "bar" }, element("button", { type: "submit" }, "Answer")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const data = new FormData(form);
    const answers = Object.fromEntries(questions.map((asked, index) => [asked.question, data.getAll(`q${index}`).join(", ")]));
    form.querySelector("button").disabled = true;
    actions.answer(interrupt.interrupt_id, { answers });
  });
  return form;
}

export function draw(item, actions) {
  switch (item.kind) {
    case "user":
      return message("You", item);
    case "agent":
      return message("Agent", item);
    case "tool":
      return tool(item, actions);
    default:
      return element("p", { class: `note${item.tone === "bad" ? " bad" : ""}`, role: item.tone === "bad" ? "alert" : undefined }, item.text);
  }
}

export function welcome() {
  return element("div", { class: "welcome" }, element("strong", {}, "Talk to your agent"), "Its text, tool calls and approvals appear here as they happen.");
}
