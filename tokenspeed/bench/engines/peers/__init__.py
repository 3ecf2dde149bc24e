"""Other engines on the same weights, each in a process of its own.

A peer is a file here with a class `Peer`; `worker.py` runs it under the Python that has it and
speaks JSON lines with `tokenspeed.bench.engines.compare`. These files import nothing of tokenspeed
(but the one that measures it), so that a peer's environment needs numpy, safetensors and the peer.
"""

from typing import NamedTuple


class Contestant(NamedTuple):
    """One engine in one precision."""

    peer: str  # as it is asked for
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
