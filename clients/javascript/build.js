/**
 * Builds `dist`: those of the page's modules that a client needs, without comments, and their types.
 *
 *     node build.js [FOLDER]
 *
 * The modules stay in `web/src`, where the service serves them. Nothing is bundled or minified, so
 * that a debugger shows the original code.
 */

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const WEB = join(HERE, "../../web");
const FOLDER = process.argv[2] ?? HERE;
const DIST = join(FOLDER, "dist");
const ENTRIES = ["index.js", "livecaptions.js"];
const OPTIONS = [
  ...["--allowJs", "--strict", "--skipLibCheck", "--moduleResolution", "bundler"],
  ...["--target", "es2022", "--module", "es2022", "--lib", "es2023,dom,dom.iterable"],
];

const staged = mkdtempSync(join(tmpdir(), "tokenspeed-client-"));
const seen = new Set();

/** Copy a module and all that it imports, types included. */
function stage(name, folder = join(WEB, "src")) {
  if (seen.has(name)) return;
  seen.add(name);
  copyFileSync(join(folder, name), join(staged, name));
  const text = readFileSync(join(folder, name), "utf8");
  for (const [, next] of text.matchAll(/(?:from |import\()"\.\/([a-z]+\.js)"/g)) stage(next);
}

function compile(...options) {
  const files = ENTRIES.map((name) => join(staged, name));
  const tsc = join(WEB, "node_modules/typescript/bin/tsc");
  const places = ["--rootDir", staged, "--outDir", DIST];
  execFileSync(process.execPath, [tsc, ...OPTIONS, ...options, ...places, ...files], {
    stdio: "inherit",
  });
}

try {
  rmSync(DIST, { recursive: true, force: true });
  mkdirSync(DIST);
  copyFileSync(join(HERE, "../../LICENSE"), join(FOLDER, "LICENSE"));
  stage("index.js", HERE);
  stage("livecaptions.js");
  compile("--removeComments");
  compile("--declaration", "--emitDeclarationOnly");
  rmSync(join(DIST, "messages.js"), { force: true }); // only types
} finally {
  rmSync(staged, { recursive: true });
}
