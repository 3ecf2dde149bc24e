"""transformers with its static cache says what it says with the dynamic one."""

from importlib import import_module

from tests.conftest import MakeModel


def test_the_static_cache_gives_the_tokens_of_the_dynamic_one(make_model: MakeModel) -> None:
    model = make_model()
    # Imported here: transformers takes two seconds, which not all who collect tests should need.
    hf_gpu = import_module("tokenspeed.bench.engines.peers.hf_gpu")
    plain = import_module("tokenspeed.bench.engines.peers.hf").Peer(model, "float32", 1, 2)
    static = hf_gpu.Peer(model, "float32", 1, 2)
    for prompts in ([[1, 5, 6, 7], [1, 8, 9, 10]], [[1, 9, 9, 3, 4]]):
        for peer in (plain, static):
            peer.prefill(prompts)
        for _ in range(6):
            assert [token for (token,) in static.current] == plain.current.tolist()
            plain.decode()
            static.decode()
        static.verify([4, 5, 6])
