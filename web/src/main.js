/**
 * Wires the page: session, captions, source box, controls.
 *
 * @module
 */

import { applyEvent, isWaiting, transcript } from "./captions.js";
import { connect } from "./client.js";
import { play } from "./demo.js";
import { FORMATS, allTargets, exportTranscript } from "./export.js";
import { openHistory } from "./history.js";
import { WrongKey, fetchToken, isKeyRequired, recallKey, rememberKey } from "./key.js";
import { FIRST_LANGUAGES, keepOffered, languageName, offeredTargets } from "./languages.js";
import { NO_MEASUREMENTS, measure } from "./meter.js";
import { MAX_SIZE_PX, MIN_SIZE_PX, readSettings, recall, remember } from "./settings.js";
import { RoomMemory, closeRoom, openRoom } from "./share.js";
import { copyLink, showRoom } from "./sharing.js";
import { SourceBox } from "./sourcebox.js";
import { Speaking } from "./speaking.js";
import { canListen } from "./speech.js";
import { storageOf } from "./storage.js";
import { firstStrings, loadStrings, say, writeStrings } from "./strings.js";
import { View, WAITING_MS, element } from "./view.js";

/**
 * @typedef {import("./client.js").SessionEvent} SessionEvent
 * @typedef {import("./client.js").ConnectionEvent} ConnectionEvent
 * @typedef {import("./settings.js").PageSettings} PageSettings
 */

const NOTICE_MS = 6_000;
const UNDO_MS = 15_000;
const SIZE_STEP = 1.15;
const THEMES = /** @type {const} */ ({
  system: "coloursSystem",
  light: "coloursLight",
  dark: "coloursDark",
});
const OVER_CODE = 1000; // an ordinary close: nothing was refused
const FULL_CODE = 1013;
const RESTART_CODES = [1001, 1012];
const KEY_CODE = 4401;
const ELSEWHERE_CODE = 4409;

const view = new View();
const box = /** @type {HTMLTextAreaElement} */ (element("source"));
const [tabStorage, deviceStorage] = [storageOf("sessionStorage"), storageOf("localStorage")];
let settings = readSettings(new URLSearchParams(location.search), recall(deviceStorage));
const base = new URL(".", location.href).href;
const wantedUi = () => [...(settings.ui ? [settings.ui] : []), ...navigator.languages];
const [history, first] = await Promise.all([openHistory(), firstStrings(base, wantedUi())]);
let { words } = first;
let { strings } = words;
/** @type {import("./captions.js").State} */
let captions = { sessionId: null, segments: await history.load() };
let meter = NO_MEASUREMENTS;
let isPaused = false;
let notice = "";
/** @type {(() => void) | null} */
let undoing = null;
let languages = FIRST_LANGUAGES;
/** @type {ConnectionEvent} */
let connection = { type: "connection", state: "connecting", attempt: 0, retry_in_ms: 0, code: 0, reason: "" };
/** @type {ReturnType<typeof setTimeout> | undefined} */
let noticeTimer;
/** The code with which the connection was last lost; 0 = it was not. */
let lostCode = 0;
/** @type {Speaking | null} */
let speech = null;
/** @type {{stop: () => void} | null} */
let demo = null;

let key = recallKey(tabStorage);
const roomMemory = new RoomMemory(tabStorage, deviceStorage, history.transcript);
let room = roomMemory.recall();
const { host, protocol } = location;
const url = `${protocol === "https:" ? "wss:" : "ws:"}//${host}/v1/stream`;
let session = begin();
sayAgain();

// The clock of the transcript continues from where it was before a reload.
const startedMs = performance.now() - (captions.segments.at(-1)?.endMs ?? 0);
const sourceBox = new SourceBox(
  box,
  {
    update: (segment) => {
      const { id, stable, unstable, startMs, endMs } = segment;
      session.update({ segmentId: id, stable, unstable, startMs, endMs });
      showSource(segment, false);
    },
    commit: (segment) => {
      session.commit({ segmentId: segment.id, text: segment.stable });
      showSource(segment, true);
      setTimeout(draw, WAITING_MS + 50);
    },
    cancel: (id) => {
      session.cancel(id);
      captions = applyEvent(captions, { type: "translation.retracted", segment_id: id });
      draw();
    },
  },
  () => Math.round(performance.now() - startedMs),
);

/**
 * @param {import("./sourcebox.js").SourceSegment} segment
 * @param {boolean} committed
 */
function showSource({ id, stable, unstable, startMs, endMs }, committed) {
  captions = applyEvent(captions, {
    type: "source.local",
    segment_id: id,
    stable,
    unstable,
    start_ms: startMs,
    end_ms: endMs,
    committed,
  });
  draw();
}

/** Send again what was said before a reload or a crash and has no translation yet. */
function sayAgain() {
  for (const { id, source, sourceUnstable, ...segment } of captions.segments) {
    const text = source + sourceUnstable;
    if (!isWaiting(segment) || !text.trim()) continue;
    captions = applyEvent(captions, {
      type: "source.local",
      segment_id: id,
      stable: text,
      committed: true,
    });
    session.commit({ segmentId: id, text });
  }
  setTimeout(draw, WAITING_MS + 50);
}

function begin() {
  const given = key;
  const token =
    given === null
      ? new URLSearchParams(location.search).get("token")
      : () => freshToken(given);
  const { source, targets } = settings;
  return connect({
    url,
    source,
    targets,
    ...(token === null ? {} : { token }),
    ...(room === null ? {} : { room }),
  });
}

/**
 * @param {string} given
 * @returns {Promise<string>}
 */
async function freshToken(given) {
  try {
    return await fetchToken(base, given);
  } catch (error) {
    if (error instanceof WrongKey && given === key) {
      askForKey(text("keyWrong"));
      void session.close(); // asking again with the same key is useless
    }
    throw error;
  }
}

/**
 * @param {string} name of the strings
 * @param {Readonly<Record<string, string | number>>} [values]
 */
function text(name, values) {
  return say(strings, name, values);
}

/** @param {string} problem with the last key, "" = none */
function askForKey(problem) {
  key = null;
  rememberKey(tabStorage, null);
  element("key-wrong").textContent = problem;
  openDialog("key-dialog");
}

/** Follow one session until it is over. */
async function follow() {
  for await (const event of session) {
    captions = applyEvent(captions, event);
    meter = measure(meter, event);
    react(event);
    draw();
  }
}

/** @param {SessionEvent} event */
function react(event) {
  switch (event.type) {
    case "connection":
      connection = event;
      if (event.state === "open") lostCode = 0;
      else if (event.code !== 0) lostCode = event.code;
      if (event.state === "closed" && event.code === KEY_CODE) askForKey(key ? text("keyWrong") : "");
      break;
    case "error":
      tell(text("refused", { reason: event.error.message }));
      if (room && "param" in event.error && event.error.param === "session.room") forgetRoom();
      break;
    case "session.notice":
      if (event.code === "degraded") tell(text("busy"));
      else if (event.code === "backlog") tell(text("backlog"));
      else if (event.code === "language_mismatch" && event.detected_language) {
        tell(text("mismatch", { language: languageName(event.detected_language) }));
      }
      break;
    case "session.going_away":
      tell(text("restarting"));
      break;
    case "session.created":
      if (event.session.languages.length === 0) break;
      languages = event.session.languages;
      settleLanguages();
      drawLanguages();
  }
}

function draw() {
  history.save(captions.segments);
  const state = isPaused && connection.state === "open" ? "paused" : connection.state;
  view.draw({
    captions,
    meter,
    settings,
    strings,
    connection: { state, text: connectionText(state) },
    notice: notice || standingNotice(),
    canReconnect: connection.state === "waiting" || connection.state === "closed",
  });
}

const STATES = /** @type {Readonly<Record<string, string>>} */ ({
  open: "live",
  paused: "paused",
  waiting: "offline",
  idle: "asleep",
  closed: "closed",
});

/** @param {string} state */
function connectionText(state) {
  return text(STATES[state] ?? "connecting");
}

/** The notice that stays on the screen as long as it is true. */
function standingNotice() {
  const { state, attempt, code, reason } = connection;
  if (state === "closed") {
    if (code === KEY_CODE) return text("keyTitle");
    if (lostCode === ELSEWHERE_CODE) return text("elsewhere");
    return reason && code !== OVER_CODE ? text("refused", { reason }) : text("closed");
  }
  if (state === "waiting" || (state === "connecting" && attempt > 0)) {
    if (!navigator.onLine) return text("noNetwork");
    if (lostCode === FULL_CODE) return text("full");
    return text(RESTART_CODES.includes(lostCode) ? "restarting" : "unreachable");
  }
  return isPaused ? text("pausedNotice") : "";
}

/**
 * @param {string} news shown for a few seconds
 * @param {(() => void) | null} [undo] takes back what the text says
 */
function tell(news, undo = null) {
  notice = news;
  undoing = undo;
  element("undo").hidden = undo === null;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => tell(""), undo === null ? NOTICE_MS : UNDO_MS);
  draw();
}

/** @param {Partial<PageSettings>} changed */
function change(changed) {
  settings = { ...settings, ...changed };
  remember(deviceStorage, settings);
  if (changed.source || changed.targets) {
    session.configure({ source: settings.source, targets: settings.targets });
    drawLanguages();
  }
  drawControls();
  draw();
}

function reconnect() {
  if (session.state !== "closed") {
    session.reconnect();
    return;
  }
  session = begin();
  sayAgain();
  sourceBox.read();
  void follow();
}

// ---- languages ----------------------------------------------------------------------------------

function targetsOfSource() {
  return offeredTargets(languages, settings.source);
}

/** @param {string} [source] the new one, if it changes */
function settleLanguages(source = settings.source) {
  const kept = keepOffered(languages, source, settings.targets);
  const isSame = kept.source === settings.source && String(kept.targets) === String(settings.targets);
  if (!isSame) change(kept);
}

function drawLanguages() {
  const sources = [...languages.map(({ code }) => code).filter((code) => code !== "auto"), "auto"];
  const options = sources.map((code) => {
    const name = code === "auto" ? text("detect") : languageName(code);
    return new Option(name, code, false, code === settings.source);
  });
  element("source-language").replaceChildren(...options);
  const focused = document.activeElement?.closest("#targets .chip")?.getAttribute("lang");
  const chips = targetsOfSource().map((code) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "chip";
    chip.lang = code;
    chip.textContent = languageName(code);
    chip.ariaPressed = String(settings.targets.includes(code));
    chip.addEventListener("click", () => toggleTarget(code));
    return chip;
  });
  element("targets").replaceChildren(...chips);
  chips.find(({ lang }) => lang === focused)?.focus(); // keep the focus on the chip that was pressed
}

/** @param {string} code */
function toggleTarget(code) {
  const isOn = settings.targets.includes(code);
  const wanted = targetsOfSource().filter((target) =>
    target === code ? !isOn : settings.targets.includes(target),
  );
  if (wanted.length > 0) change({ targets: wanted });
}

/** Show only one other language: the one after the first of the present ones. */
function nextTarget() {
  const offered = targetsOfSource();
  const next = offered[(offered.indexOf(settings.targets[0] ?? "") + 1) % offered.length];
  if (next) change({ targets: [next] });
}

/** @param {string} source */
function changeSource(source) {
  sourceBox.finish();
  settleLanguages(source);
  if (!speech) return;
  toggleSpeech(); // a recogniser has one language
  toggleSpeech();
}

// ---- who reads along ----------------------------------------------------------------------------

async function share() {
  try {
    room ??= await openRoom(base, key ?? new URLSearchParams(location.search).get("token"));
  } catch (error) {
    const isLost = error instanceof TypeError; // what `fetch` throws without an answer
    tell(isLost ? text("unreachable") : text("refused", { reason: String(/** @type {Error} */ (error).message) }));
    return;
  }
  roomMemory.remember(room);
  session.configure({ room });
  drawControls();
  void showRoom(base, room, strings);
}

/** The room is gone, perhaps as the server was restarted; the session continues without it. */
function forgetRoom() {
  room = null;
  roomMemory.remember(null);
  session.configure({ room: undefined });
  drawControls();
}

async function endRoom() {
  if (room) await closeRoom(base, room).catch(() => {});
  forgetRoom();
  /** @type {HTMLDialogElement} */ (element("share-dialog")).close();
}

// ---- controls -----------------------------------------------------------------------------------

function drawControls() {
  element("dual").ariaPressed = String(settings.isDual);
  element("mic").ariaPressed = String(speech !== null);
  element("mic").textContent = text(speech ? "stop" : "speak");
  element("share").ariaPressed = String(room !== null);
  element("demo").ariaPressed = String(demo !== null);
  element("demo").textContent = text(demo ? "stop" : "demo");
  /** @type {HTMLInputElement} */ (element("shortcuts")).checked = settings.hasShortcuts;
  /** @type {HTMLSelectElement} */ (element("interface")).value = words.language;
  box.readOnly = speech !== null;
  box.placeholder = text(speech ? "listening" : "placeholder");
}

function drawTexts() {
  writeStrings(words.language, strings);
  const options = words.languages.map((code) => new Option(languageName(code), code));
  for (const option of options) option.lang = option.value;
  element("interface").replaceChildren(...options);
  drawLanguages();
  drawControls();
  draw();
}

/** @param {import("./strings.js").Words} found */
function speak(found) {
  words = found;
  strings = words.strings;
  drawTexts();
}

/** @param {string} ui language of the page itself */
async function changeUi(ui) {
  change({ ui });
  speak(await loadStrings(base, wantedUi()));
}

function toggleDemo() {
  if (demo) {
    demo.stop();
    demo = null;
  } else {
    setPaused(false);
    const voice = { write: (/** @type {string} */ said) => sourceBox.write(said), finish: () => sourceBox.finish() };
    demo = play(settings.source, voice, () => {
      demo = null;
      drawControls();
    });
  }
  drawControls();
}

function toggleSpeech() {
  if (speech) {
    speech.stop();
    speech = null;
    sourceBox.finish();
  } else {
    setPaused(false);
    if (demo) toggleDemo();
    const { source: language, microphone: deviceId } = settings;
    speech = new Speaking({ language, deviceId, strings }, {
      onInterim: (heard) => sourceBox.guess(heard),
      onFinal: (said) => {
        sourceBox.write(said);
        sourceBox.finish();
      },
      onProblem: (name) => {
        speech = null;
        drawControls();
        tell(text(name));
      },
      onNotice: (name) => tell(text(name)),
    });
  }
  drawControls();
}

/** @param {boolean} wanted whether to hold back typing and stop the demo and the microphone */
function setPaused(wanted) {
  isPaused = wanted;
  if (isPaused && demo) toggleDemo();
  if (isPaused && speech) toggleSpeech();
  sourceBox.isPaused = isPaused;
  draw();
}

/** @param {number} factor */
function resize(factor) {
  const present = parseFloat(getComputedStyle(element("columns")).fontSize);
  const wanted = Math.round((settings.sizePx ?? present) * factor);
  change({ sizePx: Math.min(MAX_SIZE_PX, Math.max(MIN_SIZE_PX, wanted)) });
}

function nextTheme() {
  const names = /** @type {(keyof typeof THEMES)[]} */ (Object.keys(THEMES));
  const theme = names[(names.indexOf(settings.theme) + 1) % names.length] ?? "system";
  change({ theme });
  tell(text(THEMES[theme]));
}

/** @param {boolean} [wanted] whether the meter is shown */
function showDetails(wanted = element("meter").hidden === true) {
  element("meter").hidden = !wanted;
  element("details").ariaExpanded = String(wanted);
}

async function toggleFullScreen() {
  if (document.fullscreenElement) await document.exitFullscreen();
  else await element("stage").requestFullscreen();
}

/** @param {string} id of a dialog */
function openDialog(id) {
  const dialog = /** @type {HTMLDialogElement} */ (element(id));
  if (!dialog.open) dialog.showModal();
}

/** @param {keyof typeof FORMATS} format */
function download(format) {
  const segments = transcript(captions);
  const file = exportTranscript(segments, format, allTargets(segments, settings.targets));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([file], { type: FORMATS[format].mime }));
  link.download = `captions.${format}`;
  link.click();
  URL.revokeObjectURL(link.href);
}

function clearTranscript() {
  const cleared = captions.segments.filter(({ isCommitted }) => isCommitted);
  const ids = new Set(cleared.map(({ id }) => id));
  captions = { ...captions, segments: captions.segments.filter(({ id }) => !ids.has(id)) };
  /** @type {HTMLDialogElement} */ (element("export-dialog")).close();
  tell(text("cleared"), () => {
    const since = captions.segments.filter(({ id }) => !ids.has(id));
    captions = { ...captions, segments: [...cleared, ...since] };
    draw();
  });
}

/** @type {Readonly<Record<string, () => void>>} */
const KEYS = {
  " ": () => setPaused(!isPaused),
  "+": () => resize(SIZE_STEP),
  "=": () => resize(SIZE_STEP),
  "-": () => resize(1 / SIZE_STEP),
  l: nextTarget,
  b: () => change({ isDual: !settings.isDual }),
  e: () => openDialog("export-dialog"),
  d: nextTheme,
  m: () => showDetails(),
  f: () => void toggleFullScreen(),
  "?": () => openDialog("help-dialog"),
};

addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  const isTyping = target.closest("textarea, select, input, dialog") !== null;
  const isPressingButton = event.key === " " && target.closest("button, .scroller") !== null;
  if (event.key === "Escape") showDetails(false);
  if (event.key === "Escape" && target === box) box.blur();
  if (!settings.hasShortcuts && event.key.length === 1) return;
  if (isTyping || isPressingButton || event.ctrlKey || event.metaKey || event.altKey) return;
  const run = KEYS[event.key.toLowerCase()];
  if (!run) return;
  event.preventDefault();
  run();
});

/** @type {Readonly<Record<string, () => void>>} */
const BUTTONS = {
  smaller: () => resize(1 / SIZE_STEP),
  larger: () => resize(SIZE_STEP),
  dual: () => change({ isDual: !settings.isDual }),
  theme: nextTheme,
  fullscreen: () => void toggleFullScreen(),
  export: () => openDialog("export-dialog"),
  help: () => openDialog("help-dialog"),
  details: () => showDetails(),
  mic: toggleSpeech,
  demo: toggleDemo,
  clear: clearTranscript,
  share: () => void share(),
  "share-copy": () => void copyLink(room?.view_url ?? "", strings),
  "share-end": () => void endRoom(),
  reconnect,
  undo: () => {
    undoing?.();
    tell("");
  },
};
for (const [id, run] of Object.entries(BUTTONS)) element(id).addEventListener("click", run);
for (const button of document.querySelectorAll("[data-format]")) {
  const format = /** @type {keyof typeof FORMATS} */ (button.getAttribute("data-format"));
  button.addEventListener("click", () => download(format));
}
element("key-form").addEventListener("submit", () => {
  key = /** @type {HTMLInputElement} */ (element("key")).value;
  rememberKey(tabStorage, key);
  void session.close();
  session = begin();
  sayAgain();
  sourceBox.read();
  void follow();
});
element("source-language").addEventListener("change", (event) => {
  changeSource(/** @type {HTMLSelectElement} */ (event.target).value);
});
element("interface").addEventListener("change", (event) => {
  void changeUi(/** @type {HTMLSelectElement} */ (event.target).value);
});
element("shortcuts").addEventListener("change", (event) => {
  change({ hasShortcuts: /** @type {HTMLInputElement} */ (event.target).checked });
});
element("microphone").addEventListener("change", (event) => {
  change({ microphone: /** @type {HTMLSelectElement} */ (event.target).value });
  toggleSpeech();
  toggleSpeech();
});
box.addEventListener("input", () => {
  if (demo) toggleDemo(); // typing takes over from the demo
});
addEventListener("online", () => session.reconnect());
addEventListener("offline", draw);
addEventListener("pagehide", () => {
  history.leave();
  roomMemory.leave();
});
addEventListener("pageshow", () => roomMemory.remember(room)); // the page came back from the browser's cache

element("mic").hidden = !canListen();
drawTexts();
void first.later?.then(speak);
void follow();
if (key === null && !new URLSearchParams(location.search).has("token")) {
  void isKeyRequired(base).then((isRequired) => isRequired && askForKey(""));
}
if (settings.isDemo) toggleDemo();
if (settings.isListening && canListen()) toggleSpeech();
if (!settings.isObs && matchMedia("(pointer: fine)").matches) box.focus();
