/**
 * Names and directions of languages, and which ones a model offers. Pure.
 *
 * @module
 */

/**
 * @typedef {import("./messages.js").LanguageInfo} LanguageInfo
 */

// Scripts; the browser's CLDR knows which one a language is written in.
const RIGHT_TO_LEFT = new Set(["Adlm", "Arab", "Hebr", "Nkoo", "Rohg", "Samr", "Syrc", "Thaa"]);

// What the page offers until the server has said what its model can do.
const FIRST_CODES = ["de", "en", "es", "fr"];

/** @type {readonly LanguageInfo[]} */
export const FIRST_LANGUAGES = FIRST_CODES.map((code) => ({
  code,
  name: languageName(code),
  targets: FIRST_CODES.filter((target) => target !== code),
  pivot_targets: [],
}));

/**
 * @param {string} code
 * @returns {string} a language's name for itself
 */
export function languageName(code) {
  const name = new Intl.DisplayNames([code], { type: "language" }).of(code) ?? code;
  return name.charAt(0).toLocaleUpperCase(code) + name.slice(1);
}

/**
 * @param {string} language
 * @returns {"ltr" | "rtl"}
 */
export function direction(language) {
  return RIGHT_TO_LEFT.has(likely(language)?.script ?? "") ? "rtl" : "ltr";
}

/**
 * @param {string} tag as somebody wrote it: `zh-TW`, `EN-us`
 * @param {readonly string[]} offered
 * @returns {string | undefined} the best match of the same language: script first, then region
 */
export function closest(tag, offered) {
  if (offered.includes(tag)) return tag;
  const asked = likely(tag);
  if (asked === null) return undefined;
  const written = new Intl.Locale(tag).toString(); // canonical: iw becomes he
  if (offered.includes(written)) return written;
  const fits = offered.flatMap((code) => {
    const found = likely(code);
    if (found === null || found.language !== asked.language) return [];
    return [{ code, rank: 2 * Number(found.script !== asked.script) + Number(found.region !== asked.region) }];
  });
  return fits.sort((a, b) => a.rank - b.rank || a.code.length - b.code.length)[0]?.code;
}

/** @param {string} tag */
function likely(tag) {
  try {
    return new Intl.Locale(tag).maximize();
  } catch {
    return null; // not a tag: "", "de_", "x"
  }
}

/**
 * @param {readonly LanguageInfo[]} languages
 * @param {string} source "auto" = any
 * @returns {string[]} what it can be translated to
 */
export function offeredTargets(languages, source) {
  const offered = languages.filter(({ code }) => [code, "auto"].includes(source));
  return [...new Set(offered.flatMap(({ targets }) => targets))];
}

/**
 * Replace languages of a link or an earlier visit that the model does not have by ones it has.
 *
 * @param {readonly LanguageInfo[]} languages
 * @param {string} source
 * @param {readonly string[]} targets
 * @returns {{source: string, targets: string[]}} at least one target, if the model has any
 */
export function keepOffered(languages, source, targets) {
  const codes = languages.map(({ code }) => code);
  const possible = (source === "auto" ? source : closest(source, codes)) ?? "auto";
  const offered = offeredTargets(languages, possible);
  const kept = [...new Set(targets.flatMap((target) => closest(target, offered) ?? []))];
  return { source: possible, targets: kept.length > 0 ? kept : offered.slice(0, 1) };
}
