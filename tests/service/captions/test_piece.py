"""One piece of a segment in one language, without the pieces around it but the one before."""

import json

from service.captions.job import Job, JobKey
from service.captions.piece import MAX_RETRIES, Counts, TargetPiece
from service.captions.policy import PRESETS, Source
from tests.service.fakes import BABBLE, ids, new_detokenizer, translation_of
from tokenspeed.text.glossary import Glossary, Term
from tokenspeed.text.pipeline import Hygiene
from tokenspeed.text.vocabulary import NAMES

GLOSSARY = Glossary([Term("machine", "Maschinchen")])


def piece(
    index: int = 0, language: str | None = "en", target: str = "de", counts: Counts | None = None
) -> TargetPiece:
    key = JobKey("s", "a", target, index)
    hygiene = Hygiene(glossary=GLOSSARY, source="en", target=target)
    counts = counts or Counts()
    return TargetPiece(key, PRESETS["low"], hygiene, new_detokenizer, counts, language, "en")


def final(text: str, *, is_cut: bool = False, continues: bool = False) -> Source:
    return Source(text, 99, False, True, is_cut, continues, language="en")


def asked(found: TargetPiece, source: Source, before: TargetPiece | None = None) -> Job:
    job, _ = found.revise(source, 3, 10.0, before)
    assert job is not None
    return found.filled(job, found.translation.committed_text, "formal")


def answer(found: TargetPiece, job: Job, output: str, *, is_whole: bool = True) -> Job | None:
    tokens = job.forced + ids(output)[len(job.forced) :]
    following = found.complete(job, tokens, is_whole=is_whole)
    return None if following is None else found.filled(following, "", "formal")


def test_a_job_says_all_that_a_model_is_told() -> None:
    job = asked(piece(), final("The machine."))
    assert job.text == f"The {NAMES[0]}."
    assert (job.rev, job.arrival_s, job.source_language, job.formality) == (3, 10.0, "en", "formal")
    assert not job.continues


def test_a_source_that_names_no_language_is_in_that_of_the_session() -> None:
    assert asked(piece(language=None), Source("We go.", 2)).source_language == "en"


def test_a_term_that_stays_away_is_asked_for_a_few_times_then_counted() -> None:
    counts = Counts()
    found = piece(counts=counts)
    job: Job | None = asked(found, final("The machine."))
    num_asked = 0
    while job is not None:
        num_asked += 1
        job = answer(found, job, "Das Ding.")
    assert num_asked == 1 + MAX_RETRIES
    assert (counts.terms, counts.violations, counts.faults) == (1, 1, 0)
    assert found.is_done
    assert found.texts(is_last=True)[0].startswith("Das Ding")


def test_a_final_that_is_no_translation_is_asked_for_plainly_then_left_in_its_language() -> None:
    counts = Counts()
    found = piece(counts=counts)
    job = asked(found, final(f"{BABBLE} is said."))
    again = answer(found, job, translation_of(job.text))
    assert again is not None
    assert (again.draft, again.bias, again.context) == ((), 0.0, ())
    assert answer(found, again, translation_of(again.text)) is None
    assert found.texts(is_last=True) == (f"{BABBLE} is said.", "")
    assert (counts.faults, counts.untranslated) == (2, 1)
    assert found.remember() is None  # it is no example of a translation


def test_halves_are_asked_as_they_are_and_a_stop_begins_with_the_whole_again() -> None:
    said = "we walk home in the rain today, and then we rest for a while"
    found = piece()
    job = asked(found, final(said))
    again = answer(found, job, "und so " * 40, is_whole=False)
    assert again is not None
    half = answer(found, again, "und so " * 40, is_whole=False)
    assert half is not None
    assert said.startswith(half.text.rstrip(".,"))
    assert len(half.text) < len(said)
    found.stop()
    assert asked(found, final(said)).text == said


def test_a_piece_goes_on_in_the_sentence_of_the_one_before_once_that_is_done() -> None:
    first, second = piece(), piece(1)
    job = asked(first, final("One two,", is_cut=True))
    assert job.is_open  # the model must not end the sentence
    rest = final(" three.", continues=True)
    assert second.revise(rest, 3, 10.0, first) == (None, False)
    assert second.is_held
    answer(first, job, "Eins zwei.")
    assert first.texts(is_last=False) == ("Eins zwei", "")  # without the end that is none
    released = second.release(first)
    assert released is not None
    assert not second.is_held
    assert second.continues
    last = second.filled(released, "Eins zwei", None)
    assert last.context == (("One two,", ids("Eins zwei")),)
    answer(second, last, " drei.")
    assert second.texts(is_last=True) == (" drei.", "")


def test_a_piece_that_turns_out_to_be_in_the_target_language_is_copied() -> None:
    found = piece(language="fr", target="en")
    first, _ = found.revise(Source("we go", 0, language="fr"), 1, 10.0, None)
    assert first is not None
    job, is_dropped = found.revise(Source("we go on", 2, language="en"), 2, 10.1, None)
    assert (job, is_dropped) == (None, True)
    assert found.texts(is_last=True) == ("we go", " on")


def test_what_was_finished_is_remembered_once() -> None:
    found = piece()
    job = asked(found, final(" One. "))
    assert found.remember() is None
    answer(found, job, "Eins.")
    assert found.remember() == ("en", ("One.", ids("Eins.")))
    assert found.remember() is None


def test_another_instance_goes_on_where_one_has_stopped() -> None:
    first, second = piece(), piece(1)
    job = asked(first, final("The machine,", is_cut=True))
    answer(first, job, f"Das {NAMES[0]},")
    going = asked(second, Source(" goes", 1, continues=True, language="en"), first)
    answer(second, going, " geht")
    second.stop()
    states = json.loads(json.dumps([first.dump(), second.dump()]))
    others = piece(), piece(1)
    others[0].load(states[0], None, 5.0)
    others[1].load(states[1], others[0], 5.0)
    for old, new in zip((first, second), others, strict=True):
        assert new.texts(is_last=True) == old.texts(is_last=True)
        assert (new.continues, new.is_done) == (old.continues, old.is_done)
    last = final(" goes on.", continues=True)
    older, newer = asked(second, last, first), asked(others[1], last, others[0])
    assert newer.context == older.context
    assert (newer.text, newer.number) == (older.text, older.number)
    assert others[1].dump()["arrival_s"] == 10.0
