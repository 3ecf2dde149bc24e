/**
 * What a reader of a room has on the screen, as a pure reducer over the events of `listen.js`.
 *
 * Knows no page and no socket. Uses nothing that browser sources of 2022 lack.
 *
 * @module
 */

/**
 * @typedef {import("./messages.js").RoomInfo} RoomInfo
 * @typedef {import("./messages.js").ServerEvent} ServerEvent
 *
 * @typedef {object} Spoken one segment, in the language that is read
 * @property {number} number segments are shown in the order of their numbers
 * @property {string} text appended so far; never taken back
 * @property {string} unstable the tail that may still change
 * @property {boolean} isFinal
 * @property {string} speaker "" = unknown
 * @property {string} source the speaker's own words, "" = not sent
 *
 * @typedef {object} Audience
 * @property {RoomInfo | null} room
 * @property {readonly Spoken[]} segments by number
 */

/** @type {Audience} */
export const NOBODY = { room: null, segments: [] };

/**
 * @param {Audience} state not changed
 * @param {ServerEvent} event types that say nothing about a room are ignored
 * @param {boolean} [isSource] whether the source is read instead of a translation
 * @returns {Audience} the same object when nothing has changed
 */
export function applyRoomEvent(state, event, isSource = false) {
  switch (event.type) {
    case "room.state":
      return event.segments.reduce(applyState, { ...state, room: event.room });
    case "room.updated":
      return { ...state, room: event.room };
    case "translation.delta":
      return change(state, event.segment_id, (before) => ({
        ...before,
        text: before.text + event.append,
        unstable: event.unstable,
        speaker: event.speaker || before.speaker,
      }));
    case "translation.final":
      return change(state, event.segment_id, (before) => ({
        ...before,
        text: event.text,
        unstable: "",
        isFinal: true,
        speaker: event.speaker || before.speaker,
      }));
    case "translation.retracted":
      return without(state, Number(event.segment_id));
    case "source.delta":
      return change(state, event.segment_id, (before) => ({
        ...before,
        ...(isSource
          ? { text: event.stable, unstable: event.unstable }
          : { source: event.stable + event.unstable }),
        speaker: event.speaker || before.speaker,
      }));
    case "source.final":
      if (event.text === "") return without(state, Number(event.segment_id));
      return change(state, event.segment_id, (before) => ({
        ...before,
        ...(isSource ? { text: event.text, unstable: "", isFinal: true } : { source: event.text }),
        speaker: event.speaker || before.speaker,
      }));
    default:
      return state;
  }
}

/**
 * @param {Audience} state
 * @param {import("./messages.js").RoomSegment} told
 * @returns {Audience}
 */
function applyState(state, told) {
  if (told.is_retracted) return without(state, Number(told.segment_id));
  return change(state, told.segment_id, (before) => ({
    ...before,
    text: told.text,
    unstable: told.unstable ?? "",
    isFinal: told.is_final ?? false,
    speaker: told.speaker ?? before.speaker,
    source: told.source ?? before.source,
  }));
}

/**
 * @param {Audience} state
 * @param {string} id
 * @param {(before: Spoken) => Spoken} alter
 * @returns {Audience}
 */
function change(state, id, alter) {
  const number = Number(id);
  const segments = state.segments.slice();
  // Almost always the last one, or a new one after it.
  let index = segments.length;
  while (index > 0 && /** @type {Spoken} */ (segments[index - 1]).number > number) index -= 1;
  const before = segments[index - 1];
  if (before && before.number === number) segments[index - 1] = alter(before);
  else {
    const fresh = { number, text: "", unstable: "", isFinal: false, speaker: "", source: "" };
    segments.splice(index, 0, alter(fresh));
  }
  return { ...state, segments };
}

/**
 * @param {Audience} state
 * @param {number} number
 * @returns {Audience}
 */
function without(state, number) {
  const segments = state.segments.filter((segment) => segment.number !== number);
  return segments.length === state.segments.length ? state : { ...state, segments };
}
