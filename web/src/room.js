/**
 * Wires the readers' page of a room: its line, its captions, what the reader has chosen.
 *
 * @module
 */

import { NOBODY, applyRoomEvent } from "./audience.js";
import { direction, languageName } from "./languages.js";
import { listen } from "./listen.js";
import { chooseLanguage, loadStrings, writeStrings } from "./strings.js";

/**
 * @typedef {import("./audience.js").Audience} Audience
 * @typedef {import("./audience.js").Spoken} Spoken
 */

const SOURCE = "source";
const STORAGE_KEY = "tokenspeed.reader";
const SIZE_STEP = 1.15;
const MIN_SIZE_PX = 14;
const MAX_SIZE_PX = 200;
const MAX_SHOWN = 400; // segments on the page; the transcript has all
const NEAR_PX = 48; // so close to the end counts as at the end
const THEMES = ["system", "light", "dark"];

/**
 * @typedef {object} Choice
 * @property {string} target
 * @property {boolean} hasSource
 * @property {number | null} sizePx
 * @property {string} theme
 */

const base = new URL("../", location.href).href;
const roomId = decodeURIComponent(location.pathname.split("/").at(-1) ?? "");
const query = new URLSearchParams(location.search);
const api = new URL(`v1/rooms/${encodeURIComponent(roomId)}`, base);

/** @param {string} id @returns {HTMLElement} */
function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element #${id}`);
  return found;
}

const captions = element("captions");
const log = element("log");
const live = element("live");
const open = element("open");
const picker = /** @type {HTMLSelectElement} */ (element("language"));

/** @type {Choice} */
let choice = { target: "", hasSource: false, sizePx: null, theme: "system", ...recalled() };
/** @type {Readonly<Record<string, string>>} */
let strings = {};
/** @type {readonly string[]} */
let targets = [];
/** @type {string | undefined} */
let pass = query.get("pass") ?? undefined;
/** @type {Audience} */
let audience = NOBODY;
/** @type {{close: () => void, reconnect: () => void} | null} */
let line = null;
let isFollowing = true;
/** @type {Map<number, Block>} */
const blocks = new Map();

/** One segment on the page. */
class Block {
  #speaker = document.createElement("span");
  #spoken = document.createElement("p");
  #said = document.createElement("p");
  #stable = document.createTextNode("");
  #unstable = document.createElement("span");

  /** @param {boolean} isFinal */
  constructor(isFinal) {
    this.isFinal = isFinal;
    this.root = document.createElement(isFinal ? "li" : "div");
    this.#speaker.className = "speaker";
    this.#spoken.className = "spoken";
    this.#spoken.dir = "auto";
    this.#said.className = "said";
    this.#unstable.className = "unstable";
    const target = choice.target === SOURCE ? "" : choice.target;
    this.#said.lang = target;
    this.#said.dir = target ? direction(target) : "auto";
    this.#said.append(this.#stable, this.#unstable);
    this.root.append(this.#speaker, this.#spoken, this.#said);
  }

  /**
   * @param {Spoken} spoken
   * @param {boolean} isOther whether somebody else spoke before
   */
  draw({ text, unstable, speaker, source }, isOther) {
    setText(this.#speaker, speaker);
    this.#speaker.hidden = speaker === "" || !isOther;
    setText(this.#spoken, source);
    this.#spoken.hidden = source === "";
    const shown = this.#stable.data;
    if (text.startsWith(shown)) {
      if (text.length > shown.length) this.#stable.appendData(text.slice(shown.length));
    } else this.#stable.data = text;
    setText(this.#unstable, unstable);
  }
}

/**
 * @param {HTMLElement} target
 * @param {string} text
 */
function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function draw() {
  const shown = audience.segments.filter(({ text, unstable }) => text || unstable).slice(-MAX_SHOWN);
  const numbers = new Set(shown.map(({ number }) => number));
  for (const [number, block] of blocks) {
    if (!numbers.has(number)) remove(number, block);
  }
  let before = "";
  for (const spoken of shown) {
    let block = blocks.get(spoken.number);
    if (block && block.isFinal !== spoken.isFinal) {
      remove(spoken.number, block);
      block = undefined;
    }
    if (!block) {
      block = new Block(spoken.isFinal);
      insert(spoken.number, block);
    }
    block.draw(spoken, spoken.speaker !== before);
    before = spoken.speaker;
  }
  element("quiet").hidden = shown.length > 0;
  const name = audience.room?.name || "TokenSpeed";
  setText(element("name"), name);
  document.title = name;
  if (isFollowing) captions.scrollTop = captions.scrollHeight;
}

/**
 * @param {number} number
 * @param {Block} block
 */
function insert(number, block) {
  const place = block.isFinal ? log : open;
  const after = [...blocks].filter(([other, { isFinal }]) => other > number && isFinal === block.isFinal);
  after.sort(([one], [other]) => one - other);
  place.insertBefore(block.root, after[0]?.[1].root ?? null);
  blocks.set(number, block);
}

/**
 * @param {number} number
 * @param {Block} block
 */
function remove(number, block) {
  block.root.remove();
  blocks.delete(number);
}

/**
 * @param {import("./listen.js").LineState} state
 * @param {string} reason
 */
function showState(state, reason) {
  const isClosed = audience.room?.is_closed ?? false;
  element("state").dataset["state"] = state;
  /** @type {Record<string, string | undefined>} */
  const words = {
    open: strings["live"],
    connecting: strings["connecting"],
    waiting: strings["waiting"],
    pass: strings["pass"],
    closed: isClosed ? strings["roomClosed"] : reason || strings["closed"],
  };
  setText(element("state-text"), words[state] ?? "");
  if (state === "pass") askForPass();
}

/** Read the room anew: another language, or the source beside it. */
function read() {
  line?.close();
  audience = { ...NOBODY, room: audience.room };
  for (const [number, block] of blocks) remove(number, block);
  live.ariaBusy = "true";
  isFollowing = true;
  const url = new URL(`${api.href}/listen`);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const isSource = choice.target === SOURCE;
  line = listen(
    {
      url: url.href,
      target: choice.target,
      hasSource: choice.hasSource && !isSource,
      ...(pass === undefined ? {} : { pass }),
    },
    {
      onEvent: (event) => {
        if (event.type === "error" || event.type === "pong") return;
        audience = applyRoomEvent(audience, event, isSource);
        draw();
        // What was there already is not read out; what comes is.
        if (event.type === "room.state") requestAnimationFrame(() => (live.ariaBusy = "false"));
      },
      onState: showState,
    },
  );
  drawControls();
}

/** @param {Partial<Choice>} changed */
function change(changed) {
  choice = { ...choice, ...changed };
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify(choice));
  } catch {
    // A forbidden storage costs the memory of a choice, nothing else.
  }
  if ("target" in changed || "hasSource" in changed) read();
  drawControls();
  if (isFollowing) captions.scrollTop = captions.scrollHeight;
}

/** @returns {Partial<Choice>} */
function recalled() {
  try {
    const stored = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "{}");
    return {
      ...(typeof stored.target === "string" ? { target: stored.target } : {}),
      ...(typeof stored.hasSource === "boolean" ? { hasSource: stored.hasSource } : {}),
      ...(typeof stored.sizePx === "number" ? { sizePx: stored.sizePx } : {}),
      ...(THEMES.includes(stored.theme) ? { theme: stored.theme } : {}),
    };
  } catch {
    return {};
  }
}

function drawControls() {
  picker.value = choice.target;
  element("source").ariaPressed = String(choice.hasSource);
  const root = document.documentElement;
  if (choice.theme === "system") delete root.dataset["theme"];
  else root.dataset["theme"] = choice.theme;
  if (choice.sizePx === null) captions.style.removeProperty("--size");
  else captions.style.setProperty("--size", `${choice.sizePx}px`);
  const file = new URL(`${api.href}/transcript.txt`);
  file.searchParams.set("target", choice.target);
  if (pass !== undefined) file.searchParams.set("pass", pass);
  /** @type {HTMLAnchorElement} */ (element("save")).href = file.href;
}

/** @param {number} factor */
function resize(factor) {
  const present = choice.sizePx ?? parseFloat(getComputedStyle(captions).fontSize);
  change({ sizePx: Math.round(Math.min(MAX_SIZE_PX, Math.max(MIN_SIZE_PX, present * factor))) });
}

function askForPass() {
  const dialog = /** @type {HTMLDialogElement} */ (element("pass-dialog"));
  element("pass-wrong").hidden = pass === undefined;
  if (!dialog.open) dialog.showModal();
}

function chooseTarget() {
  const wanted = [query.get("target") ?? "", query.get("lang") ?? "", choice.target];
  const spoken = navigator.languages.map((language) => language.toLowerCase().split("-")[0] ?? "");
  const offered = [...targets, SOURCE];
  const found = [...wanted, ...spoken].find((code) => offered.includes(code));
  return found ?? targets[0] ?? SOURCE;
}

function drawLanguages() {
  const options = targets.map((code) => new Option(languageName(code), code));
  for (const option of options) option.lang = option.value;
  picker.replaceChildren(...options, new Option(strings["original"] ?? "", SOURCE));
}

async function start() {
  const language = chooseLanguage(navigator.languages);
  strings = await loadStrings(language, base);
  document.documentElement.lang = language;
  writeStrings(strings);
  const reply = await fetch(api);
  if (!reply.ok) {
    element("quiet").hidden = true;
    showState("closed", strings["noRoom"] ?? "");
    return;
  }
  const info = await reply.json();
  targets = info.targets;
  audience = { ...NOBODY, room: info };
  drawLanguages();
  choice = { ...choice, target: chooseTarget() };
  if (info.has_pass_phrase && pass === undefined) askForPass();
  else read();
  drawControls();
  draw();
}

captions.addEventListener("scroll", () => {
  isFollowing = captions.scrollHeight - captions.scrollTop - captions.clientHeight < NEAR_PX;
  element("now").hidden = isFollowing;
});
// A turned phone, another size, a keyboard: who was at the end stays there.
new ResizeObserver(() => {
  if (isFollowing) captions.scrollTop = captions.scrollHeight;
}).observe(captions);
element("now").addEventListener("click", () => {
  isFollowing = true;
  captions.scrollTop = captions.scrollHeight;
  captions.focus({ preventScroll: true });
});
picker.addEventListener("change", () => change({ target: picker.value }));
element("smaller").addEventListener("click", () => resize(1 / SIZE_STEP));
element("larger").addEventListener("click", () => resize(SIZE_STEP));
element("source").addEventListener("click", () => change({ hasSource: !choice.hasSource }));
element("theme").addEventListener("click", () => {
  change({ theme: THEMES[(THEMES.indexOf(choice.theme) + 1) % THEMES.length] ?? "system" });
});
element("fullscreen").addEventListener("click", () => {
  if (document.fullscreenElement) void document.exitFullscreen();
  else void document.documentElement.requestFullscreen();
});
element("pass-form").addEventListener("submit", (event) => {
  event.preventDefault();
  pass = /** @type {HTMLInputElement} */ (element("pass")).value;
  /** @type {HTMLDialogElement} */ (element("pass-dialog")).close();
  read();
});
addEventListener("online", () => line?.reconnect());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) line?.reconnect();
});

void start();
