// <form data-guard>: asks before leaving with unsaved typing. Sending the form, or saving it with htmx, clears the mark.
"use strict";

const dirty = new Set();
// Forms on their way to the server: the page is about to be replaced.
const sent = new Set();

document.addEventListener("input", (event) => {
  const form = event.target.closest?.("form[data-guard]");
  if (form) dirty.add(form);
});
document.addEventListener("submit", (event) => {
  dirty.clear();
  // A second click would send the same decision twice. Disabled after the browser has collected the form's data.
  const button = event.submitter;
  if (!button || event.target.method !== "post") return;
  setTimeout(() => {
    if (event.defaultPrevented) return;
    sent.add(event.target);
    button.disabled = true;
    button.dataset.busy = "";
  }, 0);
});
// A question asked from a form that is being sent would be cut off when the next page comes, as an error.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (sent.has(event.target.closest?.("form"))) event.preventDefault();
});
document.addEventListener("htmx:afterRequest", (event) => {
  const form = event.target.closest?.("form[data-guard]");
  // A lookup (GET) saves nothing, so what was typed is still unsaved after it.
  if (form && event.detail.successful && event.detail.requestConfig.verb !== "get") dirty.delete(form);
});
addEventListener("pageshow", () => {
  sent.clear();
  // Coming back with the browser's Back button shows the page as it was left: free the buttons.
  document.querySelectorAll("button[data-busy]").forEach((button) => {
    button.disabled = false;
    delete button.dataset.busy;
  });
});
addEventListener("beforeunload", (event) => {
  for (const form of dirty) {
    if (form.isConnected) {
      event.preventDefault();
      return;
    }
  }
});

// The first thing to read after a refused form is why.
document.querySelector("[data-focus-first]")?.focus();
