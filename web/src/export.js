/**
 * The transcript as a file: TXT, SRT, WebVTT, JSON. Pure; knows no page.
 *
 * @module
 */

/**
 * @typedef {import("./captions.js").Segment} Segment
 * @typedef {"txt" | "srt" | "vtt" | "json"} Format
 * @typedef {{startMs: number, endMs: number, lines: string[]}} Cue
 */

const LINE_CHARS = 42; // subtitle files: players have more room than the caption row
const CUE_LINES = 2;
const MIN_CUE_MS = 1_000;
const READING_MS_PER_CHAR = 60; // 17 characters a second, the usual limit for subtitles

/** @type {Readonly<Record<Format, {name: string, mime: string}>>} */
export const FORMATS = {
  txt: { name: "Plain text", mime: "text/plain" },
  srt: { name: "SubRip", mime: "application/x-subrip" },
  vtt: { name: "WebVTT", mime: "text/vtt" },
  json: { name: "JSON", mime: "application/json" },
};

/**
 * @param {readonly Segment[]} segments one without any final appears in the speaker's own words
 * @param {Format} format
 * @param {readonly string[]} targets subtitle files with several show them one below the other
 * @returns {string}
 */
export function exportTranscript(segments, format, targets) {
  if (format === "json") return `${JSON.stringify(toJson(segments, targets), null, 2)}\n`;
  if (format === "txt") return toText(segments, targets);
  const cues = toCues(segments, targets);
  return format === "srt" ? toSrt(cues) : toVtt(cues);
}

/**
 * @param {readonly Segment[]} segments
 * @param {readonly string[]} targets languages that are selected now
 * @returns {string[]} those with finals, then others that the transcript has
 */
export function allTargets(segments, targets) {
  const said = segments.flatMap(({ lines }) =>
    Object.entries(lines).flatMap(([target, line]) => (line.isFinal ? [target] : [])),
  );
  return [...new Set([...targets.filter((target) => said.includes(target)), ...said])];
}

/**
 * Break a text into lines, greedily, so that lines do not change when text is added: at spaces, and
 * between any two characters of scripts that use none.
 *
 * @param {string} text
 * @param {number} maxChars
 * @returns {string[]} words longer than a line get a line of their own
 */
export function wrap(text, maxChars) {
  /** @type {string[]} */
  const lines = [];
  let line = "";
  for (const word of text.split(/\s+/u).filter(Boolean)) {
    for (const [index, part] of parts(word).entries()) {
      const joined = line && index === 0 ? `${line} ${part}` : line + part;
      if (line && joined.length > maxChars) {
        lines.push(line);
        line = part;
      } else {
        line = joined;
      }
    }
  }
  return line ? [...lines, line] : lines;
}

const SPACELESS =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;
const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** @param {string} word @returns {string[]} parts between which a line may break; marks stay at what they follow */
function parts(word) {
  if (!SPACELESS.test(word)) return [word];
  /** @type {string[]} */
  const found = [];
  for (const { segment } of graphemes.segment(word)) {
    const last = found.at(-1);
    const isJoined = last !== undefined && !SPACELESS.test(segment) && !/[。、，！？]$/u.test(last);
    if (isJoined) found[found.length - 1] = last + segment;
    else found.push(segment);
  }
  return found;
}

/**
 * @param {readonly Segment[]} segments
 * @param {readonly string[]} targets
 */
function toJson(segments, targets) {
  return {
    targets,
    segments: segments.map(({ id, source, startMs, endMs, lines }) => ({
      id,
      start_ms: startMs,
      end_ms: endMs,
      source,
      translations: Object.fromEntries(
        targets.flatMap((target) => {
          const text = finalText(lines[target]);
          return text === null ? [] : [[target, text]];
        }),
      ),
    })),
  };
}

/**
 * @param {readonly Segment[]} segments
 * @param {readonly string[]} targets
 */
function toText(segments, targets) {
  const paragraphs = segments.map((segment) => texts(segment, targets).join("\n"));
  const between = targets.length > 1 ? "\n\n" : "\n";
  return `${paragraphs.filter(Boolean).join(between)}\n`;
}

/**
 * Segments at their own times; a long one becomes several cues, which divide its time by length.
 *
 * @param {readonly Segment[]} segments
 * @param {readonly string[]} targets
 * @returns {Cue[]} in order, never overlapping
 */
function toCues(segments, targets) {
  /** @type {Cue[]} */
  const cues = [];
  for (const [index, segment] of segments.entries()) {
    const pages = paginate(texts(segment, targets));
    const chars = pages.flat().join(" ").length;
    const before = cues.at(-1)?.endMs ?? 0;
    const startMs = Math.max(segment.startMs ?? before, before);
    const next = segments[index + 1]?.startMs ?? Infinity;
    const wantedMs = Math.max(MIN_CUE_MS, (segment.endMs ?? 0) - startMs, chars * READING_MS_PER_CHAR);
    const spanMs = Math.max(1, Math.min(wantedMs, Math.max(next - startMs, (segment.endMs ?? 0) - startMs)));
    let atMs = startMs;
    for (const [page, lines] of pages.entries()) {
      const share = lines.join(" ").length / Math.max(chars, 1);
      const isLast = page === pages.length - 1;
      const endMs = isLast ? startMs + spanMs : atMs + spanMs * share;
      cues.push({ startMs: atMs, endMs, lines });
      atMs = endMs;
    }
  }
  return cues;
}

/**
 * @param {readonly string[]} said one text per language
 * @returns {string[][]} lines of each cue, languages together
 */
function paginate(said) {
  const wrapped = said.map((text) => wrap(text, LINE_CHARS));
  const count = Math.max(0, ...wrapped.map((lines) => Math.ceil(lines.length / CUE_LINES)));
  return Array.from({ length: count }, (_, page) =>
    wrapped.flatMap((lines) => lines.slice(page * CUE_LINES, (page + 1) * CUE_LINES)),
  );
}

/** @param {readonly Cue[]} cues */
function toSrt(cues) {
  return cues
    .map(({ startMs, endMs, lines }, index) => {
      const time = `${clock(startMs, ",")} --> ${clock(endMs, ",")}`;
      return `${index + 1}\n${time}\n${lines.join("\n")}\n`;
    })
    .join("\n");
}

/** @param {readonly Cue[]} cues */
function toVtt(cues) {
  const blocks = cues.map(({ startMs, endMs, lines }) => {
    const time = `${clock(startMs, ".")} --> ${clock(endMs, ".")}`;
    return `${time}\n${lines.map(escapeVtt).join("\n")}\n`;
  });
  return ["WEBVTT\n", ...blocks].join("\n");
}

/** @param {string} text */
function escapeVtt(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/**
 * @param {number} ms
 * @param {string} mark between seconds and milliseconds
 */
function clock(ms, mark) {
  const whole = Math.round(ms);
  const pad = (/** @type {number} */ value, size = 2) => String(value).padStart(size, "0");
  const [hours, minutes, seconds] = [whole / 3_600_000, (whole / 60_000) % 60, (whole / 1000) % 60];
  const parts = [hours, minutes, seconds].map((value) => pad(Math.floor(value)));
  return `${parts.join(":")}${mark}${pad(whole % 1000, 3)}`;
}

/**
 * @param {Segment} segment
 * @param {readonly string[]} targets
 * @returns {string[]} its finals; if there are none the source, so that nothing is left out
 */
function texts({ lines, source, sourceUnstable }, targets) {
  const finals = targets.flatMap((target) => finalText(lines[target]) ?? []);
  const said = (source + sourceUnstable).trim();
  return finals.length > 0 || said === "" ? finals : [said];
}

/** @param {import("./captions.js").Line | undefined} line */
function finalText(line) {
  return line?.isFinal ? line.stable : null;
}
