// Clients of others, asking a running service: `node peers.js http://127.0.0.1:PORT KEY`. Prints
// what each of them was answered, as one JSON object.

import { translate } from "libretranslate";
import { Translate } from "translate";

const [apiurl = "", apiKey = ""] = process.argv.slice(2);

const engine = Translate({ engine: "libre", key: apiKey, url: `${apiurl}/translate` });

/** @param {Promise<unknown>} asked */
const outcome = async (asked) => {
  try {
    return await asked;
  } catch (error) {
    return `${error}`;
  }
};

const asked = { query: "Good morning.", source: "en", target: "de", apiurl, apiKey };
const answers = {
  libretranslate: await outcome(translate(asked)),
  html: await outcome(translate({ ...asked, query: "Hello <b>world</b>", format: "html" })),
  translate: await outcome(engine("Good morning.", "de")),
  by_name: await outcome(engine("Good morning.", "German")),
  refused: await outcome(engine("Good morning.", "it")),
};
console.log(JSON.stringify(answers));
