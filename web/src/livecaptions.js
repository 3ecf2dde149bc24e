/**
 * Captions of a room for any site: `<live-captions room="https://host/r/ID" lang="de">`.
 *
 *     <script type="module">import "@tokenspeed/client/element"</script>
 *
 * Attributes: `room` is the room's link; `lang` the language to read, "source" for the speaker's own
 * words; `lines` how many sentences are shown (2); `mode="append_only"` shows only text that will not
 * change; `pass` is the pass phrase. The parts `line`, `stable`, `unstable` and `speaker` can be
 * styled with `::part()`. The event `captions` reports a change, `connection` the state of the
 * connection.
 *
 * @module
 */

import { NOBODY, applyRoomEvent } from "./audience.js";
import { direction } from "./languages.js";
import { listen } from "./listen.js";

/**
 * @typedef {import("./audience.js").Audience} Audience
 * @typedef {import("./audience.js").Spoken} Spoken
 */

const STYLE = `
  :host { display: block; }
  :host([hidden]) { display: none; }
  p { margin: 0; }
  [part=unstable] { opacity: 0.65; }
  [part=speaker]::after { content: ": "; }
`;
const DEFAULT_LINES = 2;

export class LiveCaptions extends HTMLElement {
  static observedAttributes = ["room", "lang", "mode", "pass", "lines"];

  /** @type {ReturnType<typeof listen> | null} */
  #line = null;
  #audience = NOBODY;
  /** @type {HTMLElement} */
  #log;
  #isDrawn = true;

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    const style = document.createElement("style");
    style.textContent = STYLE;
    this.#log = document.createElement("div");
    this.#log.setAttribute("role", "log");
    root.append(style, this.#log);
  }

  /** @returns {Audience} everything that was received */
  get captions() {
    return this.#audience;
  }

  connectedCallback() {
    this.#listen();
  }

  disconnectedCallback() {
    this.#line?.close();
    this.#line = null;
  }

  /** @param {string} name */
  attributeChangedCallback(name) {
    if (!this.isConnected || !this.#line) return;
    if (name === "lines") this.#drawSoon();
    else this.#listen();
  }

  #listen() {
    this.#line?.close();
    this.#line = null;
    this.#audience = NOBODY;
    this.#drawSoon();
    const { room, pass } = { room: this.getAttribute("room"), pass: this.getAttribute("pass") };
    if (!room || !this.lang) return;
    const target = this.lang;
    this.#line = listen(
      {
        url: new URL(room, document.baseURI).href,
        target,
        mode: this.getAttribute("mode") === "append_only" ? "append_only" : "captions",
        ...(pass === null ? {} : { pass }),
      },
      {
        onEvent: (event) => {
          if (event.type === "error") return; // the connection closes after it, and says why
          const before = this.#audience;
          this.#audience = applyRoomEvent(before, event, target === "source");
          if (this.#audience === before) return;
          this.#drawSoon();
          this.#tell("captions", this.#audience);
        },
        onState: (state, reason) => this.#tell("connection", { state, reason }),
      },
    );
  }

  /**
   * @param {string} name
   * @param {unknown} detail
   */
  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** Draw, at most once a frame. */
  #drawSoon() {
    if (!this.#isDrawn) return;
    this.#isDrawn = false;
    requestAnimationFrame(() => {
      this.#isDrawn = true;
      this.#draw();
    });
  }

  #draw() {
    const count = Number(this.getAttribute("lines")) || DEFAULT_LINES;
    const shown = this.#audience.segments.filter(({ text, unstable }) => text || unstable).slice(-count);
    const kept = new Map([...this.#log.children].map((line) => [line.getAttribute("data-number"), line]));
    const lines = shown.map((spoken) => this.#update(kept.get(String(spoken.number)), spoken));
    for (const line of [...this.#log.children]) if (!lines.includes(line)) line.remove();
    // Lines that are already in place are not moved, so that a screen reader announces only new ones.
    lines.forEach((line, i) => {
      if (this.#log.children[i] !== line) this.#log.insertBefore(line, this.#log.children[i] ?? null);
    });
  }

  /**
   * @param {Element | undefined} known the line of this sentence, if there is one
   * @param {Spoken} spoken
   * @returns {Element}
   */
  #update(known, { number, speaker, text, unstable }) {
    const line = known ?? this.#newLine(number);
    const texts = [speaker, text, unstable];
    [...line.children].forEach((part, i) => {
      const wanted = texts[i] ?? "";
      if (part.textContent !== wanted) part.textContent = wanted;
      if (i === 0) part.toggleAttribute("hidden", wanted === "");
    });
    return line;
  }

  /** @param {number} number */
  #newLine(number) {
    const line = document.createElement("p");
    line.setAttribute("part", "line");
    line.dataset["number"] = String(number);
    line.dir = this.lang === "source" ? "auto" : direction(this.lang);
    for (const part of ["speaker", "stable", "unstable"]) {
      const span = document.createElement("span");
      span.setAttribute("part", part);
      if (part === "unstable") span.setAttribute("aria-hidden", "true");
      line.append(span);
    }
    return line;
  }
}

customElements.define("live-captions", LiveCaptions);
