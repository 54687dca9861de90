// The code audit's keyboard. Every key has a link or a button, too; no key gives a verdict by itself.
"use strict";

let flagged = -1;

function nextFlag() {
  const lines = [...document.querySelectorAll(".code-source .is-flagged")];
  if (!lines.length) return;
  flagged = (flagged + 1) % lines.length;
  document.querySelector("tab-set")?.reveal(lines[flagged]);
  lines[flagged].scrollIntoView({ block: "center" });
  lines[flagged].querySelector("a")?.focus({ preventScroll: true });
}

const STEPS = {
  j: () => document.querySelector('[data-step="j"]')?.click(),
  k: () => document.querySelector('[data-step="k"]')?.click(),
  n: nextFlag,
  p: () => document.querySelector("[data-pass]")?.focus(),
  f: () => document.querySelector("[data-reason]")?.focus(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const field = event.target.closest("textarea, select, input");
  if (event.key === "Escape" && field) field.blur();
  if (field || !(event.key in STEPS)) return;
  event.preventDefault();
  STEPS[event.key]();
});
