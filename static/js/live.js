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
  failed(words("signedOut"));
});
document.addEventListener("htmx:responseError", (event) => {
  const status = event.detail.xhr.status;
  if (status === 401 || status === 403) {
    failed(words("refused"));
  } else if (status === 429) {
    failed(words("tooMany"));
  } else {
    failed(words("serverError").replace("{status}", status));
  }
});
for (const name of ["htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(name, () => failed(words("unreachable")));
}
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) document.getElementById("request-failed")?.remove();
});
announce();
