/**
 * The microphone of the page: recognition, how loud it is, which device, and who receives the speech.
 *
 * @module
 */

import { microphones, openMicrophone } from "./microphone.js";
import { canChooseDevice, isLocal, listen } from "./speech.js";
import { say } from "./strings.js";
import { element } from "./view.js";
import { keepScreenOn } from "./wakelock.js";

/**
 * @typedef {import("./microphone.js").Microphone} Microphone
 * @typedef {import("./strings.js").Strings} Strings
 *
 * @typedef {object} SpeakingOptions
 * @property {string} language
 * @property {string} deviceId "" = the system's
 * @property {Strings} strings
 */

// A phone's microphone has one listener at a time: showing a level would leave the recogniser none.
const canWatchLevel = matchMedia("(pointer: fine)").matches;

/** Listens until it is stopped. */
export class Speaking {
  #options;
  #handlers;
  #isStopped = false;
  /** @type {{stop: () => void} | null} */
  #recognition = null;
  /** @type {Microphone | null} */
  #microphone = null;

  /**
   * @param {SpeakingOptions} options
   * @param {import("./speech.js").SpeechHandlers} handlers
   */
  constructor(options, handlers) {
    this.#options = options;
    this.#handlers = {
      ...handlers,
      onProblem: (/** @type {string} */ key) => {
        this.stop();
        handlers.onProblem(key);
      },
    };
    element("listening").hidden = false;
    element("privacy").textContent = "";
    keepScreenOn(true);
    void this.#start();
  }

  stop() {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#recognition?.stop();
    this.#microphone?.close();
    element("listening").hidden = true;
    keepScreenOn(false);
  }

  async #start() {
    const { language, deviceId, strings } = this.#options;
    const isHere = await isLocal(language);
    element("privacy").textContent = say(strings, isHere ? "hearsHere" : "hearsThere");
    // A chosen device must be open first; otherwise recognition does not wait for the level.
    const isChosen = deviceId !== "" && canChooseDevice();
    if (isChosen) await this.#open(deviceId);
    if (this.#isStopped) return;
    const track = isChosen ? this.#microphone?.track : undefined;
    this.#recognition = listen(language, this.#handlers, { isLocal: isHere, track });
    if (!isChosen && canWatchLevel) await this.#open("");
    if (!this.#isStopped && canChooseDevice()) await this.#offer();
  }

  /** @param {string} deviceId */
  async #open(deviceId) {
    const level = element("level");
    const opened = await openMicrophone(deviceId, (value) => {
      level.style.transform = `scaleX(${value.toFixed(2)})`;
    });
    if (this.#isStopped) opened?.close();
    else this.#microphone = opened;
  }

  async #offer() {
    const { deviceId, strings } = this.#options;
    const found = await microphones();
    const picker = /** @type {HTMLSelectElement} */ (element("microphone"));
    const options = found
      .filter((device) => !["default", "communications"].includes(device.deviceId))
      .map(({ deviceId: id, label }, index) =>
        new Option(label || say(strings, "microphoneN", { n: index + 1 }), id, false, id === deviceId),
      );
    picker.replaceChildren(new Option(say(strings, "microphoneFirst"), ""), ...options);
    picker.value = options.some(({ value }) => value === deviceId) ? deviceId : "";
    picker.hidden = options.length < 2;
  }
}
