// What a swap changed is said once, in words, to screen readers; a failed request is said to everybody.
"use strict";

const region = () => document.getElementById("live");
let lastSaid = "";

function announce() {
  const sentence = document.querySelector("[data-announce]")?.dataset.announce ?? "";
  // A poll every two seconds must not read the same sentence again.
  if (sentence && sentence !== lastSaid && region()) region().textContent = sentence;
  lastSaid = sentence;
}

function failed(sentence) {
  const content = document.getElementById("content");
  if (!content) return;
  let note = document.getElementById("request-failed");
  if (!note) {
    note = document.createElement("div");
    note.id = "request-failed";
    note.className = "note note-bad";
    note.setAttribute("role", "alert");
    content.prepend(note);
  }
  note.textContent = sentence;
}

// A poll replaces a part of the page: what a person opened or scrolled there stays as it was.
let kept = new Map();
document.addEventListener("htmx:beforeSwap", (event) => {
  kept = new Map();
  for (const node of event.detail.target?.querySelectorAll?.("details[id], [data-keep-scroll][id]") ?? []) {
    kept.set(node.id, { open: node.open, top: node.scrollTop, atEnd: node.scrollTop + node.clientHeight >= node.scrollHeight - 4 });
  }
});
document.addEventListener("htmx:afterSettle", () => {
  for (const [id, was] of kept) {
    const node = document.getElementById(id);
    if (!node) continue;
    if (was.open !== undefined) node.open = was.open;
    node.scrollTop = was.atEnd ? node.scrollHeight : was.top;
  }
  announce();
});
// Signed out meanwhile. A poll of this very page goes to sign in and comes back; anything else has typing beside it,
// and its address is no page to come back to.
document.addEventListener("htmx:beforeOnLoad", (event) => {
  const { xhr, requestConfig, pathInfo } = event.detail;
  if (xhr.status !== 401) return;
  if (requestConfig.verb === "get" && pathInfo.requestPath === location.pathname) return;
  event.preventDefault();
  failed("You have been signed out, so this was not saved. Copy what you typed, then reload the page to sign in again.");
});
document.addEventListener("htmx:responseError", (event) => {
  const status = event.detail.xhr.status;
  if (status === 401 || status === 403) {
    failed("Assay refused that: you may have been signed out, or the rules changed. Reload the page to see why.");
  } else if (status === 429) {
    failed("Too many requests in a short time. Wait a minute, then try again.");
  } else {
    failed(`The server answered with an error (${status}). Nothing you typed is lost; try again in a moment.`);
  }
});
for (const name of ["htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(name, () => failed("The server could not be reached. Nothing you typed is lost; Assay tries again."));
}
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) document.getElementById("request-failed")?.remove();
});
announce();
