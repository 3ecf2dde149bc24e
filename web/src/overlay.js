/**
 * Captions of a room over a picture, for a browser source: `/overlay?room=ID&lang=de`.
 *
 * Shows captions and nothing else: an error has no place on air. Uses nothing that browser
 * sources of 2022 (Chrome 103) lack.
 *
 * @module
 */

import { NOBODY, applyRoomEvent } from "./audience.js";
import { listen } from "./listen.js";
import { readOverlay } from "./overlaysettings.js";

const settings = readOverlay(new URLSearchParams(location.search));
const box = /** @type {HTMLElement} */ (document.getElementById("window"));
const text = /** @type {HTMLElement} */ (document.getElementById("text"));
const root = document.documentElement.style;
root.setProperty("--lines", String(settings.lines));
if (settings.sizePx !== null) root.setProperty("--size", `${settings.sizePx}px`);
if (settings.color !== null) root.setProperty("--color", settings.color);
if (settings.background !== null) root.setProperty("--background", settings.background);
root.setProperty("--align", settings.align);

const SHOWN = 4; // segments, of which the last lines are visible
let audience = NOBODY;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let hiding;
let firstNumber = 0; // segments up to this one are not shown: they were said before

/** @param {boolean} isNews */
function draw(isNews) {
  const shown = audience.segments
    .filter((spoken) => spoken.number > firstNumber && (spoken.text || spoken.unstable))
    .slice(-SHOWN);
  text.replaceChildren(
    ...shown.map((spoken) => {
      const paragraph = document.createElement("p");
      paragraph.dir = "auto";
      const unstable = document.createElement("span");
      unstable.className = "unstable";
      unstable.textContent = spoken.unstable;
      paragraph.append(spoken.text, unstable);
      return paragraph;
    }),
  );
  if (!isNews) return;
  box.hidden = shown.length === 0;
  clearTimeout(hiding);
  if (settings.hideMs > 0) hiding = setTimeout(clear, settings.hideMs);
}

/** Clear the picture after a silence; old text does not come back with the next word. */
function clear() {
  box.hidden = true;
  const finals = audience.segments.filter((spoken) => spoken.isFinal);
  const last = finals[finals.length - 1];
  if (last) firstNumber = Math.max(firstNumber, last.number);
}

if (settings.room !== "") {
  const url = new URL(`v1/rooms/${encodeURIComponent(settings.room)}/listen`, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  let isFirst = true;
  const isSource = settings.target === "source";
  listen(
    {
      url: url.href,
      target: settings.target,
      mode: settings.isSteady ? "append_only" : "captions",
      ...(settings.pass === null ? {} : { pass: settings.pass }),
    },
    {
      onEvent: (event) => {
        if (event.type === "error" || event.type === "pong") return;
        const before = audience;
        audience = applyRoomEvent(audience, event, isSource);
        const isState = event.type === "room.state";
        if (event.type === "room.state" && isFirst) {
          firstNumber = event.over ?? 0;
          isFirst = false;
        }
        const isNews = audience.segments !== before.segments && event.type !== "room.updated";
        draw(isNews && !(isState && before === NOBODY));
      },
      onState: (state) => {
        document.documentElement.dataset.state = state; // for a scene's own CSS; nothing is shown
      },
    },
  );
}
