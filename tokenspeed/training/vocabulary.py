"""The sentencepiece vocabulary that all languages share."""

import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import sentencepiece

from tokenspeed.model.protobuf import as_float, as_message, as_number
from tokenspeed.training.corpus import Bitext
from tokenspeed.training.examples import MARKS
from tokenspeed.training.placeholders import PLACEHOLDERS

_LOWER_SHARE = 0.15  # of the sentences, in lower case, as recognisers write
# Documentation, whose words are rare in speech, and single words of dictionaries.
_LEFT_OUT = frozenset(
    {"python-docs", "mdn", "mdn-old", "canada-law", "ding-dictionary", "freedict"}
)
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4  # kinds of a piece in sentencepiece's ModelProto
_WORD = re.compile(r"(?<!\S)[^\W\d_]{3,}")  # with the space that sentencepiece puts before it
_LEAST_SOURCES = 3  # fewest sources that must have a word: a single one may be about nothing else
_ROOM_FOR_SIGNS = 4000  # pieces; smaller vocabularies spell rare signs in bytes
_EMOJI = (
    "😀😃😄😁😆😅😂🤣🙂🙃😉😊😇🥰😍😘😋😛😜🤔🤗🤩😎😏😐😑😒😓😔😕😖😞😟😠😡😢😣😤😥😨😩😪😫😬😭😮😱😲😳😴😵😷🙄"
    "🤐🤒🤓🤝🤞🤦🤷🤯🥳🥲🥺👀👋👍👎👌👏👐👉👈👇👆✊✋✌💪🙏🙌❤💔💕💖💙💚💛💜🔥✨⭐🌟🎉🎊🎁🎂🎵🎶🎤🎧📢📣📷📞📱💻📧📅📈📉📊📌"
    "📎📝📚🔊🔇🔒🔔🕐☀☁☔❄🌍🌈🌱🌹🍀🍎🍕🍺☕🍷🚀🚗✈🏠🏆⚽👶👦👧👨👩👻💀🤖🐶🐱❌✅✔❓❗⚠♥☺☹💡💰💯💬💭🆕🆗"
)


def _signs() -> str:
    """Return signs that are pieces even if rare: ASCII, Latin-1, punctuation, currencies, emoji."""
    ranges = (range(0x21, 0x7F), range(0xA1, 0x100), range(0x2010, 0x2028), range(0x2030, 0x205F))
    codes = [code for codes in ranges for code in codes if code != 0xAD]
    return "".join(map(chr, codes)) + "ŒœŠšŽžŸ€₤₿™♪♫→←↑↓−≈≠≤≥" + _EMOJI + "\u200d\ufe0f"


def train_vocabulary(
    bitexts: Iterable[Bitext], path: Path, size: int, tatoeba_sample: float, seed: int
) -> None:
    """Train unigram pieces with byte fallback, single digits, placeholders and marks of the prompt.

    Args:
        bitexts: whose sentences are read; each distinct sentence once.
        path: of the model file to write, ending in `.model`.
        size: number of pieces, bytes and marks included.
        tatoeba_sample: share of the pairs from Tatoeba that are read.
        seed: of the sample.
    """
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(
            text for text, _ in _sentences(bitexts, tatoeba_sample, random.Random(seed))
        ),
        model_prefix=str(path.with_suffix("")),
        vocab_size=size,
        model_type="unigram",
        byte_fallback=True,
        split_digits=True,
        # Normalisation would change what users typed; spaces are joined, as in the corpus.
        normalization_rule_name="identity",
        character_coverage=0.9999,
        control_symbols=list(MARKS),
        user_defined_symbols=list(PLACEHOLDERS),
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
) -> Iterator[tuple[str, str]]:
    """Yield each distinct sentence once, with the name of a source that has it."""
    seen: set[str] = set()
    for bitext in bitexts:
        for texts in zip(bitext.english, bitext.foreign, bitext.sources, strict=True):
            *pair, source = texts
            if source in _LEFT_OUT or (source == "tatoeba" and rng.random() >= tatoeba_sample):
                continue
            for text in pair:
                if text not in seen:
                    seen.add(text)
                    yield text.lower() if rng.random() < _LOWER_SHARE else text, source


def extend_vocabulary(
    bitexts: Iterable[Bitext], model: bytes, size: int, tatoeba_sample: float, seed: int
) -> bytes:
    """Return a vocabulary with pieces added at the end, so that its own keep their ids.

    First the marks and the placeholders that are missing, then signs, then words that are often
    spelled in several pieces, in order of the pieces that they save. A unigram model compares the
    probabilities of whole spellings, so each word gets the probability of its own count.

    Args:
        bitexts, tatoeba_sample, seed: as for `train_vocabulary`; its sample is counted.
        model: a sentencepiece model.
        size: number of pieces wanted; fewer if the corpus does not have enough words.
    Raises:
        ValueError: the model has more pieces already, or lacks room for marks and signs.
    """
    old = sentencepiece.SentencePieceProcessor(model_proto=model)
    room = size - old.vocab_size()
    lowest = min(
        old.get_score(i)
        for i in range(old.vocab_size())
        if not (old.is_control(i) or old.is_byte(i))
    )
    reserved = [(mark, 0.0, _CONTROL) for mark in MARKS]
    reserved += [(mark, 0.0, _USER_DEFINED) for mark in PLACEHOLDERS]
    reserved += [(sign, lowest, _NORMAL) for sign in dict.fromkeys(_signs())]
    added = [piece for piece in reserved if old.piece_to_id(piece[0]) == old.unk_id()]
    if len(added) > room:
        raise ValueError(f"there is room for {room} more pieces, expected {len(added)} or more")
    counts, total = _count_words(bitexts, old, tatoeba_sample, seed)
    for word, count in islice(counts, room - len(added)):
        added.append(("\u2581" + word, math.log(count / total), _NORMAL))
    return model + b"".join(
        as_message(1, as_message(1, text.encode()) + as_float(2, score) + as_number(3, kind))
        for text, score, kind in added
    )


def spell_new_pieces(
    old: sentencepiece.SentencePieceProcessor, new: sentencepiece.SentencePieceProcessor
) -> list[list[int]]:
    """Return how an old vocabulary spells each piece that a new one adds.

    Raises:
        ValueError: the new one does not begin with the pieces of the old one.
    """
    count = old.vocab_size()
    if count > new.vocab_size() or any(
        old.id_to_piece(i) != new.id_to_piece(i) for i in range(count)
    ):
        raise ValueError("the vocabulary does not begin with that of the model")
    spellings = []
    for i in range(count, new.vocab_size()):
        piece = new.id_to_piece(i)
        ids = old.encode(piece.replace("\u2581", " ").strip())
        # A single sign gets a space before it, which is not part of the piece.
        if not piece.startswith("\u2581") and len(ids) > 1 and old.id_to_piece(ids[0]) == "\u2581":
            ids = ids[1:]
        spellings.append(ids)
    return spellings


def _count_words(
    bitexts: Iterable[Bitext],
    old: sentencepiece.SentencePieceProcessor,
    tatoeba_sample: float,
    seed: int,
) -> tuple[Iterator[tuple[str, int]], int]:
    """Return words of several pieces, those with most pieces in all first, and counts of pieces."""
    counts: Counter[str] = Counter()
    homes: dict[str, set[str]] = {}
    for text, source in _sentences(bitexts, tatoeba_sample, random.Random(seed)):
        for word in _WORD.findall(text):
            counts[word] += 1
            found = homes.setdefault(word, set())
            if len(found) < _LEAST_SOURCES:
                found.add(source)
    words = sorted(counts)
    lengths = dict(zip(words, map(len, old.encode(words)), strict=True))
    total = sum(counts[word] * lengths[word] for word in words)
    kept = [w for w in words if lengths[w] > 1 and len(homes[w]) >= _LEAST_SOURCES]
    kept.sort(key=lambda word: -counts[word] * (lengths[word] - 1))
    return iter([(word, counts[word]) for word in kept]), total
