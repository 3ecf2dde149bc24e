/**
 * Where typed text ends a sentence. Pure; knows nothing of segments on the wire.
 *
 * @module
 */

// Abbreviations of the four languages, after which a full stop does not end a sentence.
const ABBREVIATIONS = new Set(
  (
    "mr mrs ms dr prof st vs etc e.g i.e no fig approx dept est jr sr inc ltd " +
    "z.b d.h u.a bzw ca usw evtl ggf nr str hr fr abs bspw vgl " +
    "m mme mlle p.ex env cf av sra srta ud uds p.ej pág núm"
  ).split(" "),
);

const MAX_CHARS = 400; // a text without the end of a sentence is cut at a space before this

const SENTENCE_END = /[.!?…。！？]+["'”’»)\]]*(?=\s)|[。！？]|\n/gu;

/**
 * Cut the sentences that have certainly ended from the front of a text.
 *
 * A mark counts once a space follows, since "3." may still become "3.5"; a line break always
 * counts.
 *
 * @param {string} text
 * @returns {{sentences: string[], rest: string}} trimmed sentences; `rest` is still being written
 */
export function splitSentences(text) {
  /** @type {string[]} */
  const sentences = [];
  let start = 0;
  for (const match of text.matchAll(SENTENCE_END)) {
    const end = match.index + match[0].length;
    if (match[0].startsWith(".") && isAbbreviation(text.slice(start, match.index))) continue;
    const sentence = text.slice(start, end).trim();
    if (sentence) sentences.push(sentence);
    start = end;
  }
  let rest = text.slice(start).replace(/^\s+/u, "");
  while (rest.length > MAX_CHARS) {
    const space = rest.lastIndexOf(" ", MAX_CHARS);
    const end = space > 0 ? space : MAX_CHARS;
    sentences.push(rest.slice(0, end).trim());
    rest = rest.slice(end).replace(/^\s+/u, "");
  }
  return { sentences, rest };
}

/**
 * @param {string} text
 * @returns {boolean} whether a pause after this text can be taken for the end of a sentence
 */
export function endsSentence(text) {
  const { sentences, rest } = splitSentences(`${text} `);
  return sentences.length > 0 && rest === "";
}

/**
 * @param {string} before the sentence up to its full stop
 * @returns {boolean}
 */
function isAbbreviation(before) {
  const word = before.match(/[\p{L}.]+$/u)?.[0] ?? "";
  // One letter is an initial ("J. Smith"), digits alone an ordinal ("am 3. Mai").
  const isOrdinal = /(^|\s)\d{1,2}$/u.test(before);
  return isOrdinal || /^\p{L}$/u.test(word) || ABBREVIATIONS.has(word.toLowerCase());
}
