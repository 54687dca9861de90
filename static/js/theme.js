// Sets the theme before the first paint (loaded in <head>, blocking, tiny). Without a stored choice the system decides.
(function () {
  "use strict";
  var root = document.documentElement;
  var dark = window.matchMedia("(prefers-color-scheme: dark)");

  function stored() {
    try {
      return localStorage.getItem("assay-theme");
    } catch {
      return null; // storage may be blocked; the theme then follows the system
    }
  }

  function apply() {
    root.setAttribute("data-bs-theme", stored() || (dark.matches ? "dark" : "light"));
  }

  apply();
  dark.addEventListener("change", apply);

  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("[data-theme-toggle]").forEach(function (button) {
      button.hidden = false;
      button.addEventListener("click", function () {
        var next = root.getAttribute("data-bs-theme") === "dark" ? "light" : "dark";
        try {
          localStorage.setItem("assay-theme", next);
        } catch {
          // not stored: the choice lasts for this page
        }
        root.setAttribute("data-bs-theme", next);
      });
    });
  });
})();
