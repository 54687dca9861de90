// The review page's keyboard and citations. Everything here has a mouse and a no-JavaScript way, too.
"use strict";

const items = () => [...document.querySelectorAll("[data-item]")];
let current = -1;

function cite(from, to) {
  document.querySelectorAll(".source .is-cited").forEach((line) => line.classList.remove("is-cited"));
  const first = document.getElementById(`L${from}`);
  if (!first) return;
  for (let number = from; number <= to; number += 1) {
    document.getElementById(`L${number}`)?.classList.add("is-cited");
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

function mark(index) {
  const all = items();
  if (index < 0 || index >= all.length) return null;
  all.forEach((item, i) => item.classList.toggle("is-current", i === index));
  current = index;
  return all[index];
}

function go(index) {
  const item = mark(index);
  if (!item) return;
  item.scrollIntoView({ block: "start" });
  const target = item.querySelector("input:checked, input[type=radio], select, textarea");
  (target ?? item).focus({ preventScroll: true });
  const chip = item.querySelector("[data-cite-from]");
  if (chip) cite(Number(chip.dataset.citeFrom), Number(chip.dataset.citeTo));
}

function use(button) {
  const text = button.closest("[data-item]").querySelector("textarea, input[type=text]");
  if (!text) return;
  text.value = text.value.trim() ? `${text.value.trim()}\n${button.dataset.use}` : button.dataset.use;
  text.dispatchEvent(new Event("input", { bubbles: true }));
  text.dispatchEvent(new Event("change", { bubbles: true }));
  text.focus();
}

const KEYS = {
  j: () => go(current + 1),
  k: () => go(current - 1),
  a: (item) => item?.querySelector("[data-use]")?.click(),
  e: (item) => item?.querySelector("textarea, input[type=text]")?.focus(),
};

document.addEventListener("click", (event) => {
  const chip = event.target.closest("[data-cite-from]");
  if (chip) {
    event.preventDefault();
    cite(Number(chip.dataset.citeFrom), Number(chip.dataset.citeTo));
  }
  const button = event.target.closest("[data-use]");
  if (button) use(button);
});

document.addEventListener("focusin", (event) => {
  const item = event.target.closest("[data-item]");
  if (item) mark(items().indexOf(item));
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const field = event.target.closest("textarea, select, input:not([type=radio], [type=checkbox])");
  if (event.key === "Escape" && field) field.blur();
  if (field) return;
  const item = items()[current];
  if (event.key in KEYS) {
    event.preventDefault();
    KEYS[event.key](item);
  } else if (/^[1-9]$/.test(event.key)) {
    item?.querySelectorAll("input[type=radio]")[Number(event.key) - 1]?.click();
  }
});
