"""Other engines on the same weights, each in a process of its own.

A peer is a file here with a class `Peer`; `worker.py` runs it under the Python that has it and
exchanges JSON lines with `tokenspeed.bench.engines.compare`. Except for those that measure
tokenspeed itself, these files import nothing of it, so a peer's environment needs only numpy,
safetensors and the peer.
"""

from typing import NamedTuple


class Contestant(NamedTuple):
    """One engine in one precision."""

    peer: str  # its name in --peers
    file: str  # in this folder
    dtype: str


PEERS: dict[str, tuple[Contestant, ...]] = {
    name: tuple(Contestant(name, file, dtype) for dtype in dtypes)
    for name, file, dtypes in (
        ("tokenspeed", "own.py", ("int8", "int4")),
        ("transformers", "hf.py", ("float32",)),
        ("ctranslate2", "ct2.py", ("int8", "float32")),
        ("llama.cpp", "llama.py", ("f16", "q8_0", "q4_0")),
        ("onnxruntime-genai", "genai.py", ("int8", "int4")),
        ("vllm", "vllm.py", ("bfloat16",)),
    )
}
