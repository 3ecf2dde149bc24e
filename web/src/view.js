/**
 * The page as it is seen: writes the DOM, at most once a frame, and never reads the network.
 *
 * The captions themselves are in captionrow.js.
 *
 * @module
 */

import { isWaiting, newestLines, transcript } from "./captions.js";
import { direction } from "./languages.js";
import { BUDGET_MS, percentile } from "./meter.js";
import { CaptionRow } from "./captionrow.js";

/**
 * @typedef {import("./captions.js").State} State
 * @typedef {import("./captions.js").Segment} Segment
 * @typedef {import("./meter.js").Meter} Meter
 * @typedef {import("./settings.js").PageSettings} PageSettings
 *
 * @typedef {object} Model everything that the page shows
 * @property {State} captions
 * @property {Meter} meter
 * @property {PageSettings} settings
 * @property {{state: string, text: string}} connection
 * @property {string} notice shown over the transcript, "" = none
 * @property {boolean} canReconnect
 */

const SPARK_UPDATES = 48;
const SPARK_CEILING_MS = 2 * BUDGET_MS;
const NEAR_BOTTOM_PX = 40;
export const WAITING_MS = 700;

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

/** Draws models; each frame shows the newest one. */
export class View {
  /** @type {Map<string, CaptionRow>} */
  #rows = new Map();
  #log = new TranscriptList(element("log"), element("transcript"));
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
    if (model.settings !== this.#shown?.settings) this.#applySettings(model.settings);
    this.#writeRows(model);
    const isInRow = (/** @type {string} */ id) =>
      [...this.#rows.values()].every((row) => row.showsWhole(id));
    this.#log.draw(model.captions, model.settings, isInRow);
    const isEmpty = model.captions.segments.length === 0;
    element("page").classList.toggle("is-empty", isEmpty);
    if (model.meter !== this.#shown?.meter) drawMeter(model.meter);
    drawConnection(model);
    this.#shown = model;
  }

  /** @param {PageSettings} settings */
  #applySettings(settings) {
    const root = document.documentElement;
    root.dataset["theme"] = settings.theme;
    root.classList.toggle("obs", settings.isObs);
    const { style } = root;
    setProperty(style, "--lines", String(settings.numLines));
    setProperty(style, "--caption-size", settings.sizePx === null ? null : `${settings.sizePx}px`);
    setProperty(style, "--caption-color", settings.color);
    setProperty(style, "--caption-background", settings.background);
    setProperty(style, "--caption-align", settings.align);
    element("page").dataset["targets"] = String(settings.targets.length);
    element("page").classList.toggle("is-multiple", settings.targets.length > 1);
    element("page").classList.toggle("is-dual", settings.isDual);
    this.#arrangeRows(settings);
  }

  /**
   * One row a target, in their order, and one for the source in bilingual mode.
   *
   * @param {PageSettings} settings
   */
  #arrangeRows({ targets, source, numLines }) {
    const wanted = ["", ...targets];
    for (const [key, row] of this.#rows) {
      if (!wanted.includes(key)) {
        row.root.remove();
        this.#rows.delete(key);
      }
    }
    const stage = element("caption-rows");
    for (const key of wanted) {
      const row = this.#rows.get(key) ?? new CaptionRow(key);
      this.#rows.set(key, row);
      if (key === "") row.setLanguage(source);
      row.reset(numLines);
      stage.append(row.root);
    }
  }

  /** @param {Model} model */
  #writeRows({ captions, settings }) {
    const count = settings.numLines + 1; // each has a line or more, and one is rolling out
    for (const [key, row] of this.#rows) {
      const shown = key === "" ? newestSources(captions, count) : newestLines(captions, key, count);
      row.draw(shown);
    }
  }
}

/**
 * The source in the shape of a translation, so that one kind of row shows both.
 *
 * @param {State} state
 * @param {number} count
 * @returns {import("./captions.js").Shown[]}
 */
function newestSources(state, count) {
  return state.segments.slice(-count).map((segment) => {
    const { source, sourceUnstable, isCommitted } = segment;
    const line = { stable: source, unstable: sourceUnstable, received: "", isFinal: isCommitted };
    return { segment, line };
  });
}

/** What is over, in order: finals as a log that screen readers follow, and what waits for one. */
class TranscriptList {
  #list;
  #scroller;
  /** @type {Map<string, HTMLLIElement>} */
  #items = new Map();
  /** @type {Map<string, number>} when a segment without a final was seen first */
  #waiting = new Map();
  #isFollowing = true;

  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} scroller
   */
  constructor(list, scroller) {
    this.#list = list;
    this.#scroller = scroller;
    scroller.addEventListener("scroll", () => {
      const { scrollTop, scrollHeight, clientHeight } = scroller;
      this.#isFollowing = scrollTop + clientHeight >= scrollHeight - NEAR_BOTTOM_PX;
    });
    // Another size, a second language, a phone's keyboard: who was at the end stays there.
    new ResizeObserver(() => this.#follow()).observe(scroller);
    new ResizeObserver(() => this.#follow()).observe(list);
  }

  #follow() {
    if (this.#isFollowing) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /**
   * @param {State} state
   * @param {PageSettings} settings
   * @param {(id: string) => boolean} isInRow such a segment is in the log, but not seen twice
   */
  draw(state, settings, isInRow) {
    const segments = transcript(state).filter((segment) => this.#isShown(segment));
    const ids = new Set(segments.map(({ id }) => id));
    for (const [id, item] of this.#items) {
      if (ids.has(id)) continue;
      item.remove();
      this.#items.delete(id);
    }
    for (const [index, segment] of segments.entries()) {
      const item = this.#items.get(segment.id) ?? this.#create(segment, settings);
      const present = this.#list.children[index] ?? null;
      if (present !== item) this.#list.insertBefore(item, present);
      addFinals(item, segment, settings.targets);
      item.classList.toggle("is-waiting", isWaiting(segment));
      item.ariaHidden = String(isWaiting(segment)); // read out once, with its translation
      item.classList.toggle("is-in-caption-row", isInRow(segment.id));
    }
    this.#follow();
  }

  /**
   * A final comes soon, as a rule: only what waits for longer is shown without one.
   *
   * @param {Segment} segment
   */
  #isShown(segment) {
    if (!isWaiting(segment)) {
      this.#waiting.delete(segment.id);
      return true;
    }
    if (!segment.isCommitted) return false; // stands where it is being written
    const since = this.#waiting.get(segment.id);
    if (since === undefined) this.#waiting.set(segment.id, performance.now());
    return since !== undefined && performance.now() - since >= WAITING_MS;
  }

  /**
   * @param {Segment} segment
   * @param {PageSettings} settings
   */
  #create(segment, settings) {
    const item = document.createElement("li");
    item.dataset["segment"] = segment.id;
    const time = document.createElement("time");
    time.textContent = segment.startMs === null ? "" : minutes(segment.startMs);
    const source = paragraph("source", settings.source, segment.source);
    item.append(time, source);
    this.#items.set(segment.id, item);
    return item;
  }
}

/**
 * @param {HTMLLIElement} item
 * @param {Segment} segment
 * @param {readonly string[]} targets each final is written once and stays
 */
function addFinals(item, segment, targets) {
  for (const [language, line] of Object.entries(segment.lines)) {
    const written = item.querySelector(`.final[lang="${CSS.escape(language)}"]`);
    if (line.isFinal && !written) {
      const final = paragraph("final", language, line.stable);
      final.style.order = String(1 + Math.max(0, targets.indexOf(language)));
      item.append(final);
    }
  }
}

/**
 * @param {string} className
 * @param {string} language
 * @param {string} text
 */
function paragraph(className, language, text) {
  const created = document.createElement("p");
  created.className = className;
  created.textContent = text;
  if (language !== "auto") created.lang = language;
  created.dir = language === "auto" ? "auto" : direction(language);
  return created;
}

/** @param {Meter} meter */
function drawMeter({ totals, count, within, roundTripMs }) {
  const p95 = percentile(totals, 0.95);
  const isOver = p95 !== null && p95 > BUDGET_MS;
  element("meter-median").textContent = milliseconds(percentile(totals, 0.5));
  element("meter-p95").textContent = milliseconds(p95);
  element("meter-within").textContent =
    count === 0 ? "–" : `${Math.floor((100 * within) / count)} %`;
  element("meter-round-trip").textContent = milliseconds(roundTripMs);
  element("meter").classList.toggle("is-over", isOver);
  element("meter-verdict").textContent = isOver ? `is over ${BUDGET_MS} ms` : "";
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

/**
 * @param {HTMLElement} target
 * @param {string} text
 */
function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** @param {number | null} ms */
function milliseconds(ms) {
  if (ms === null) return "–";
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

/** @param {number} ms */
function minutes(ms) {
  const seconds = Math.floor(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/**
 * @param {CSSStyleDeclaration} style
 * @param {string} name
 * @param {string | null} value null = as the style sheet says
 */
function setProperty(style, name, value) {
  if (value === null) style.removeProperty(name);
  else style.setProperty(name, value);
}
