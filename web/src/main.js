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
import { askRoom, closeRoom, openRoom, pictureUrl, recallRoom, rememberRoom } from "./share.js";
import { SourceBox } from "./sourcebox.js";
import { canListen, listen } from "./speech.js";
import { View, WAITING_MS, element } from "./view.js";

/**
 * @typedef {import("./client.js").SessionEvent} SessionEvent
 * @typedef {import("./client.js").ConnectionEvent} ConnectionEvent
 * @typedef {import("./settings.js").PageSettings} PageSettings
 */

const NOTICE_MS = 6_000;
const UNDO_MS = 15_000;
const READERS_MS = 2_000; // between looks at who reads along, while the dialog is open
const SIZE_STEP = 1.15;
const THEMES = /** @type {const} */ (["system", "light", "dark"]);

const view = new View();
const box = /** @type {HTMLTextAreaElement} */ (element("source"));
let settings = readSettings(new URLSearchParams(location.search), recall(localStorage));
const history = await openHistory();
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
/** @type {{stop: () => void} | null} */
let speech = null;
/** @type {{stop: () => void} | null} */
let demo = null;

const base = new URL(".", location.href).href;
let key = recallKey(sessionStorage);
let room = recallRoom(sessionStorage);
const { host, protocol } = location;
const url = `${protocol === "https:" ? "wss:" : "ws:"}//${host}/v1/stream`;
let session = begin();
sayAgain();

// The clock of the transcript goes on where it stood before a reload.
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

/** What was said before a reload or a crash and has no translation yet is asked for again. */
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
      askForKey(error.message);
      void session.close(); // asking again with the same key is of no use
    }
    throw error;
  }
}

/** @param {string} problem with the last one */
function askForKey(problem) {
  key = null;
  rememberKey(sessionStorage, null);
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
  if (event.type === "connection") connection = event;
  else if (event.type === "error") {
    say(event.error.message);
    if (room && "param" in event.error && event.error.param === "session.room") forgetRoom();
  }
  else if (event.type === "session.notice" && event.message) say(event.message);
  else if (event.type === "session.created" && event.session.languages.length > 0) {
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
    connection: { state, text: connectionText(state) },
    notice: notice || standingNotice(),
    canReconnect: connection.state === "waiting" || connection.state === "closed",
  });
}

/** @param {string} state */
function connectionText(state) {
  switch (state) {
    case "open":
      return "Live";
    case "paused":
      return "Paused";
    case "waiting":
      return "Offline";
    case "idle":
      return "Asleep";
    case "closed":
      return "Ended";
    default:
      return "Connecting";
  }
}

/** What stays on the screen as long as it is true. */
function standingNotice() {
  const { state, attempt, reason } = connection;
  if (state === "closed") return `${reason || "The session has ended"}.`;
  if (state === "waiting" || (state === "connecting" && attempt > 0)) {
    return "The server cannot be reached. Trying again; what you write is kept.";
  }
  return isPaused ? "Paused. Press space to go on." : "";
}

/**
 * @param {string} text shown for a few seconds
 * @param {(() => void) | null} [undo] takes back what the text says
 */
function say(text, undo = null) {
  notice = text;
  undoing = undo;
  element("undo").hidden = undo === null;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => say(""), undo === null ? NOTICE_MS : UNDO_MS);
  draw();
}

/** @param {Partial<PageSettings>} changed */
function change(changed) {
  settings = { ...settings, ...changed };
  remember(localStorage, settings);
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
  void follow();
}

// ---- languages ----------------------------------------------------------------------------------

function targetsOfSource() {
  return offeredTargets(languages, settings.source);
}

/** @param {string} [source] a new one */
function settleLanguages(source = settings.source) {
  const kept = keepOffered(languages, source, settings.targets);
  const isSame = kept.source === settings.source && String(kept.targets) === String(settings.targets);
  if (!isSame) change(kept);
}

function drawLanguages() {
  const sources = [...languages.map(({ code }) => code).filter((code) => code !== "auto"), "auto"];
  const options = sources.map((code) => {
    const name = code === "auto" ? "Detect language" : languageName(code);
    return new Option(name, code, false, code === settings.source);
  });
  element("source-language").replaceChildren(...options);
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
}

/** @param {string} code */
function toggleTarget(code) {
  const isOn = settings.targets.includes(code);
  const wanted = targetsOfSource().filter((target) =>
    target === code ? !isOn : settings.targets.includes(target),
  );
  if (wanted.length > 0) change({ targets: wanted });
}

/** Another language alone: the one after the first of the present ones. */
function nextTarget() {
  const offered = targetsOfSource();
  const next = offered[(offered.indexOf(settings.targets[0] ?? "") + 1) % offered.length];
  if (next) change({ targets: [next] });
}

/** @param {string} source */
function changeSource(source) {
  sourceBox.finish();
  settleLanguages(source);
}

// ---- who reads along ----------------------------------------------------------------------------

async function share() {
  try {
    room ??= await openRoom(base, key ?? new URLSearchParams(location.search).get("token"));
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
    return;
  }
  rememberRoom(sessionStorage, room);
  session.configure({ room });
  drawControls();
  /** @type {HTMLImageElement} */ (element("share-picture")).src = pictureUrl(base, room);
  /** @type {HTMLInputElement} */ (element("share-url")).value = room.view_url;
  openDialog("share-dialog");
  void countReaders();
}

async function countReaders() {
  const dialog = /** @type {HTMLDialogElement} */ (element("share-dialog"));
  while (dialog.open && room) {
    const found = await askRoom(base, room).catch(() => null);
    const count = found?.readers ?? 0;
    element("share-readers").textContent =
      count === 0 ? "Nobody reads along yet." : count === 1 ? "One reads along." : `${count} read along.`;
    await new Promise((resolve) => setTimeout(resolve, READERS_MS));
  }
}

/** The room is no more, of a server that was restarted perhaps; the session goes on without it. */
function forgetRoom() {
  room = null;
  rememberRoom(sessionStorage, null);
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
  element("theme").title = `Colours: ${settings.theme} (D)`;
  element("mic").ariaPressed = String(speech !== null);
  element("share").ariaPressed = String(room !== null);
  element("demo").ariaPressed = String(demo !== null);
  element("demo").textContent = demo ? "Stop" : "Demo";
  box.readOnly = speech !== null;
  box.placeholder = speech ? "Listening …" : "Write here, or press Demo";
}

function toggleDemo() {
  if (demo) {
    demo.stop();
    demo = null;
  } else {
    setPaused(false);
    demo = play(settings.source, (text) => sourceBox.write(text), () => {
      sourceBox.finish();
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
    speech = listen(settings.source, {
      onInterim: (text) => sourceBox.write(text, true),
      onFinal: (text) => {
        sourceBox.write(text);
        sourceBox.finish();
      },
      onProblem: (message) => {
        speech = null;
        drawControls();
        say(message);
      },
    });
  }
  drawControls();
}

/** @param {boolean} wanted holds back typing and stops what runs by itself */
function setPaused(wanted) {
  isPaused = wanted;
  if (isPaused && demo) toggleDemo();
  if (isPaused && speech) toggleSpeech();
  sourceBox.isPaused = isPaused;
  draw();
}

/** @param {number} factor */
function resize(factor) {
  const row = document.querySelector(".caption-row:not(.caption-row-source) .caption-row-window");
  const present = row ? parseFloat(getComputedStyle(row).fontSize) : MIN_SIZE_PX;
  const wanted = Math.round((settings.sizePx ?? present) * factor);
  change({ sizePx: Math.min(MAX_SIZE_PX, Math.max(MIN_SIZE_PX, wanted)) });
}

function nextTheme() {
  const next = THEMES[(THEMES.indexOf(settings.theme) + 1) % THEMES.length] ?? "system";
  change({ theme: next });
  say(next === "system" ? "Colours follow the system" : `Colours: ${next}`);
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
  const text = exportTranscript(segments, format, allTargets(segments, settings.targets));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: FORMATS[format].mime }));
  link.download = `captions.${format}`;
  link.click();
  URL.revokeObjectURL(link.href);
}

function clearTranscript() {
  const cleared = captions.segments.filter(({ isCommitted }) => isCommitted);
  const ids = new Set(cleared.map(({ id }) => id));
  captions = { ...captions, segments: captions.segments.filter(({ id }) => !ids.has(id)) };
  /** @type {HTMLDialogElement} */ (element("export-dialog")).close();
  say("The transcript is cleared.", () => {
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
  f: () => void toggleFullScreen(),
  "?": () => openDialog("help-dialog"),
};

addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  const isTyping = target.closest("textarea, select, input, dialog") !== null;
  const isPressingButton = event.key === " " && target.closest("button") !== null;
  if (event.key === "Escape" && target === box) box.blur();
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
  mic: toggleSpeech,
  demo: toggleDemo,
  clear: clearTranscript,
  share: () => void share(),
  "share-copy": () => void navigator.clipboard?.writeText(room?.view_url ?? ""),
  "share-end": () => void endRoom(),
  reconnect,
  undo: () => {
    undoing?.();
    say("");
  },
};
for (const [id, run] of Object.entries(BUTTONS)) element(id).addEventListener("click", run);
for (const button of document.querySelectorAll("[data-format]")) {
  const format = /** @type {keyof typeof FORMATS} */ (button.getAttribute("data-format"));
  button.addEventListener("click", () => download(format));
}
element("key-form").addEventListener("submit", () => {
  key = /** @type {HTMLInputElement} */ (element("key")).value;
  rememberKey(sessionStorage, key);
  void session.close();
  session = begin();
  sayAgain();
  sourceBox.read();
  void follow();
});
element("source-language").addEventListener("change", (event) => {
  changeSource(/** @type {HTMLSelectElement} */ (event.target).value);
});
box.addEventListener("input", () => {
  if (demo) toggleDemo(); // whoever types has taken over
});
addEventListener("online", () => session.reconnect());
addEventListener("pagehide", () => history.leave());

element("mic").hidden = !canListen();
drawLanguages();
drawControls();
draw();
void follow();
if (key === null && !new URLSearchParams(location.search).has("token")) {
  void isKeyRequired(base).then((isRequired) => isRequired && askForKey(""));
}
if (settings.isDemo) toggleDemo();
if (settings.isListening && canListen()) toggleSpeech();
if (!settings.isObs && matchMedia("(pointer: fine)").matches) box.focus();
