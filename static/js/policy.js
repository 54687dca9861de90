// Facts complete themselves while a rule is written: the list below the editor narrows with each letter; Tab takes the
// first one, a click takes any. Without this script the same facts stand beside the editor.
"use strict";

const editor = document.querySelector("textarea[data-facts]");
const offers = document.getElementById("fact-offers");
const known = [...document.querySelectorAll("[data-fact]")].map((node) => ({
  name: node.dataset.fact,
  title: node.dataset.title,
}));
const MOST = 6;

/** The word before the caret, when it can become a fact: letters, digits, dots. */
function begun() {
  const before = editor.value.slice(0, editor.selectionStart);
  return editor.selectionStart === editor.selectionEnd ? (/[a-z][a-z0-9_.]*$/.exec(before)?.[0] ?? "") : "";
}

function fitting(word) {
  if (word.length < 2) return [];
  const found = known.filter((fact) => fact.name.startsWith(word) && fact.name !== word);
  return found.concat(known.filter((fact) => !fact.name.startsWith(word) && fact.name.includes(`.${word}`))).slice(0, MOST);
}

function take(name) {
  const start = editor.selectionStart - begun().length;
  editor.setRangeText(name, start, editor.selectionEnd, "end");
  editor.dispatchEvent(new Event("input", { bubbles: true }));
  editor.focus();
}

function show() {
  const found = fitting(begun());
  offers.replaceChildren(
    ...found.map((fact) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "chip chip-button";
      button.title = fact.title;
      button.textContent = fact.name;
      button.addEventListener("click", () => take(fact.name));
      return button;
    }),
  );
}

if (editor && offers) {
  editor.addEventListener("input", show);
  editor.addEventListener("click", show);
  editor.addEventListener("keyup", (event) => event.key.startsWith("Arrow") && show());
  editor.addEventListener("keydown", (event) => {
    const first = offers.querySelector("button");
    // Only while something is offered, so that Tab leaves the editor as everywhere else; Escape takes the offer away.
    if (event.key === "Tab" && !event.shiftKey && first) {
      event.preventDefault();
      first.click();
    } else if (event.key === "Escape") {
      offers.replaceChildren();
    }
  });
}
