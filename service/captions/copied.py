"""A piece that is already in the target language: its own text is its translation.

Knows text; asks for no jobs.
"""

from service.captions.job import Job
from service.captions.policy import Source, Translation
from tokenspeed.text.words import count_words, skip_words, word_ends


class Copied(Translation):
    """One piece, copied. Text that will not be revised is committed, except the last open word."""

    @property
    def is_fresh(self) -> bool:
        """Whether nothing is committed."""
        return not (self.committed_text or self.is_done)

    def revise(self, source: Source) -> Job | None:
        """Take a revision; there is never a job to ask for."""
        if self.is_done:
            return None
        text = source.text.strip()
        known = self.committed_text
        if not text.startswith(known):  # the client rewrote text that it had called stable
            text = known + text[skip_words(text, count_words(known)) :]
        ends = word_ends(text)
        count = min(source.stable_words, len(ends) - source.is_open)
        if source.is_final:
            self.committed_text, self.is_done = text, True
        elif count > 0:
            self.committed_text = text[: max(ends[count - 1], len(known))]
        self.covered_words = count_words(self.committed_text)
        self.shown = text if self.preset.shows_unstable else self.committed_text
        return None
