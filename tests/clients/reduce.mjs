// The JavaScript client's reducers and what it keeps to say again, for comparison. A line of standard
// input is {reducer, isSource, frames} or {calls}, a line of output the states after each frame, or
// what each call returned.

import { createInterface } from "node:readline";
import { NOBODY, applyRoomEvent } from "../../web/src/audience.js";
import { EMPTY, applyEvent } from "../../web/src/captions.js";
import { Pending } from "../../web/src/pending.js";

for await (const line of createInterface({ input: process.stdin })) {
  const { reducer, isSource, frames, calls } = JSON.parse(line);
  console.log(JSON.stringify(calls ? results(calls) : states(reducer, isSource, frames)));
}

function states(reducer, isSource, frames) {
  const isRoom = reducer === "audience";
  let state = isRoom ? NOBODY : EMPTY;
  return frames.map((frame) => {
    state = isRoom ? applyRoomEvent(state, frame, isSource) : applyEvent(state, frame);
    return state;
  });
}

function results(calls) {
  const pending = new Pending();
  return calls.map(([name, ...given]) => {
    if (name === "openIds" || name === "hasRefused") return pending[name];
    try {
      return pending[name](...given.map((each) => each ?? undefined)) ?? null;
    } catch (error) {
      return error.constructor.name;
    }
  });
}
