// The reducers of the JavaScript client, for comparison: a line of standard input is
// {reducer, isSource, frames}, a line of output the states after each frame.

import { createInterface } from "node:readline";
import { NOBODY, applyRoomEvent } from "../../web/src/audience.js";
import { EMPTY, applyEvent } from "../../web/src/captions.js";

for await (const line of createInterface({ input: process.stdin })) {
  const { reducer, isSource, frames } = JSON.parse(line);
  const isRoom = reducer === "audience";
  let state = isRoom ? NOBODY : EMPTY;
  const states = frames.map((frame) => {
    state = isRoom ? applyRoomEvent(state, frame, isSource) : applyEvent(state, frame);
    return state;
  });
  console.log(JSON.stringify(states));
}
