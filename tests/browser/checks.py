"""What is true of every page, checked inside the browser. Each check returns sentences; none is none."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.browser.windows import DESKTOP, HEIGHT, PHONE

_STRUCTURE = """() => {
  const found = [];
  const shown = (node) => node.checkVisibility();
  const words = (node) => (node.getAttribute("aria-label") || node.textContent || node.title || "").trim();
  const where = (node) => node.outerHTML.slice(0, 120).replaceAll(/\\s+/g, " ");
  const headings = [...document.querySelectorAll("h1")].filter(shown);
  if (headings.length !== 1) found.push(`${headings.length} h1`);
  if (headings.some((node) => !words(node))) found.push("an empty h1");
  if (!/^.+ · Assay$/.test(document.title)) found.push(`title is ${document.title}`);
  if (document.documentElement.lang !== "en") found.push("no language");
  if (document.querySelectorAll("main").length !== 1) found.push("not one main");
  for (const node of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    const labels = [...(node.labels ?? [])].map(words).join("") || node.getAttribute("aria-label");
    if (!labels) found.push(`no label: ${where(node)}`);
  }
  for (const node of document.querySelectorAll("button, a[href], summary")) {
    if (!words(node)) found.push(`no words: ${where(node)}`);
  }
  for (const node of document.querySelectorAll("[aria-labelledby], [aria-describedby], [aria-controls]")) {
    for (const name of ["aria-labelledby", "aria-describedby", "aria-controls"]) {
      for (const id of (node.getAttribute(name) ?? "").split(" ").filter(Boolean)) {
        if (!document.getElementById(id)) found.push(`${name} leads nowhere: ${where(node)}`);
      }
    }
  }
  for (const node of document.querySelectorAll("img:not([alt])")) found.push(`no alt: ${where(node)}`);
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  for (const id of new Set(ids.filter((id, index) => ids.indexOf(id) !== index))) found.push(`two of #${id}`);
  return found;
}"""

_SIDEWAYS = """() => {
  const root = document.documentElement;
  const over = Math.max(root.scrollWidth, document.body.scrollWidth) - root.clientWidth;
  if (over <= 0) return [];
  const wide = [...document.querySelectorAll("main *")].filter(
    (node) => node.getBoundingClientRect().right > root.clientWidth + 1);
  return [`${over} px too wide, ${wide.length ? wide[0].outerHTML.slice(0, 120).replaceAll(/\\s+/g, " ") : "somewhere"}`];
}"""


def structure(page: Page) -> list[str]:
    """One h1, a title, labelled inputs, buttons and links with words, ids that are unique and lead somewhere."""
    found: list[str] = page.evaluate(_STRUCTURE)
    return found


def sideways(page: Page) -> list[str]:
    """Widths and themes in which the page scrolls sideways. Leaves it at the desktop's width, light."""
    found = []
    for width in (PHONE, DESKTOP):
        page.set_viewport_size({"width": width, "height": HEIGHT})
        for theme in ("dark", "light"):
            page.emulate_media(color_scheme=theme)
            found += [f"{width} px, {theme}: {sentence}" for sentence in page.evaluate(_SIDEWAYS)]
    return found
