import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";

import { EMPTY, applyEvent } from "../src/captions.js";
import { connect } from "../src/client.js";
import { FakeWorld, drain } from "./fakes.js";
import { ModelServer, translate } from "./modelserver.js";

const URL_ = "ws://translator.example/v1/stream";

/** @type {FakeWorld} */
let world;
beforeEach(() => {
  world = new FakeWorld();
});

function start(options = {}) {
  const { environment } = world;
  return connect({ url: URL_, source: "en", targets: ["de"], pingIntervalMs: 0, environment, ...options });
}

/** The newest socket gets through and is offered a session that can be resumed. */
function greet(id) {
  world.socket.open();
  world.socket.receive({
    type: "session.created", seq: 1, t_ms: 0,
    session: { id, epoch: "e", resume_token: `token-of-${id}`, languages: [] },
  });
}

function resumed(recovered, seq) {
  world.socket.receive({ type: "session.resumed", recovered, from_seq: seq + 1, seq });
}

function refuse(code, rest = {}) {
  world.socket.receive({ type: "error", error: { type: "x", code, message: code, ...rest } });
}

function final(seq, segment_id, target = "de") {
  return { type: "translation.final", seq, segment_id, target, text: "Ja.", source_text: "Yes." };
}

/** Lose the line and wait until the next one is tried. */
function cut() {
  world.socket.drop();
  world.advance(1_000);
}

const sentTypes = () => world.socket.sent.map(({ type, segment_id }) => [type, segment_id ?? ""].join(" ").trim());

describe("a session that the server still knows", () => {
  test("is asked for first, and nothing is said before it is there", async () => {
    const session = start({ token: "t" });
    greet("a");
    session.commit({ segmentId: "s1", text: "Yes." });
    session.update({ segmentId: "s2", stable: "Tw" });
    world.socket.receive({ type: "translation.delta", seq: 2, segment_id: "s1", target: "de", source_rev: 1, append: "J", unstable: "" });
    cut();
    assert.equal(world.socket.url, URL_); // the token is used up; that of the session is sent instead
    greet("b");
    assert.deepEqual(world.socket.sent, [
      { type: "session.resume", session_id: "a", resume_token: "token-of-a", epoch: "e", last_seq: 2 },
    ]);
    await drain(session);
    resumed(true, 2);
    assert.deepEqual(sentTypes(), [
      "session.resume", "session.update", "source.commit s1", "source.update s2",
    ]);
    assert.equal(world.socket.of("source.update")[0].rev, 2);
    world.socket.receive(final(3, "s1"));
    const events = await drain(session);
    assert.deepEqual(events.map(({ type }) => type), ["session.resumed", "connection", "translation.final"]);
    cut();
    greet("c");
    assert.equal(world.socket.of("session.resume")[0].session_id, "a");
    assert.equal(world.socket.of("session.resume")[0].last_seq, 3);
  });

  test("is asked for again after a server was full, with the same number", async () => {
    const session = start();
    greet("a");
    cut();
    world.socket.open();
    refuse("too_many_sessions", { retryable: true, seq: 0 });
    world.socket.drop(1013);
    assert.equal(session.state, "waiting");
    world.advance(5_000);
    world.socket.open();
    assert.equal(world.socket.of("session.resume")[0].last_seq, 1);
    const errors = (await drain(session)).filter(({ type }) => type === "error");
    assert.deepEqual(errors.map(({ error }) => error.code), ["too_many_sessions"]);
  });

  test("is told the settings that changed while the line was lost", () => {
    const session = start();
    greet("a");
    world.socket.drop();
    session.configure({ targets: ["fr"] });
    world.advance(1_000);
    greet("b");
    resumed(true, 1);
    assert.deepEqual(world.socket.of("session.update")[0].session.targets, [{ language: "fr" }]);
  });

  test("is told once more what was withdrawn, until it has said so", async () => {
    const session = start();
    greet("a");
    session.update({ segmentId: "s2", stable: "Y" });
    world.advance(100);
    session.cancel("s2");
    world.socket.drop();
    session.commit({ segmentId: "s3", text: "Yes." });
    session.cancel("s3");
    world.advance(1_000);
    greet("b");
    resumed(true, 1);
    await drain(session);
    assert.deepEqual(sentTypes().slice(2), ["source.cancel s2", "source.cancel s3"]);
    world.socket.receive({ type: "translation.delta", seq: 2, segment_id: "s2", target: "de", source_rev: 1, append: "J", unstable: "" });
    world.socket.receive({ type: "translation.retracted", seq: 3, segment_id: "s2", target: "de" });
    refuse("unknown_segment", { event_id: world.socket.of("source.cancel")[1].event_id });
    assert.deepEqual((await drain(session)).map(({ type }) => type), ["translation.retracted"]);
    cut();
    greet("c");
    resumed(true, 4);
    assert.deepEqual(sentTypes(), ["session.resume", "session.update"]);
  });
});

describe("a session that the server has forgotten", () => {
  test("gives way to the new one, which is told everything without a final", async () => {
    const session = start({ targets: ["de", "fr"] });
    greet("a");
    session.commit({ segmentId: "s1", text: "Yes." });
    session.update({ segmentId: "s2", stable: "Y" });
    session.cancel("s2"); // the new session need not know
    world.socket.receive(final(2, "s1", "de"));
    await drain(session);
    cut();
    greet("b");
    refuse("session_expired", { seq: 2 });
    assert.deepEqual(sentTypes(), ["session.resume", "session.update", "source.commit s1"]);
    world.socket.receive({ type: "translation.delta", seq: 3, segment_id: "s1", target: "de", source_rev: 1, append: "J", unstable: "" });
    world.socket.receive(final(4, "s1", "de")); // it cannot know that this one has come
    world.socket.receive(final(5, "s1", "fr"));
    const events = (await drain(session)).filter(({ type }) => type !== "connection");
    assert.deepEqual(events.map(({ type, target }) => [type, target]), [
      ["session.created", undefined], ["translation.final", "fr"],
    ]);
    cut();
    greet("c");
    const [resume] = world.socket.of("session.resume");
    assert.deepEqual([resume.session_id, resume.last_seq], ["b", 5]);
  });

  test("is told a long text again until every part that it was cut into has its final", async () => {
    const session = start();
    greet("a");
    session.commit({ segmentId: "s1", text: "Yes.Yes.Yes." });
    for (const [seq, id] of ["s1~3", "s1"].entries()) world.socket.receive(final(seq + 2, id));
    cut();
    greet("b");
    refuse("session_expired", { seq: 2 });
    assert.equal(world.socket.of("source.commit").length, 1);
    await drain(session);
    for (const [seq, id] of ["s1", "s1~2", "s1~3"].entries()) world.socket.receive(final(seq + 3, id));
    assert.deepEqual((await drain(session)).map(({ segment_id }) => segment_id), ["s1~2"]);
    cut();
    greet("c");
    resumed(true, 5);
    assert.equal(world.socket.of("source.commit").length, 0);
  });

  test("costs the token once more where the server asks for one", async () => {
    const session = start({ token: "a-key" });
    greet("a");
    cut();
    world.socket.open();
    refuse("unauthorized");
    assert.equal(world.socket.url, `${URL_}?token=a-key`);
    greet("b");
    assert.equal(session.state, "open");
    assert.deepEqual((await drain(session)).filter(({ type }) => type === "error"), []);
    cut();
    world.socket.open();
    refuse("unauthorized");
    world.socket.open();
    refuse("unauthorized"); // now the token itself
    world.socket.drop(4401);
    assert.equal(session.state, "closed");
    assert.equal((await drain(session)).filter(({ type }) => type === "error").length, 1);
  });
});

/** Numbers in [0, 1) that are the same for the same seed (a linear congruential generator). */
function seeded(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Somebody who writes, and a line that is cut again and again. */
class Play {
  captions = EMPTY;
  finals = [];
  committed = [];
  cancelled = new Set();
  text = "";
  number = 1;

  constructor(seed, targets) {
    this.random = seeded(seed);
    this.targets = targets;
    this.world = new FakeWorld();
    this.server = new ModelServer(Math.floor(this.random() * 6));
    const { environment } = this.world;
    this.session = connect({ url: URL_, targets, pingIntervalMs: 0, minUpdateIntervalMs: 20, environment });
  }

  async step() {
    const { world, server, session } = this;
    const dice = this.random();
    const segmentId = `s${this.number}`;
    if (dice < 0.3) {
      this.text += `${"abcdefgh"[Math.floor(this.random() * 8)]} `;
      session.update({ segmentId, stable: this.text });
    } else if (dice < 0.38 && this.text) {
      session.commit({ segmentId });
      this.committed.push([segmentId, this.text]);
      this.next();
    } else if (dice < 0.41 && this.text) {
      session.cancel(segmentId);
      this.captions = applyEvent(this.captions, { type: "translation.retracted", segment_id: segmentId });
      this.cancelled.add(segmentId);
      this.next();
    } else if (dice < 0.62) {
      server.takeSome(this.random);
    } else if (dice < 0.84) {
      server.giveSome(this.random);
    } else if (dice < 0.88) {
      server.cut();
    } else if (dice < 0.89) {
      server.restart();
    } else {
      world.advance(Math.floor(this.random() * 300));
      server.accept(world.sockets);
    }
    await this.look();
  }

  next() {
    this.number += 1;
    this.text = "";
  }

  /** What has come keeps what is on the screen. */
  async look() {
    for (const event of await drain(this.session)) {
      const before = this.captions;
      this.captions = applyEvent(before, event);
      if (event.type === "error") assert.fail(`an error was shown: ${event.error.message}`);
      if (event.type === "translation.final") this.finals.push(event);
      for (const segment of before.segments) {
        const after = this.captions.segments.find(({ id }) => id === segment.id);
        for (const [target, { stable }] of Object.entries(segment.lines)) {
          if (after) assert.ok(after.lines[target].stable.startsWith(stable), "text was taken back");
        }
      }
    }
  }

  /** No more cuts: everything arrives. */
  async settle() {
    for (let i = 0; i < 40; i += 1) {
      this.world.advance(10_000);
      this.server.accept(this.world.sockets);
      this.server.flush();
      await this.look();
    }
  }

  check() {
    for (const target of this.targets) {
      const got = this.finals.filter((event) => event.target === target);
      assert.deepEqual(
        got.map(({ segment_id, text }) => [segment_id, text]),
        this.committed.map(([id, text]) => [id, translate(text, target)]),
      );
    }
    for (const { id } of this.captions.segments) assert.ok(!this.cancelled.has(id), `${id} is back`);
    if (this.text) {
      const open = this.captions.segments.find(({ id }) => id === `s${this.number}`);
      for (const target of this.targets) assert.equal(open.lines[target].stable, translate(this.text, target));
    }
    assert.equal(this.session.state, "open");
  }
}

test("whatever is cut and whenever, nothing is lost, nothing comes twice, and the order is kept", async () => {
  const counts = { resumed: 0, gaps: 0, expired: 0 };
  for (let seed = 1; seed <= 150; seed += 1) {
    const play = new Play(seed, seed % 2 ? ["de"] : ["de", "fr"]);
    try {
      for (let i = 0; i < 200; i += 1) await play.step();
      await play.settle();
      play.check();
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
    for (const name of Object.keys(counts)) counts[name] += play.server.counts[name];
  }
  for (const [name, count] of Object.entries(counts)) assert.ok(count > 100, `${name}: only ${count}`);
});
