"""Run one peer and answer rounds: `python worker.py FILE.py SOURCE WORK DTYPE THREADS STREAMS`.

For each round reads a JSON object from standard input, {"prompts": [[id, ...], ...], "draft":
[id, ...], "new_tokens": n}, and writes one with the milliseconds that it took. A round of a caption
update is {"update": {...}}, the arguments of a peer's `update`; its answer is empty if the peer has
no such method. {"logprobs": {...}} has the arguments of a peer's `logprobs`, which saves a file;
its answer is empty. The first line that it writes has the version of what was loaded, or why
nothing could be.
"""

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    file, source, work, dtype, threads, streams = sys.argv[1:]
    os.environ.setdefault("OMP_NUM_THREADS", threads)
    sys.path[0:1] = []  # this folder, where a name could hide a library
    # Libraries print to standard output; that must not get between the lines.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        spec = importlib.util.spec_from_file_location("peer", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        prepared = module.prepare(Path(source), Path(work), dtype)
        before = _resident_mib()
        peer = module.Peer(prepared, dtype, int(threads), int(streams))
    except Exception as exc:  # whatever a foreign library raises, its absence is a result
        _say(out, {"absent": f"{type(exc).__name__}: {exc}"[:300]})
        return
    _say(out, {"version": module.version()})
    for line in sys.stdin:
        try:
            asked = json.loads(line)
            if "update" in asked:
                _say(out, {"update": _update(peer, asked["update"])})
                continue
            if "logprobs" in asked:
                peer.logprobs(**asked["logprobs"])
                _say(out, {})
                continue
            answer = _round(peer, asked)
        except Exception as exc:  # as above: this engine drops out, and the others continue
            _say(out, {"absent": f"{type(exc).__name__}: {exc}"[:300]})
            return
        # On a GPU the process's resident memory means nothing.
        on_gpu = getattr(peer, "memory_mib", None)
        answer["memory_mib"] = on_gpu() if on_gpu else _resident_mib() - before
        _say(out, answer)


def _round(peer: Any, asked: dict[str, Any]) -> dict[str, Any]:
    prompts, draft, new = asked["prompts"], asked["draft"], asked["new_tokens"]
    generates = hasattr(peer, "generate")
    expect = getattr(peer, "expect", lambda tokens: None)  # so that a peer knows the last one
    # The previous engine has emptied the caches, and its threads may still spin.
    time.sleep(0.3)
    if generates:
        peer.generate(prompts, 4)
    else:
        peer.prefill(prompts)
        expect(3)
        for _ in range(3):
            peer.decode()
    if generates:  # it has no single step to time: take the difference of two runs
        first = _timed(lambda: peer.generate(prompts, 1))
        whole = _timed(lambda: peer.generate(prompts, new))
        between = [(whole - first) / (new - 1)]
        verify = _timed(lambda: peer.generate([draft], 1))
    else:
        first = _timed(lambda: peer.prefill(prompts))
        expect(new - 1)
        between = [_timed(peer.decode) for _ in range(new - 1)]
        verify = _timed(lambda: peer.verify(draft))
    return {"first_token_ms": first, "inter_token_ms": between, "verify_ms": verify}


def _update(peer: Any, asked: dict[str, Any]) -> dict[str, float]:
    if not hasattr(peer, "update"):
        return {}
    time.sleep(0.3)  # as above
    times: dict[str, float] = peer.update(**asked)
    return times


def _timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return (time.perf_counter() - started) * 1e3


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _say(out: Any, value: dict[str, Any]) -> None:
    out.write(json.dumps(value) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
