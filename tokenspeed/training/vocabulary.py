"""The sentencepiece vocabulary that all languages share."""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import sentencepiece

from tokenspeed.training.corpus import Bitext
from tokenspeed.training.examples import MARKS
from tokenspeed.training.stand_ins import STAND_INS

_LOWER_SHARE = 0.15  # of the sentences, in lower case, as recognisers write
# Documentation, whose words are rare in speech, and bare words of dictionaries.
_LEFT_OUT = frozenset(
    {"python-docs", "mdn", "mdn-old", "canada-law", "ding-dictionary", "freedict"}
)
_ROOM_FOR_SIGNS = 4000  # pieces; a smaller vocabulary spells rare signs in bytes
_EMOJI = (
    "😀😃😄😁😆😅😂🤣🙂🙃😉😊😇🥰😍😘😋😛😜🤔🤗🤩😎😏😐😑😒😓😔😕😖😞😟😠😡😢😣😤😥😨😩😪😫😬😭😮😱😲😳😴😵😷🙄"
    "🤐🤒🤓🤝🤞🤦🤷🤯🥳🥲🥺👀👋👍👎👌👏👐👉👈👇👆✊✋✌💪🙏🙌❤💔💕💖💙💚💛💜🔥✨⭐🌟🎉🎊🎁🎂🎵🎶🎤🎧📢📣📷📞📱💻📧📅📈📉📊📌"
    "📎📝📚🔊🔇🔒🔔🕐☀☁☔❄🌍🌈🌱🌹🍀🍎🍕🍺☕🍷🚀🚗✈🏠🏆⚽👶👦👧👨👩👻💀🤖🐶🐱❌✅✔❓❗⚠♥☺☹💡💰💯💬💭🆕🆗"
)


def _signs() -> str:
    """Return what is a piece however rare: printable ASCII, Latin-1, punctuation, money, emoji."""
    ranges = (range(0x21, 0x7F), range(0xA1, 0x100), range(0x2010, 0x2028), range(0x2030, 0x205F))
    codes = [code for codes in ranges for code in codes if code != 0xAD]
    return "".join(map(chr, codes)) + "ŒœŠšŽžŸ€₤₿™♪♫→←↑↓−≈≠≤≥" + _EMOJI + "\u200d\ufe0f"


def train_vocabulary(
    bitexts: Iterable[Bitext], path: Path, size: int, tatoeba_sample: float, seed: int
) -> None:
    """Train unigram pieces with byte fallback, single digits, stand-ins and marks of the prompt.

    Args:
        bitexts: whose sentences are read; each distinct sentence once.
        path: of the model file to write, ending in `.model`.
        size: number of pieces, bytes and marks included.
        tatoeba_sample: share of the pairs from Tatoeba that are read.
        seed: of the sample.
    """
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_sentences(bitexts, tatoeba_sample, random.Random(seed)),
        model_prefix=str(path.with_suffix("")),
        vocab_size=size,
        model_type="unigram",
        byte_fallback=True,
        split_digits=True,
        # Normalisation would change what users typed; spaces are joined, as in the corpus.
        normalization_rule_name="identity",
        character_coverage=0.9999,
        control_symbols=list(MARKS),
        user_defined_symbols=list(STAND_INS),
        required_chars=_signs() if size >= _ROOM_FOR_SIGNS else "",
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        seed_sentencepiece_size=400000,
        hard_vocab_limit=False,
        minloglevel=1,
    )
    path.with_suffix(".vocab").unlink(missing_ok=True)


def _sentences(
    bitexts: Iterable[Bitext], tatoeba_sample: float, rng: random.Random
) -> Iterator[str]:
    seen: set[str] = set()
    for bitext in bitexts:
        for texts in zip(bitext.english, bitext.foreign, bitext.sources, strict=True):
            *pair, source = texts
            if source in _LEFT_OUT or (source == "tatoeba" and rng.random() >= tatoeba_sample):
                continue
            for text in pair:
                if text not in seen:
                    seen.add(text)
                    yield text.lower() if rng.random() < _LOWER_SHARE else text
