import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";

import { nextDelayMs } from "../src/backoff.js";
import { connect } from "../src/client.js";
import { RETRYABLE_CODES, listenUrl } from "../src/protocol.js";
import { FakeWorld, drain } from "./fakes.js";

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

function final(segmentId, target = "de", text = "Ja.") {
  const stats = { updates: 1, erased: 0, first_ms: 1, final_ms: 1 };
  return { type: "translation.final", segment_id: segmentId, target, text, source_text: "Yes.", stats };
}

describe("connecting", () => {
  test("asks for the subprotocol and sends the settings once greeted", async () => {
    const session = start({ token: "t 1", targets: ["de", "fr"] });
    assert.deepEqual(world.socket.protocols, ["tokenspeed.v1"]);
    assert.equal(world.socket.url, `${URL_}?token=t+1`);
    assert.equal(world.socket.sent.length, 0);
    world.greet();
    assert.equal(session.state, "open");
    const [update] = world.socket.of("session.update");
    assert.deepEqual(update.session, {
      source: { language: "en" },
      targets: [{ language: "de" }, { language: "fr" }],
      mode: "captions",
      stability: "balanced",
      partials: true,
      timing: true,
    });
    const states = (await drain(session)).flatMap((event) => event.state ?? []);
    assert.deepEqual(states, ["connecting", "open"]);
  });

  test("a glossary and forms of address go along", () => {
    const glossary = [{ source: "ticket", target: "Karte" }];
    const session = start({ targets: ["de", "fr"], formality: { de: "formal" }, glossary });
    world.greet();
    session.configure({ formality: { de: "informal" }, glossary: [] });
    const sent = world.socket.of("session.update").map(({ session }) => session);
    assert.deepEqual(sent.map(({ targets }) => targets), [
      [{ language: "de", formality: "formal" }, { language: "fr" }],
      [{ language: "de", formality: "informal" }, { language: "fr" }],
    ]);
    assert.deepEqual(sent.map(({ glossary }) => glossary), [glossary, []]);
  });

  test("what a page gives as the span above goes along with each line", () => {
    let calls = 0;
    start({ traceparent: () => `00-trace-${(calls += 1)}-01`, token: "secret" });
    const asked = () => Object.fromEntries(new URL(world.socket.url).searchParams);
    assert.deepEqual(asked(), { token: "secret", traceparent: "00-trace-1-01" });
    world.greet();
    world.socket.drop();
    world.advance(1_000);
    assert.equal(asked().traceparent, "00-trace-2-01");
    start({ traceparent: "00-a-b-00" });
    assert.deepEqual(asked(), { traceparent: "00-a-b-00" });
    start({ traceparent: () => undefined });
    assert.deepEqual(asked(), {});
  });

  test("a server that never answers is given up after the time limit, and tried again", async () => {
    const session = start({ connectTimeoutMs: 2_000 });
    world.advance(1_999);
    assert.equal(session.state, "connecting");
    world.advance(1);
    assert.equal(session.state, "waiting");
    const last = (await drain(session)).at(-1);
    assert.equal(last.reason, "No answer within 2 s");
    assert.ok(last.retry_in_ms > 0);
    world.advance(200);
    assert.equal(world.sockets.length, 2);
  });

  test("an address that the browser forbids ends the session with its reason", async () => {
    const environment = {
      ...world.environment,
      open: () => {
        throw new SyntaxError("not a WebSocket address");
      },
    };
    const events = await drain(start({ environment }));
    assert.equal(events.at(-1).state, "closed");
    assert.match(events.at(-1).reason, /not a WebSocket address/);
  });

  test("an aborted signal ends it at once and leaves no timer behind", async () => {
    const controller = new AbortController();
    const session = start({ signal: controller.signal, pingIntervalMs: 1_000 });
    world.greet();
    controller.abort();
    assert.equal(session.state, "closed");
    assert.equal(world.numTimers, 0);
    const events = [];
    for await (const event of session) events.push(event);
    assert.equal(events.at(-1).reason, "aborted");
    assert.throws(() => start({ signal: controller.signal }), { name: "AbortError" });
  });
});

describe("sending", () => {
  test("the first update leaves at once, the next ones are thinned and the newest wins", () => {
    const session = start();
    world.greet();
    session.update({ segmentId: "s1", stable: "G" });
    for (const stable of ["Go", "Goo", "Good"]) session.update({ segmentId: "s1", stable });
    assert.deepEqual(world.socket.of("source.update").map(({ stable }) => stable), ["G"]);
    world.advance(100);
    const updates = world.socket.of("source.update");
    assert.deepEqual(updates.map(({ stable }) => stable), ["G", "Good"]);
    assert.ok(updates[1].rev > updates[0].rev);
  });

  test("at most ten updates leave in a second of fast typing", () => {
    const session = start();
    world.greet();
    for (let i = 1; i <= 100; i += 1) {
      session.update({ segmentId: "s1", stable: "x".repeat(i) });
      world.advance(10);
    }
    assert.ok(world.socket.of("source.update").length <= 11);
    assert.equal(world.socket.of("source.update").at(-1).stable.length > 90, true);
  });

  test("a commit carries the whole text, a newer rev, and overtakes the waiting update", () => {
    const session = start();
    world.greet();
    session.update({ segmentId: "s1", stable: "Good ", unstable: "mor", startMs: 5 });
    session.update({ segmentId: "s1", stable: "Good morning", unstable: "." });
    session.commit({ segmentId: "s1" });
    world.advance(1_000);
    assert.deepEqual(world.socket.of("source.update").length, 1);
    const [commit] = world.socket.of("source.commit");
    assert.equal(commit.text, "Good morning.");
    assert.equal(commit.rev, 3);
    assert.throws(() => session.commit({ segmentId: "s2" }), TypeError);
  });

  test("another segment does not swallow the last text of the one before", () => {
    const session = start();
    world.greet();
    session.update({ segmentId: "a", stable: "1" });
    session.update({ segmentId: "a", stable: "1 2" });
    session.update({ segmentId: "b", stable: "x" });
    world.advance(100);
    const sent = world.socket.of("source.update").map((update) => [update.segment_id, update.stable]);
    assert.deepEqual(sent, [["a", "1"], ["a", "1 2"], ["b", "x"]]);
  });

  test("several segments may be open, each with its speaker, and all are said again", () => {
    const session = start();
    world.greet();
    session.update({ segmentId: "a", stable: "1", speaker: "Ann" });
    session.update({ segmentId: "b", stable: "x", speaker: "Ben" });
    session.append({ segmentId: "a", text: " 2" });
    world.advance(100);
    const sent = () =>
      world.socket.of("source.update").map((each) => [each.segment_id, each.stable, each.speaker]);
    assert.deepEqual(sent(), [["a", "1", "Ann"], ["a", "1 2", "Ann"], ["b", "x", "Ben"]]);
    world.socket.drop();
    world.advance(1_000);
    world.greet();
    assert.deepEqual(sent(), [["a", "1 2", "Ann"], ["b", "x", "Ben"]]);
    session.flush();
    const commits = world.socket.of("source.commit");
    assert.deepEqual(commits.map(({ text, speaker }) => [text, speaker]), [["1 2", "Ann"], ["x", "Ben"]]);
  });

  test("append adds to the text of its segment", () => {
    const session = start();
    world.greet();
    session.append({ segmentId: "s1", text: "Good" });
    session.append({ segmentId: "s1", text: " morning" });
    world.advance(100);
    assert.equal(world.socket.of("source.update").at(-1).stable, "Good morning");
  });

  test("a cancelled segment is not sent any more", () => {
    const session = start();
    world.greet();
    session.update({ segmentId: "s1", stable: "G" });
    session.update({ segmentId: "s1", stable: "Go" });
    session.cancel("s1");
    world.advance(1_000);
    assert.equal(world.socket.of("source.update").length, 1);
    assert.equal(world.socket.of("source.cancel").length, 1);
  });

  test("a segment that the server never saw is cancelled without a word", () => {
    const session = start();
    session.update({ segmentId: "s1", stable: "G" });
    session.cancel("s1");
    world.greet();
    session.cancel("s2");
    assert.deepEqual(world.socket.sent.map(({ type }) => type), ["session.update"]);
  });

  test("settings can change while it runs, and the open text is told again", () => {
    const session = start();
    world.greet();
    session.update({ segmentId: "s1", stable: "Good" });
    session.configure({ targets: ["fr"] });
    const updates = world.socket.of("source.update");
    assert.deepEqual(updates.map(({ stable }) => stable), ["Good", "Good"]);
    assert.ok(updates[1].rev > updates[0].rev);
    assert.deepEqual(world.socket.of("session.update")[1].session.targets, [{ language: "fr" }]);
    assert.deepEqual(world.socket.of("session.update")[1].session.source, { language: "en" });
  });
});

describe("a lost line", () => {
  test("only the newest open text and the commits without a final are sent again", () => {
    const session = start();
    world.greet();
    session.update({ segmentId: "s1", stable: "Yes." });
    session.commit({ segmentId: "s1" });
    world.socket.receive(final("s1"));
    session.update({ segmentId: "s2", stable: "Two." });
    session.commit({ segmentId: "s2" });
    world.socket.drop();
    session.update({ segmentId: "s3", stable: "Thr" });
    session.commit({ segmentId: "s3", text: "Three." });
    for (const stable of ["F", "Fo", "Four"]) session.update({ segmentId: "s4", stable });
    world.advance(1_000);
    world.greet();
    const sent = world.socket.sent.map(({ type, segment_id }) => [type, segment_id]);
    assert.deepEqual(sent, [
      ["session.update", undefined],
      ["source.commit", "s2"],
      ["source.commit", "s3"],
      ["source.update", "s4"],
    ]);
    assert.equal(world.socket.of("source.update")[0].stable, "Four");
  });

  test("with several targets a commit is kept until the last final", () => {
    const session = start({ targets: ["de", "fr"] });
    world.greet();
    session.commit({ segmentId: "s1", text: "Yes." });
    world.socket.receive(final("s1", "de"));
    world.socket.drop();
    world.advance(1_000);
    world.greet();
    assert.equal(world.socket.of("source.commit").length, 1);
    world.socket.receive(final("s1", "fr", "Oui."));
    world.socket.drop();
    world.advance(10_000);
    world.greet();
    assert.equal(world.socket.of("source.commit").length, 0);
  });

  test("a commit that the server refuses for good is not sent again", () => {
    const session = start();
    world.greet();
    session.commit({ segmentId: "s1", text: "x".repeat(5_000) });
    const { event_id } = world.socket.of("source.commit")[0];
    const error = { type: "invalid_request", code: "text_too_long", message: "", event_id };
    world.socket.receive({ type: "error", error });
    world.socket.drop();
    world.advance(1_000);
    world.greet();
    assert.equal(world.socket.of("source.commit").length, 0);
  });

  test("text that found no room is offered again, and only that", () => {
    const session = start();
    world.greet();
    session.commit({ segmentId: "s1", text: "One." });
    session.commit({ segmentId: "s2", text: "Two." });
    session.update({ segmentId: "s3", stable: "Three" });
    const refuse = ({ event_id }) => {
      const error = { type: "limit", code: "rate_limited", message: "", event_id, retryable: true };
      world.socket.receive({ type: "error", error });
    };
    refuse(world.socket.of("source.commit")[1]);
    refuse(world.socket.of("source.update")[0]);
    world.advance(1_000);
    const commits = world.socket.of("source.commit").map(({ segment_id }) => segment_id);
    assert.deepEqual(commits, ["s1", "s2", "s2"]);
    const updates = world.socket.of("source.update");
    assert.deepEqual(updates.map(({ stable }) => stable), ["Three", "Three"]);
    assert.ok(updates[1].rev > updates[0].rev);
    world.advance(10_000);
    assert.equal(world.socket.of("source.commit").length, 3);
  });

  test("a commit waits for no language that is not wanted any more", () => {
    const session = start({ targets: ["de"], pingIntervalMs: 1_000 });
    world.greet();
    session.commit({ segmentId: "s1", text: "Yes." });
    session.configure({ targets: ["fr"] });
    world.socket.drop();
    world.advance(1_000);
    world.greet();
    assert.equal(world.socket.of("source.commit").length, 1); // it may not have arrived
    world.socket.receive({ type: "pong", id: world.socket.of("ping")[0].id, server_time: 0 });
    world.socket.drop();
    world.advance(1_000);
    world.greet();
    assert.equal(world.socket.of("source.commit").length, 0);
  });

  test("the waits grow from 150 ms to 10 s and a stable connection starts over", async () => {
    const session = start();
    for (let i = 0; i < 14; i += 1) {
      world.socket.drop();
      world.advance(10_000);
    }
    world.greet();
    world.advance(60_000);
    world.socket.drop();
    const waits = (await drain(session)).flatMap((e) => (e.state === "waiting" ? [e.retry_in_ms] : []));
    assert.ok(waits[0] <= 150);
    for (let i = 1; i < 14; i += 1) assert.ok(waits[i] >= waits[i - 1] * 1.5 || waits[i] > 7_000);
    assert.ok(Math.max(...waits) <= 10_000);
    assert.ok(waits.at(-1) <= 150);
  });

  for (const random of [() => 0, () => 0.5, () => 0.999]) {
    test(`the next wait stays within its bounds for random = ${random()}`, () => {
      let delayMs = 0;
      for (let i = 0; i < 20; i += 1) {
        const nextMs = nextDelayMs(delayMs, random);
        assert.ok(nextMs > 0 && nextMs <= 10_000);
        if (delayMs >= 150 && nextMs < 7_500) {
          assert.ok(nextMs >= 1.5 * delayMs && nextMs <= 2 * delayMs);
        }
        delayMs = nextMs;
      }
      assert.ok(delayMs >= 7_500);
    });
  }

  test("a server that goes silent is noticed by its missing pong", async () => {
    const session = start({ pingIntervalMs: 1_000 });
    world.greet();
    const [ping] = world.socket.of("ping");
    world.advance(40);
    world.socket.receive({ type: "pong", id: ping.id, server_time: 1 });
    const pong = (await drain(session)).find(({ type }) => type === "pong");
    assert.equal(pong.round_trip_ms, 40);
    world.advance(960); // the next ping
    assert.equal(session.state, "open");
    world.advance(1_000); // nobody has answered it
    assert.equal(session.state, "waiting");
    assert.match((await drain(session)).at(-1).reason, /silent/);
  });

  test("an idle session sleeps until there is text again", () => {
    const session = start();
    world.greet();
    world.socket.drop(4408);
    assert.equal(session.state, "idle");
    world.advance(100_000);
    assert.equal(world.sockets.length, 1);
    session.update({ segmentId: "s1", stable: "Hello" });
    world.greet();
    assert.equal(world.socket.of("source.update")[0].stable, "Hello");
  });

  for (const code of [1000, 1002, 4400, 4401, 4409]) {
    test(`close code ${code} is final, with a reason to read`, async () => {
      const session = start();
      world.greet();
      world.socket.drop(code);
      assert.equal(session.state, "closed");
      world.advance(100_000);
      assert.equal(world.sockets.length, 1);
      const last = (await drain(session)).at(-1);
      assert.deepEqual([last.state, last.code], ["closed", code]);
      assert.ok(last.reason.length > 5);
    });
  }

  test("an end by a line of one's own that was given up is none, one by somebody else is", () => {
    const session = start();
    const created = { id: "a", epoch: "1", resume_token: "t", languages: [] };
    world.socket.open();
    world.socket.receive({ type: "session.created", seq: 1, t_ms: 0, session: created });
    world.socket.drop();
    const goOn = () => {
      world.socket.open();
      world.socket.receive({ type: "session.resumed", seq: 1, recovered: true, from_seq: 2 });
      assert.equal(session.state, "open");
    };
    for (let i = 0; i < 2; i += 1) {
      world.advance(1_000);
      world.socket.open(); // asks for the session, and is not answered
      assert.equal(world.socket.of("session.resume").length, 1);
      world.socket.drop();
      assert.equal(session.state, "waiting");
    }
    world.advance(1_000);
    goOn();
    for (let i = 0; i < 2; i += 1) {
      world.socket.drop(4409); // the server hears of both, one after the other
      assert.equal(session.state, "waiting");
      world.advance(2_000);
      goOn();
    }
    world.socket.drop(4409);
    assert.equal(session.state, "closed");
  });

  /** Ask for a session, get these answers, then that end; ask again, go on, be superseded. */
  function supersededAfter(code, ...answers) {
    const session = start();
    const created = { id: "a", epoch: "1", resume_token: "t", languages: [] };
    world.socket.open();
    world.socket.receive({ type: "session.created", seq: 1, t_ms: 0, session: created });
    world.socket.drop();
    world.advance(1_000);
    world.socket.open();
    for (const answer of answers) world.socket.receive(answer);
    world.socket.drop(code);
    if (session.state === "closed") return "closed";
    world.advance(2_000);
    world.socket.open();
    world.socket.receive({ type: "session.resumed", seq: 1, recovered: true, from_seq: 2 });
    world.socket.drop(4409);
    return session.state;
  }

  for (const code of RETRYABLE_CODES) {
    test(`a line may be closed with ${code} by somebody else before the server acts`, () => {
      assert.equal(supersededAfter(code), "waiting");
    });
  }

  test("a server that has answered does not act later", () => {
    const resumed = { type: "session.resumed", seq: 1, recovered: true, from_seq: 2 };
    assert.equal(supersededAfter(1006, resumed), "closed");
    const error = { type: "limit", code: "too_many_sessions", message: "full", retryable: true };
    assert.equal(supersededAfter(1013, { type: "error", seq: 1, t_ms: 0, error }), "closed");
    assert.equal(supersededAfter(4409), "closed"); // it had acted: this was somebody else
  });

  test("events of a socket that was given up do not count", async () => {
    const session = start();
    world.greet();
    const old = world.socket;
    old.drop();
    world.advance(1_000);
    old.receive(final("s1"));
    assert.ok(!(await drain(session)).some(({ type }) => type === "translation.final"));
  });

  test("reconnect() does not wait", () => {
    const session = start();
    world.socket.drop();
    session.reconnect();
    assert.equal(world.sockets.length, 2);
    session.reconnect(); // already on its way
    world.advance(5_000);
    assert.equal(world.sockets.length, 2);
  });
});

describe("a room without languages of the speaker's own", () => {
  test("a commit is kept until something later was answered, and not for ever", () => {
    const session = start({ targets: [], pingIntervalMs: 1_000 });
    world.greet();
    session.commit({ segmentId: "s1", text: "Yes." });
    world.socket.drop();
    world.advance(200);
    world.greet();
    assert.equal(world.socket.of("source.commit").length, 1);
    world.socket.receive({ type: "pong", id: world.socket.of("ping")[0].id, server_time: 0 });
    world.socket.drop();
    world.advance(1_000);
    world.greet();
    assert.equal(world.socket.of("source.commit").length, 0);
  });
});

describe("a room whose last sentences may be lost with a replica", () => {
  for (const room of [{ id: "r", host_token: "t" }, undefined]) {
    test(`is told them again by a new session${room ? "" : ", but no session without a room"}`, async () => {
      const session = start({ room });
      const created = { id: "a", epoch: "1", resume_token: "t", languages: [] };
      world.socket.open();
      world.socket.receive({ type: "session.created", seq: 1, t_ms: 0, session: created });
      session.commit({ segmentId: "s1", text: "Yes." });
      world.socket.receive(final("s1"));
      world.socket.drop();
      world.advance(1_000);
      world.socket.open();
      world.socket.receive({ type: "session.created", seq: 1, t_ms: 0, session: created });
      const error = { type: "auth", code: "session_expired", message: "gone", retryable: false };
      await drain(session);
      world.socket.receive({ type: "error", seq: 2, t_ms: 0, error });
      assert.equal(world.socket.of("source.commit").length, room ? 1 : 0);
      world.socket.receive(final("s1")); // it had come
      assert.ok(!(await drain(session)).some(({ type }) => type === "translation.final"));
      session.configure({ room: { id: "another", host_token: "t" } });
      world.socket.drop(1001);
      world.advance(2_000);
      world.socket.open();
      world.socket.receive({ type: "session.created", seq: 1, t_ms: 0, session: created });
      world.socket.receive({ type: "error", seq: 2, t_ms: 0, error });
      assert.equal(world.socket.of("source.commit").length, 0);
    });
  }
});

describe("a token that has expired", () => {
  test("is asked for once more, and that is all", async () => {
    let count = 0;
    const session = start({ token: () => Promise.resolve(`t${(count += 1)}`) });
    await drain(session);
    for (const wanted of ["t1", "t2"]) {
      assert.ok(world.socket.url.endsWith(`token=${wanted}`));
      world.socket.open();
      world.socket.drop(4401, "unauthorized");
      world.advance(200);
      await drain(session);
    }
    assert.equal(session.state, "closed");
    assert.equal(count, 2);
  });
});

describe("addresses", () => {
  test("lead to the stream", () => {
    for (const [given, wanted] of [
      ["https://a.example", "wss://a.example/v1/stream"],
      ["http://a.example/base/", "ws://a.example/base/v1/stream"],
      ["ws://a.example/v1/stream", "ws://a.example/v1/stream"],
    ]) {
      start({ url: given });
      assert.equal(world.socket.url, wanted);
    }
    assert.throws(() => start({ url: "ftp://a.example" }), TypeError);
  });

  test("lead to the readers of a room", () => {
    const wanted = "wss://a.example/base/v1/rooms/x/listen";
    for (const path of ["r/x", "v1/rooms/x", "v1/rooms/x/listen", "r/x/"]) {
      assert.equal(listenUrl(`https://a.example/base/${path}`), wanted);
    }
    assert.throws(() => listenUrl("https://a.example/"), TypeError);
  });
});

describe("the end", () => {
  test("close() sends what is still open and waits for the goodbye", async () => {
    const session = start();
    world.greet();
    session.update({ segmentId: "s1", stable: "G" });
    session.update({ segmentId: "s1", stable: "Go" });
    const closed = session.close();
    const types = world.socket.sent.map(({ type }) => type);
    assert.deepEqual(types, ["session.update", "source.update", "source.update", "session.close"]);
    world.socket.receive({ type: "session.closed", reason: "closed", usage: {} });
    await closed;
    assert.equal(session.state, "closed");
    assert.equal(world.numTimers, 0);
  });

  test("close() does not wait for ever", async () => {
    const session = start();
    world.greet();
    const closed = session.close();
    world.advance(3_000);
    await closed;
    assert.equal(session.state, "closed");
  });

  test("a frame that is no event is reported, not swallowed", async () => {
    const session = start();
    world.greet();
    for (const frame of ["{", "[]", "null", '{"type": 3}']) world.socket.receive(frame);
    const errors = (await drain(session)).filter(({ type }) => type === "error");
    assert.deepEqual(errors.map(({ error }) => error.code), Array(4).fill("invalid_frame"));
    assert.equal(session.state, "open");
  });
});
