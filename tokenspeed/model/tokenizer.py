"""Text to ids and back, also piece by piece, for sentencepiece and Hugging Face tokenizers.

Knows files and characters; does not know prompts or models.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

import sentencepiece
import tokenizers

from tokenspeed.errors import CheckpointError
from tokenspeed.model.families import load_model_config

_REPLACEMENT = "\ufffd"  # what both libraries decode incomplete UTF-8 to
_MAX_INCOMPLETE_BYTES = 3  # a character has at most four bytes
_CONTEXT_IDS = 8  # ids given out that go along when the next ones are decoded


class Tokenizer(ABC):
    """Text <-> ids. Ids of control pieces decode to nothing.

    Attributes:
        vocab_size: number of ids.
        bos_id: begin of sequence; None where the model has no such mark.
        eos_ids: ids that end an output.
    """

    vocab_size: int
    bos_id: int | None
    eos_ids: tuple[int, ...]

    @staticmethod
    def load(directory: Path | str) -> "Tokenizer":
        """Open `tokenizer.model` (sentencepiece), else `tokenizer.json`, of a model directory.

        Raises:
            CheckpointError: neither is there, the file is damaged, or config.json is.
        """
        directory = Path(directory)
        config = load_model_config(directory)
        for name, kind in (("tokenizer.model", _SentencePiece), ("tokenizer.json", _HuggingFace)):
            path = directory / name
            if path.exists():
                try:
                    path.open("rb").close()
                except OSError as exc:  # the libraries would say that it is no tokenizer
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

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without begin or end marks."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; incomplete characters become U+FFFD."""

    @abstractmethod
    def piece_id(self, piece: str) -> int | None:
        """Return the id of a piece such as "<de>", or None where the vocabulary has none."""

    def decoder(self) -> "IncrementalDecoder":
        """Return a fresh decoder for one growing sequence of ids."""
        return IncrementalDecoder(self)


class _SentencePiece(Tokenizer):
    def __init__(self, path: Path) -> None:
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (RuntimeError, OSError) as exc:
            raise CheckpointError(path, "is no sentencepiece model") from exc
        self.vocab_size = self._processor.vocab_size()

    def encode(self, text: str) -> list[int]:
        return self._processor.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self._processor.decode(list(ids))

    def piece_id(self, piece: str) -> int | None:
        found = self._processor.piece_to_id(piece)
        return None if found == self._processor.unk_id() else found


class _HuggingFace(Tokenizer):
    def __init__(self, path: Path) -> None:
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as exc:  # the library raises bare Exception
            raise CheckpointError(path, f"is no tokenizer: {exc}") from exc
        self.vocab_size = self._tokenizer.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def piece_id(self, piece: str) -> int | None:
        return self._tokenizer.token_to_id(piece)


class IncrementalDecoder:
    """Turns a growing sequence of ids into text, whole characters only.

    The parts never change once given out: joined with `flush`, they are `decode` of all ids.
    Bytes that may still become a character are held back.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        # The first piece of a decoded sequence loses its space, so ids before it go along.
        self._context: list[int] = []
        self._pending: list[int] = []
        self._given = 0  # characters of the pending text given out already

    def push(self, ids: Iterable[int]) -> str:
        """Add ids and return the characters that became whole."""
        return "".join(self._push_one(token) for token in ids)

    def flush(self) -> str:
        """End the sequence: return what was held back, U+FFFD for what became no character."""
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
