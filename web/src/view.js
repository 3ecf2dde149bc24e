/**
 * What the page shows: writes the DOM, at most once a frame, and never uses the network.
 *
 * The captions themselves are in column.js.
 *
 * @module
 */

import { isWaiting, transcript } from "./captions.js";
import { Column, setText } from "./column.js";
import { languageName } from "./languages.js";
import { BUDGET_MS, percentile } from "./meter.js";
import { say } from "./strings.js";

/**
 * @typedef {import("./captions.js").State} State
 * @typedef {import("./captions.js").Segment} Segment
 * @typedef {import("./column.js").Item} Item
 * @typedef {import("./meter.js").Meter} Meter
 * @typedef {import("./settings.js").PageSettings} PageSettings
 * @typedef {import("./strings.js").Strings} Strings
 *
 * @typedef {object} Model everything that the page shows
 * @property {State} captions
 * @property {Meter} meter
 * @property {PageSettings} settings
 * @property {Strings} strings
 * @property {{state: string, text: string}} connection
 * @property {string} notice shown over the captions, "" = none
 * @property {boolean} canReconnect
 */

const SPARK_UPDATES = 48;
const SPARK_CEILING_MS = 2 * BUDGET_MS;
export const WAITING_MS = 700;
const SOURCE = ""; // the column of the source

/**
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no element #${id}`);
  return /** @type {T} */ (found);
}

/** Draws models, in each frame the newest one. */
export class View {
  /** @type {Map<string, Column>} in order; that of the source first */
  #columns = new Map();
  /** @type {Map<string, number>} when a segment without a final was first seen */
  #waiting = new Map();
  /** @type {Model | null} */
  #next = null;
  /** @type {Model | null} */
  #shown = null;

  /** @param {Model} model */
  draw(model) {
    const isScheduled = this.#next !== null;
    this.#next = model;
    if (!isScheduled) requestAnimationFrame(() => this.#write());
  }

  #write() {
    const model = this.#next;
    if (!model) return;
    this.#next = null;
    const isOther = model.strings !== this.#shown?.strings;
    if (isOther || model.settings !== this.#shown?.settings) this.#apply(model);
    const segments = transcript(model.captions);
    element("page").classList.toggle("is-empty", segments.length === 0);
    const late = this.#late(segments);
    for (const [target, column] of this.#columns) {
      column.draw(itemsOf(segments, target, model.settings, late));
      column.begin();
    }
    if (model.meter !== this.#shown?.meter || isOther) drawMeter(model.meter, model.strings);
    drawConnection(model);
    this.#shown = model;
  }

  /** @param {Model} model */
  #apply({ settings, strings }) {
    const root = document.documentElement;
    root.dataset["theme"] = settings.theme;
    root.classList.toggle("obs", settings.isObs);
    const { style } = root;
    setProperty(style, "--lines", String(settings.numLines));
    setProperty(style, "--caption-size", settings.sizePx === null ? null : `${settings.sizePx}px`);
    setProperty(style, "--caption-color", settings.color);
    setProperty(style, "--caption-background", settings.background);
    setProperty(style, "--caption-align", settings.align);
    const page = element("page");
    page.classList.toggle("is-multiple", settings.targets.length > 1);
    page.classList.toggle("is-dual", settings.isDual);
    this.#arrange(settings, strings);
  }

  /**
   * One column per target, in order, and one for the source if there are several.
   *
   * @param {PageSettings} settings
   * @param {Strings} strings
   */
  #arrange({ targets, source }, strings) {
    const wanted = targets.length > 1 ? [SOURCE, ...targets] : targets;
    for (const [target, column] of this.#columns) {
      if (wanted.includes(target)) continue;
      column.root.remove();
      this.#columns.delete(target);
    }
    const place = element("columns");
    for (const [index, target] of wanted.entries()) {
      const isSource = target === SOURCE;
      const column = this.#columns.get(target) ?? new Column({ language: target, isLog: !isSource });
      this.#columns.set(target, column);
      column.root.dataset["target"] = target;
      const language = isSource && source !== "auto" ? source : target;
      column.setLanguage(language);
      const label = language === "" ? say(strings, "original") : languageName(language);
      column.setTexts(label, say(strings, "now"));
      if (place.children[index] !== column.root) {
        place.insertBefore(column.root, place.children[index] ?? null);
      }
    }
  }

  /**
   * A final usually comes soon: only a segment that waits for longer is shown as late.
   *
   * @param {readonly Segment[]} segments
   * @returns {Set<string>}
   */
  #late(segments) {
    /** @type {Set<string>} */
    const late = new Set();
    for (const segment of segments) {
      if (!segment.isCommitted || !isWaiting(segment)) {
        this.#waiting.delete(segment.id);
        continue;
      }
      const since = this.#waiting.get(segment.id) ?? performance.now();
      this.#waiting.set(segment.id, since);
      if (performance.now() - since >= WAITING_MS) late.add(segment.id);
    }
    return late;
  }
}

/**
 * What a column shows of a transcript.
 *
 * @param {readonly Segment[]} segments
 * @param {string} target
 * @param {PageSettings} settings
 * @param {ReadonlySet<string>} late segments that have waited for their translation
 * @returns {Item[]}
 */
function itemsOf(segments, target, { isDual, targets }, late) {
  const isFirst = target === targets[0];
  return segments.flatMap(({ id, source, sourceUnstable, isCommitted, lines }) => {
    const item = { id, isWaiting: false, source: "", speaker: "" };
    if (target === SOURCE) {
      return [{ ...item, text: source, unstable: sourceUnstable, isFinal: isCommitted }];
    }
    const said = (source + sourceUnstable).trim();
    const above = isDual && isFirst ? said : "";
    const line = lines[target];
    if (line && (line.stable || line.unstable)) {
      const { stable: text, unstable, isFinal } = line;
      const isWaiting = late.has(id); // the rest was said while there was no connection
      return [{ ...item, text, unstable, isFinal, isWaiting, source: isWaiting ? said : above }];
    }
    if (late.has(id)) {
      return [{ ...item, text: "", unstable: said, isFinal: false, isWaiting: true }];
    }
    const isOpen = above !== "" && Object.keys(lines).length === 0;
    return isOpen ? [{ ...item, text: "", unstable: "", isFinal: false, source: above }] : [];
  });
}

/**
 * @param {Meter} meter
 * @param {Strings} strings
 */
function drawMeter({ totals, count, within, roundTripMs }, strings) {
  const p95 = percentile(totals, 0.95);
  const isOver = p95 !== null && p95 > BUDGET_MS;
  element("meter-median").textContent = milliseconds(percentile(totals, 0.5));
  element("meter-p95").textContent = milliseconds(p95);
  element("meter-within").textContent =
    count === 0 ? "–" : `${Math.floor((100 * within) / count)} %`;
  element("meter-round-trip").textContent = milliseconds(roundTripMs);
  element("meter").classList.toggle("is-over", isOver);
  element("meter-budget").textContent = say(strings, "within", { ms: BUDGET_MS });
  element("meter-verdict").textContent = isOver ? say(strings, "over", { ms: BUDGET_MS }) : "";
  const bars = totals.slice(-SPARK_UPDATES).map((totalMs, index) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = Math.max(1, Math.min(1, totalMs / SPARK_CEILING_MS) * 24);
    bar.setAttribute("x", String(index * 3));
    bar.setAttribute("y", String(24 - height));
    bar.setAttribute("width", "2");
    bar.setAttribute("height", String(height));
    if (totalMs > BUDGET_MS) bar.setAttribute("class", "over");
    return bar;
  });
  element("spark-bars").replaceChildren(...bars);
}

/** @param {Model} model */
function drawConnection({ connection, notice, canReconnect }) {
  element("connection").dataset["state"] = connection.state;
  setText(element("connection-text"), connection.text);
  setText(element("notice-text"), notice);
  element("notice").hidden = notice === "";
  element("reconnect").hidden = !canReconnect;
}

/** @param {number | null} ms */
function milliseconds(ms) {
  if (ms === null) return "–";
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

/**
 * @param {CSSStyleDeclaration} style
 * @param {string} name
 * @param {string | null} value null = as in the style sheet
 */
function setProperty(style, name, value) {
  if (value === null) style.removeProperty(name);
  else style.setProperty(name, value);
}
