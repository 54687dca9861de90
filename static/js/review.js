// The review page's keyboard and citations. Everything here has a mouse and a no-JavaScript way, too.
"use strict";

const items = () => [...document.querySelectorAll("[data-item]")];
// By id, not by node: a saved item is a new node.
let currentId = "";
const currentIndex = () => items().findIndex((item) => item.id === currentId);
const currentItem = () => document.getElementById(currentId);

function cite(prefix, from, to) {
  document.querySelectorAll(".source .is-cited").forEach((line) => line.classList.remove("is-cited"));
  const first = document.getElementById(`${prefix}${from}`);
  if (!first) return;
  for (let number = from; number <= to; number += 1) {
    document.getElementById(`${prefix}${number}`)?.classList.add("is-cited");
  }
  document.querySelector("tab-set")?.reveal(first);
  scrollWithin(first);
}

/** Scrolls only the card's own box: the page, and with it the item being answered, stays where it is. */
function scrollWithin(line) {
  const box = line.closest(".scroll");
  if (!box || box.scrollHeight <= box.clientHeight) return;
  const offset = line.getBoundingClientRect().top - box.getBoundingClientRect().top;
  box.scrollTop += offset - box.clientHeight / 3;
}

function citeChip(chip) {
  cite(chip.dataset.cite, Number(chip.dataset.citeFrom), Number(chip.dataset.citeTo));
}

function mark(item) {
  document.querySelectorAll(".item.is-current").forEach((other) => other.classList.remove("is-current"));
  item.classList.add("is-current");
  currentId = item.id;
}

/** To the item: its section opens, its lines in the card are shown, and Tab goes on from here. */
function go(index) {
  const item = items()[index];
  if (!item) return;
  const section = item.closest("[data-section]");
  if (section) section.open = true;
  mark(item);
  item.focus({ preventScroll: true });
  item.scrollIntoView({ block: "start" });
  const chip = item.querySelector("[data-cite]");
  if (chip) citeChip(chip);
}

function edit(item) {
  const correct = item?.querySelector("[data-correct]");
  if (!correct) return;
  correct.open = true;
  correct.querySelector("input:checked, input:not([type=hidden]), textarea")?.focus();
}

function comment(item) {
  const box = item?.querySelector("[data-comment]");
  if (!box) return;
  box.open = true;
  box.querySelector("textarea")?.focus();
}

/** With nothing open it explains the item; the list of keys comes with it. */
function help(item) {
  const keys = document.getElementById("keys-help");
  const guidance = item?.querySelector("[data-guidance]");
  const open = !(guidance ?? keys).open;
  keys.open = open;
  if (guidance) guidance.open = open;
}

function use(button) {
  const text = button.closest("[data-item]").querySelector("[data-correct] textarea");
  if (!text) return;
  text.closest("[data-correct]").open = true;
  text.value = text.value.trim() ? `${text.value.trim()}\n${button.dataset.use}` : button.dataset.use;
  text.dispatchEvent(new Event("input", { bubbles: true }));
  text.dispatchEvent(new Event("change", { bubbles: true }));
  text.focus();
}

const KEYS = {
  j: () => go(currentIndex() + 1),
  k: () => go(currentIndex() < 0 ? items().length - 1 : currentIndex() - 1),
  a: (item) => item?.querySelector("[data-accept]")?.click(),
  e: edit,
  c: comment,
  "?": help,
};

document.addEventListener("click", (event) => {
  const chip = event.target.closest("[data-cite]");
  if (chip) {
    event.preventDefault();
    citeChip(chip);
  }
  const button = event.target.closest("[data-use]");
  if (button) use(button);
});

// A comment is no answer: leaving its field must not save the item, and move the button away under the pointer.
document.addEventListener(
  "change",
  (event) => {
    if (event.target.closest(".threads")) event.stopPropagation();
  },
  true,
);

document.addEventListener("focusin", (event) => {
  const item = event.target.closest("[data-item]");
  if (item) mark(item);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const field = event.target.closest("textarea, select, input:not([type=radio], [type=checkbox])");
  const item = currentItem();
  if (event.key === "Escape" && event.target.closest("[data-item]")) {
    event.target.blur();
    item?.focus({ preventScroll: true });
  }
  if (field) return;
  if (event.key in KEYS) {
    event.preventDefault();
    KEYS[event.key](item);
  } else if (/^[1-9]$/.test(event.key)) {
    item?.querySelectorAll("[data-correct][open] input[type=radio][name$='-verdict']")[Number(event.key) - 1]?.click();
  }
});

// 409: somebody else answered meanwhile. The answer says so in the item itself, with both texts.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.status === 409 && event.target.closest?.("[data-item]")) {
    event.detail.shouldSwap = true;
    event.detail.isError = false;
  }
});

// A saved item is a new node: keep the keyboard where it was.
document.addEventListener("htmx:afterSettle", () => {
  const item = currentItem();
  if (!item) return;
  item.classList.add("is-current");
  if (document.activeElement === document.body) item.focus({ preventScroll: true });
});

// A link to an item (#item-license), from a finding or from a mention, opens its section.
function openTarget() {
  const item = location.hash.startsWith("#item-") ? document.getElementById(location.hash.slice(1)) : null;
  if (item) go(items().indexOf(item));
}
addEventListener("hashchange", openTarget);
openTarget();
