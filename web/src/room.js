/**
 * Wires the readers' page of a room: its connection, its captions, and the reader's choices.
 *
 * @module
 */

import { NOBODY, applyRoomEvent } from "./audience.js";
import { nextDelayMs } from "./backoff.js";
import { Column, setText } from "./column.js";
import { closest, languageName } from "./languages.js";
import { listen } from "./listen.js";
import { firstStrings, say, writeStrings } from "./strings.js";
import { keepScreenOn } from "./wakelock.js";

/**
 * @typedef {import("./audience.js").Audience} Audience
 */

const SOURCE = "source";
const STORAGE_KEY = "tokenspeed.reader";
const SIZE_STEP = 1.15;
const MIN_SIZE_PX = 14;
const MAX_SIZE_PX = 200;
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
const picker = /** @type {HTMLSelectElement} */ (element("language"));

/** @type {Choice} */
let choice = { target: "", hasSource: false, sizePx: null, theme: "system", ...recalled() };
/** @type {Readonly<Record<string, string>>} */
let strings = {};
/** @type {readonly string[]} */
let targets = [];
/** @type {string | undefined} */
let pass = query.get("pass") ?? undefined;
/** @type {[import("./listen.js").LineState, string]} the state of the connection, as last shown */
let shown = ["connecting", ""];
let isNowhere = false; // there is no such room
/** @type {Audience} */
let audience = NOBODY;
/** @type {{close: () => void, reconnect: () => void} | null} */
let line = null;
const column = new Column({ language: "", isLog: true });
captions.prepend(column.root);

function draw() {
  const shown = audience.segments.filter((spoken) => spoken.text || spoken.unstable);
  column.draw(
    shown.map(({ number, text, unstable, isFinal, source, speaker }) => {
      return { id: String(number), text, unstable, isFinal, isWaiting: false, source, speaker };
    }),
  );
  element("quiet").hidden = shown.length > 0;
  const name = audience.room?.name || "TokenSpeed";
  setText(element("name"), name);
  document.title = name;
}

/**
 * @param {import("./listen.js").LineState} state
 * @param {string} reason
 */
function showState(state, reason) {
  shown = [state, reason];
  const isClosed = audience.room?.is_closed ?? false;
  element("state").dataset["state"] = state;
  const names = {
    open: "live",
    connecting: "connecting",
    waiting: "waiting",
    pass: "pass",
    closed: isNowhere ? "noRoom" : isClosed ? "roomClosed" : "closed",
  };
  const isExplained = state === "closed" && !isClosed && reason !== "";
  setText(element("state-text"), isExplained ? reason : say(strings, names[state]));
  keepScreenOn(state !== "closed"); // a reader does not touch the phone
  if (state === "pass") askForPass();
}

/** Start reading again: in another language, or with the source beside it. */
function read() {
  line?.close();
  audience = { ...NOBODY, room: audience.room };
  column.setLanguage(choice.target === SOURCE ? "" : choice.target);
  column.clear();
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
        if (event.type === "room.state") column.begin();
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
    // Without storage the choice is not remembered; everything else works.
  }
  if ("target" in changed || "hasSource" in changed) read();
  drawControls();
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
  const offered = [...targets, SOURCE];
  const found = [...wanted, ...navigator.languages].map((tag) => closest(tag, offered));
  return found.find((code) => code !== undefined) ?? targets[0] ?? SOURCE;
}

function drawLanguages() {
  const options = targets.map((code) => new Option(languageName(code), code));
  for (const option of options) option.lang = option.value;
  picker.replaceChildren(...options, new Option(say(strings, "original"), SOURCE));
}

/** @param {import("./strings.js").Words} words */
function speak(words) {
  strings = words.strings;
  writeStrings(words.language, strings);
  column.setTexts(say(strings, "transcript"), say(strings, "now"));
  drawLanguages();
  drawControls();
  showState(...shown);
}

/** Ask for the room until there is an answer; null if there is no such room. */
async function askForRoom() {
  for (let delayMs = 0; ; ) {
    const reply = await fetch(api).catch(() => null);
    if (reply?.ok) return reply.json();
    if (reply?.status === 404) return null;
    showState("waiting", "");
    delayMs = nextDelayMs(delayMs, Math.random);
    await new Promise((resolve) => setTimeout(resolve, delayMs));
  }
}

async function start() {
  const ui = query.get("ui");
  const { words, later } = await firstStrings(base, [...(ui ? [ui] : []), ...navigator.languages]);
  speak(words);
  void later?.then(speak);
  const info = await askForRoom();
  if (info === null) {
    element("quiet").hidden = true;
    isNowhere = true;
    showState("closed", "");
    return;
  }
  targets = info.targets;
  audience = { ...NOBODY, room: info };
  drawLanguages();
  choice = { ...choice, target: chooseTarget() };
  if (info.has_pass_phrase && pass === undefined) askForPass();
  else read();
  drawControls();
  draw();
}

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
