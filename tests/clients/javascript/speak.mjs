// Says what it is told to, line by line of standard input, and writes what it hears:
// `node speak.mjs '{"url": ...}' [ws]`. Lines are {"do": name of a method, "with": its argument}.

import { createInterface } from "node:readline";
import { connect } from "@tokenspeed/client";

const [options = "{}", socket] = process.argv.slice(2);
const given = JSON.parse(options);
if (socket) {
  delete globalThis.WebSocket; // as Node.js 20 is
  given.WebSocket = (await import(socket)).default;
}
if (given.tokens) given.token = () => Promise.resolve(given.tokens.shift());

const session = connect(given);

const lines = createInterface({ input: process.stdin });

async function listen() {
  for await (const event of session) console.log(JSON.stringify(event));
  lines.close();
  process.stdin.destroy();
}
const listening = listen();

for await (const line of lines) {
  const { do: name, with: argument } = JSON.parse(line);
  if (name === "close") session.close();
  else session[name](argument);
}
await listening;
