// Three small custom elements. Each one improves markup that is already useful without JavaScript.
"use strict";

// What the scripts say, in the language of the page: `data-*` of #words in base.html.
const words = (name) => document.getElementById("words")?.dataset[name] ?? "";

const SVG = "http://www.w3.org/2000/svg";
// The sprite's address carries the static prefix; it is read from an icon that the server rendered.
const spriteOf = () => (document.querySelector("svg.icon use")?.getAttribute("href") || "").split("#")[0];

function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${spriteOf()}#${name}`);
  svg.append(use);
  return svg;
}

function say(sentence) {
  const live = document.getElementById("live");
  if (live) live.textContent = sentence;
}

/** <copy-button value="text"> or <copy-button for="id of the element whose text is copied">. */
class CopyButton extends HTMLElement {
  connectedCallback() {
    if (this.firstElementChild) return;
    this.button = document.createElement("button");
    this.button.type = "button";
    const label = this.getAttribute("label") || words("copy");
    this.button.setAttribute("aria-label", label);
    this.button.title = label;
    this.button.append(icon("copy"));
    this.button.addEventListener("click", () => this.copy());
    this.append(this.button);
  }

  get text() {
    const source = this.getAttribute("for");
    if (source) return document.getElementById(source)?.textContent.trim() ?? "";
    return this.getAttribute("value") ?? "";
  }

  async copy() {
    const copied = (await this.viaClipboard()) || this.viaSelection();
    this.dataset.state = copied ? "copied" : "failed";
    this.button.replaceChildren(icon(copied ? "check" : "x"));
    say(words(copied ? "copied" : "notCopied"));
    setTimeout(() => {
      delete this.dataset.state;
      this.button.replaceChildren(icon("copy"));
    }, 1500);
  }

  async viaClipboard() {
    // navigator.clipboard exists only on https and localhost; inside a company it is often plain http.
    try {
      await navigator.clipboard.writeText(this.text);
      return true;
    } catch {
      return false;
    }
  }

  viaSelection() {
    const area = document.createElement("textarea");
    area.value = this.text;
    area.className = "visually-hidden";
    this.append(area);
    area.select();
    let copied = false;
    try {
      copied = document.execCommand("copy");
    } catch {
      copied = false;
    }
    area.remove();
    this.button.focus();
    return copied;
  }
}

const UNITS = [
  ["year", 31536000],
  ["month", 2592000],
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];

/** <relative-time datetime="ISO"><time title="exact">exact</time></relative-time>: words now, the exact time on hover. */
class RelativeTime extends HTMLElement {
  connectedCallback() {
    this.time = this.querySelector("time");
    this.at = new Date(this.getAttribute("datetime"));
    if (!this.time || Number.isNaN(this.at.getTime())) return;
    this.update();
    this.timer = setInterval(() => this.update(), 30000);
  }

  disconnectedCallback() {
    clearInterval(this.timer);
  }

  update() {
    const seconds = (this.at.getTime() - Date.now()) / 1000;
    this.time.textContent = RelativeTime.words(seconds);
  }

  /** @param {number} seconds from now; negative is the past */
  static words(seconds) {
    const format = new Intl.RelativeTimeFormat(document.documentElement.lang || "en", { numeric: "always" });
    for (const [unit, size] of UNITS) {
      // 47 hours are 2 days and not "1 day": rounded, and a unit is used from 95 % of it on.
      if (Math.abs(seconds) >= size * 0.95) return format.format(Math.round(seconds / size), unit);
    }
    return words(seconds > 1 ? "soon" : "now");
  }
}

/**
 * <tab-set> around <section data-tab="Title"> panels: stacked sections without JavaScript, ARIA tabs with it.
 * An address that points into a hidden panel (#L12) opens that panel.
 */
class TabSet extends HTMLElement {
  connectedCallback() {
    this.panels = [...this.querySelectorAll(":scope > [data-tab], :scope > .scroll > [data-tab]")];
    if (this.panels.length < 2 || this.hasAttribute("data-ready")) return;
    const list = document.createElement("div");
    list.className = "tabs";
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", this.getAttribute("label") || words("views"));
    this.buttons = this.panels.map((panel, index) => this.button(panel, index));
    list.append(...this.buttons);
    this.prepend(list);
    this.dataset.ready = "";
    this.show(0);
    this.openTarget();
    addEventListener("hashchange", () => this.openTarget());
  }

  button(panel, index) {
    const button = document.createElement("button");
    const id = panel.id || `tab-${Math.random().toString(36).slice(2, 9)}`;
    panel.id = id;
    panel.setAttribute("role", "tabpanel");
    button.type = "button";
    button.id = `${id}-tab`;
    button.textContent = panel.dataset.tab;
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", id);
    panel.setAttribute("aria-labelledby", button.id);
    button.addEventListener("click", () => this.show(index));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const next = (index + step + this.buttons.length) % this.buttons.length;
      this.show(next);
      this.buttons[next].focus();
    });
    return button;
  }

  show(index) {
    this.panels.forEach((panel, i) => (panel.hidden = i !== index));
    this.buttons.forEach((button, i) => {
      button.setAttribute("aria-selected", String(i === index));
      button.tabIndex = i === index ? 0 : -1;
    });
  }

  /** Opens the panel that holds `element`; true when it was found. */
  reveal(element) {
    const index = this.panels.findIndex((panel) => panel.contains(element));
    if (index < 0 || !this.buttons) return false;
    this.show(index);
    return true;
  }

  openTarget() {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && this.reveal(target)) target.scrollIntoView({ block: "center" });
  }
}

customElements.define("copy-button", CopyButton);
customElements.define("relative-time", RelativeTime);
customElements.define("tab-set", TabSet);
