// Small conveniences of the console. Each page works without them.

// <button data-copy="#id">: puts the text of #id on the clipboard, and says so to whoever sees and whoever listens.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.querySelector(button.dataset.copy);
  const text = source.value ?? source.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const selection = window.getSelection();
    selection.selectAllChildren(source);
    document.execCommand("copy");
  }
  button.dataset.label ??= button.textContent;  // by the second click it says "Copied"
  button.textContent = "Copied";
  button.setAttribute("aria-live", "polite");
  clearTimeout(button.dataset.timer);
  button.dataset.timer = setTimeout(() => { button.textContent = button.dataset.label; }, 2000);
});

// <input data-filter="#list">: shows those children of #list whose data-words begin with, or have, what is typed.
document.addEventListener("input", (event) => {
  const input = event.target.closest("[data-filter]");
  if (!input) return;
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const item of document.querySelector(input.dataset.filter).children) {
    item.hidden = !words.every((word) => item.dataset.words.includes(word));
    shown += item.hidden ? 0 : 1;
  }
  const status = document.querySelector(input.dataset.filterStatus);
  if (status) status.textContent = shown ? `${shown} shown` : "None of that name.";
});

// Return, in a filter that stands in a form which it is no part of, sends nothing.
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.closest("[data-filter]:not([name])")) event.preventDefault();
});

// <div data-scripted hidden>: what is of no use without a script.
document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll("[data-scripted]")) element.hidden = false;
});

// <select data-submits>: a choice that needs no button; the button beside it goes.
document.addEventListener("DOMContentLoaded", () => {
  for (const select of document.querySelectorAll("select[data-submits]")) {
    select.addEventListener("change", () => select.form.requestSubmit());
    select.form.querySelector("button").hidden = true;
  }
});

// The page is hidden until unfold's script runs, so the browser could give nothing the focus by itself. After a refused
// form it is at what says why.
document.addEventListener("alpine:initialized", () => {
  const refusal = document.querySelector(".error[role=alert]");
  if (refusal) refusal.tabIndex = -1;
  setTimeout(() => (document.querySelector("[autofocus]") ?? refusal)?.focus());
});
