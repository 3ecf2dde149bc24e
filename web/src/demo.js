/**
 * Types a short text by itself, at a good typist's pace.
 *
 * @module
 */

const TEXTS = /** @type {const} */ ({
  en: "Good morning, everyone. Today we want to talk about the weather in the mountains.",
  de: "Guten Morgen zusammen. Heute möchten wir über das Wetter in den Bergen sprechen.",
  fr: "Bonjour à tous. Aujourd'hui, nous voulons parler du temps dans les montagnes.",
  es: "Buenos días a todos. Hoy queremos hablar del tiempo en las montañas.",
});
const KEY_MS = 55;
const WORD_MS = 90; // a breath between words

/**
 * @param {string} language English where there is no text in it
 * @param {(text: string) => void} write what the box holds now
 * @param {() => void} done
 * @returns {{stop: () => void}}
 */
export function play(language, write, done) {
  const text = language in TEXTS ? TEXTS[/** @type {"en"} */ (language)] : TEXTS.en;
  let typed = 0;
  let start = 0; // of the sentence in the box: finished ones leave it
  /** @type {ReturnType<typeof setTimeout>} */
  let timer;
  const type = () => {
    typed += 1;
    write(text.slice(start, typed));
    const isSentenceOver = text[typed - 1] === " " && text[typed - 2] === ".";
    if (isSentenceOver) start = typed;
    if (typed === text.length) done();
    else timer = setTimeout(type, text[typed - 1] === " " ? WORD_MS : KEY_MS);
  };
  timer = setTimeout(type, KEY_MS);
  return { stop: () => clearTimeout(timer) };
}
