"""Text to ids and back, also piece by piece, for sentencepiece and Hugging Face tokenizers.

A control piece (`<|eot_id|>`, `</s>`) is read as one only in `encode_frame`, which is for prompts:
in a user's text it is just letters. Knows files and characters; does not know prompts or models.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import sentencepiece
import tokenizers

from tokenspeed.errors import CheckpointError
from tokenspeed.model.families import load_model_config, read_object

_REPLACEMENT = "\ufffd"  # what both libraries decode incomplete UTF-8 to
_MAX_INCOMPLETE_BYTES = 3  # a character has at most four bytes
_CONTEXT_IDS = 8  # earlier ids that are decoded together with the next ones
# Control pieces look like this, even where a file does not flag them: <start_of_turn>,
# <|im_end|>, [INST], <｜hy_User｜>. Runs of spaces and emoji that a vocabulary adds do not.
CONTROL_SHAPE: Final = re.compile(r"<[|｜/]?[^<>\s]+>|\[/?[A-Z_@]+\]")

# normalizer_spec { add_dummy_prefix: false }: of two values of a field, protobuf takes the later.
_NO_DUMMY_PREFIX: Final = b"\x1a\x02\x18\x00"


class Tokenizer(ABC):
    """Text <-> ids. Ids of control pieces decode to nothing.

    Attributes:
        vocab_size: number of ids.
        bos_id: begin of sequence; None where the model has no such mark.
        eos_ids: ids that end an output.
        controls: control pieces and their ids.
        control_ids: the ids among them that a user's text must never produce.
    """

    vocab_size: int
    bos_id: int | None
    eos_ids: tuple[int, ...]
    controls: Mapping[str, int]
    control_ids: frozenset[int]

    @staticmethod
    def load(directory: Path | str) -> "Tokenizer":
        """Open `tokenizer.json`, else `tokenizer.model` (sentencepiece), of a model directory.

        Where both exist, the first also has the pieces that were added for chats.

        Raises:
            CheckpointError: neither exists, or the file or config.json is damaged.
        """
        directory = Path(directory)
        config = load_model_config(directory)
        for name, kind in (("tokenizer.json", _HuggingFace), ("tokenizer.model", _SentencePiece)):
            path = directory / name
            if path.exists():
                try:
                    path.open("rb").close()
                except OSError as exc:  # the libraries would report a damaged tokenizer
                    raise CheckpointError(path, f"cannot be read: {exc.strerror}") from exc
                tokenizer = kind(path)
                tokenizer.bos_id = config.bos_token_id
                tokenizer.eos_ids = config.eos_token_ids
                if tokenizer.vocab_size > config.vocab_size:
                    raise CheckpointError(
                        path,
                        f"has {tokenizer.vocab_size} pieces, the model only {config.vocab_size}",
                    )
                return tokenizer
        raise CheckpointError(directory, "holds neither tokenizer.model nor tokenizer.json")

    def encode(self, text: str) -> list[int]:
        """Return the ids of a user's text, without begin or end marks or any control piece."""
        ids = self._encode(text)
        if self.control_ids.isdisjoint(ids):
            return ids
        ids = self._encode(self.defused(text))
        # Any that the tokenizer's own normalisation still produces are left out.
        return [token for token in ids if token not in self.control_ids]

    def encode_frame(self, text: str) -> list[int]:
        """Return the ids of a prompt, in which control pieces are read as such.

        They are the reference tokenizer's ids of the same string, without marks that it adds.
        """
        return self._encode_frame(text)

    def find_controls(self, text: str) -> list[tuple[int, int]]:
        """Return where control pieces are spelt out, in order."""
        if self._controls_pattern is None:
            return []
        return [found.span() for found in self._controls_pattern.finditer(text)]

    def defused(self, text: str) -> str:
        """Return a user's text with a space in each control piece that it spells out."""
        if self._controls_pattern is None:
            return text
        while found := self._controls_pattern.search(text):
            # A piece of a single character is replaced by a space.
            piece = found[0]
            apart = f"{piece[0]} {piece[1:]}" if len(piece) > 1 else " "
            text = text[: found.start()] + apart + text[found.end() :]
        return text

    @abstractmethod
    def _encode(self, text: str) -> list[int]:
        """Return the ids of a text as the library gives them."""

    @abstractmethod
    def _encode_frame(self, text: str) -> list[int]:
        """Return the ids of a text with control pieces."""

    def _set_controls(self, controls: Mapping[str, int], unknown: str | None = None) -> None:
        """Set the control pieces.

        Args:
            unknown: the piece for what the vocabulary lacks, which may occur in any text.
        """
        self.controls = dict(controls)
        self.control_ids = frozenset(token for piece, token in controls.items() if piece != unknown)
        longest_first = sorted(filter(None, controls), key=len, reverse=True)
        joined = "|".join(map(re.escape, longest_first))
        self._controls_pattern = re.compile(joined) if joined else None

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; incomplete characters become U+FFFD."""

    @abstractmethod
    def piece_id(self, piece: str) -> int | None:
        """Return the id of a piece such as "<de>", or None where the vocabulary has none."""

    def line_breaks(self) -> tuple[int, ...]:
        """Return the ids that begin a new line: of a line break alone, or of several."""
        texts = self._decode_each(range(self.vocab_size))
        return tuple(i for i, text in enumerate(texts) if text.lstrip(" ").startswith("\n"))

    @abstractmethod
    def _decode_each(self, ids: Iterable[int]) -> list[str]:
        """Return the text of each id alone."""

    def decoder(self) -> "IncrementalDecoder":
        """Return a fresh decoder for one growing sequence of ids."""
        return IncrementalDecoder(self)


class _SentencePiece(Tokenizer):
    def __init__(self, path: Path) -> None:
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (RuntimeError, OSError) as exc:
            raise CheckpointError(path, "is not a sentencepiece model") from exc
        processor = self._processor
        size = processor.vocab_size()
        self._size = size
        config = _read_if_there(path.with_name("tokenizer_config.json"))
        self._added = _added_pieces(path.parent, config)
        self.vocab_size = max([size, *(token + 1 for token in self._added.values())])
        pieces = {processor.id_to_piece(token): token for token in range(size)}
        controls = {
            piece: token
            for piece, token in pieces.items()
            if processor.is_control(token)
            # Others of this shape would be read as control pieces wherever a text has them.
            or (CONTROL_SHAPE.fullmatch(piece) and not _is_data(processor, token))
        }
        self._set_controls(controls | self._added)
        # Up to transformers 4.31 the text after each mark got a space in front, and models of that
        # time were trained that way; their files do not mention `legacy`.
        self._unspaced: sentencepiece.SentencePieceProcessor | None = None
        if config.get("legacy") is False:
            proto = path.read_bytes() + _NO_DUMMY_PREFIX
            self._unspaced = sentencepiece.SentencePieceProcessor(model_proto=proto)

    def _encode(self, text: str) -> list[int]:
        return self._processor.encode(text)

    def _encode_frame(self, text: str) -> list[int]:
        if self._controls_pattern is None:
            return self._encode(text)
        ids: list[int] = []
        at = 0
        for found in self._controls_pattern.finditer(text):
            ids += [*self._run(text[at : found.start()], at), self.controls[found[0]]]
            at = found.end()
        return [*ids, *self._run(text[at:], at)]

    def _run(self, text: str, at: int) -> list[int]:
        if at and self._unspaced is not None:
            return self._unspaced.encode(text)
        return self._encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self._processor.decode([token for token in ids if token < self._size])

    def _decode_each(self, ids: Iterable[int]) -> list[str]:
        return self._processor.decode([[token] if token < self._size else [] for token in ids])

    def piece_id(self, piece: str) -> int | None:
        if piece in self._added:
            return self._added[piece]
        found = self._processor.piece_to_id(piece)
        return None if found == self._processor.unk_id() else found


def _is_data(processor: sentencepiece.SentencePieceProcessor, token: int) -> bool:
    """Whether a piece is ordinary text: a byte, the unknown piece, or one learnt in training."""
    return (
        processor.is_byte(token)
        or processor.is_unknown(token)
        # A piece learnt in training is only found by merging; one that a user defined is found
        # at once, whatever is around it.
        or processor.encode(f"x{processor.id_to_piece(token)}x").count(token) == 0
    )


def _added_pieces(directory: Path, config: Mapping[str, Any]) -> dict[str, int]:
    """Return the pieces added to a `tokenizer.model` in the files beside it."""
    found: dict[str, int] = {}
    for piece, token in _read_if_there(directory / "added_tokens.json").items():
        if isinstance(token, int):
            found[piece] = token
    decoder = config.get("added_tokens_decoder")
    for token, said in decoder.items() if isinstance(decoder, dict) else ():
        if isinstance(said, dict) and isinstance(said.get("content"), str) and token.isdecimal():
            found[said["content"]] = int(token)
    return found


def _read_if_there(path: Path) -> dict[str, Any]:
    return read_object(path) if path.exists() else {}


class _HuggingFace(Tokenizer):
    def __init__(self, path: Path) -> None:
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as exc:  # the library raises bare Exception
            raise CheckpointError(path, f"is not a tokenizer: {exc}") from exc
        # Settings saved from training would cut or pad a prompt.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.vocab_size = self._tokenizer.get_vocab_size()
        added = self._tokenizer.get_added_tokens_decoder()
        self._set_controls(
            {
                piece.content: token
                for token, piece in added.items()
                if piece.special or CONTROL_SHAPE.fullmatch(piece.content)
            },
            getattr(self._tokenizer.model, "unk_token", None),
        )

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def _encode_frame(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def _decode_each(self, ids: Iterable[int]) -> list[str]:
        return self._tokenizer.decode_batch([[token] for token in ids], skip_special_tokens=True)

    def piece_id(self, piece: str) -> int | None:
        return self._tokenizer.token_to_id(piece)


class IncrementalDecoder:
    """Turns a growing sequence of ids into text, whole characters only.

    The parts never change once given out: joined with `flush`, they are `decode` of all ids.
    Bytes that may still become a character are held back.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        # The first piece of a decoded sequence loses its space, so earlier ids are decoded too.
        self._context: list[int] = []
        self._pending: list[int] = []
        self._given = 0  # characters of the pending text given out already

    def push(self, ids: Iterable[int]) -> str:
        """Add ids and return the characters that became whole."""
        return "".join(self._push_one(token) for token in ids)

    def flush(self) -> str:
        """End the sequence: return what was held back, U+FFFD for incomplete characters."""
        rest = self._pending_text()[self._given :]
        self._give_out()
        return rest

    def _push_one(self, token: int) -> str:
        self._pending.append(token)
        text = self._pending_text()
        broken = len(text) - len(text.rstrip(_REPLACEMENT))
        # One U+FFFD stands for each byte, so an earlier one can never become a character.
        whole = text[: len(text) - min(broken, _MAX_INCOMPLETE_BYTES)]
        part = whole[self._given :]
        self._given = len(whole)
        if not broken:
            self._give_out()
        return part

    def _pending_text(self) -> str:
        before = self._tokenizer.decode(self._context)
        return self._tokenizer.decode(self._context + self._pending)[len(before) :]

    def _give_out(self) -> None:
        self._context = (self._context + self._pending)[-_CONTEXT_IDS:]
        self._pending = []
        self._given = 0
