"""Pieces of a segment joined into the one text of the wire."""

from dataclasses import replace

from service.captions.job import Job, JobKey
from service.captions.policy import PRESETS, Source
from service.captions.stream import TargetStream
from tests.service.fakes import ids, new_detokenizer


def stream(target: str = "de", preset: str = "low") -> TargetStream:
    return TargetStream("s", "a", "en", target, PRESETS[preset], new_detokenizer)


def final(text: str) -> Source:
    return Source(text, 99, is_open=False, is_final=True)


def answer(found: TargetStream, job: Job, output: str) -> None:
    found.complete(job, job.forced + ids(output)[len(job.forced) :], is_whole=True)


def test_a_later_piece_is_appended_only_after_the_earlier_ones() -> None:
    found = stream()
    (first, second), dropped = found.revise([final("One."), final(" Two.")], 1, 10.0)
    assert dropped == []
    answer(found, second, "Zwei.")
    assert found.take(11.0) == ("", "Zwei.", True)
    answer(found, first, "Eins.")
    assert found.take(12.0) == ("Eins. Zwei.", "", True)
    assert found.take(13.0) == ("", "", False)
    assert (found.is_done, found.updates, found.erased, found.first_shown_s) == (True, 2, 1, 11.0)


def test_languages_without_spaces_are_joined_without() -> None:
    found = stream("zh")
    jobs, _ = found.revise([final("One."), final(" Two.")], 1, 10.0)
    for job in jobs:
        answer(found, job, "一。")
    assert found.take(11.0)[0] == "一。一。"


def test_pieces_that_touch_are_joined_without_a_space() -> None:
    found = stream()
    pieces = [final("One.<br>"), replace(final("Two."), touches=True), final(" Three.")]
    jobs, _ = found.revise(pieces, 1, 10.0)
    for job, said in zip(jobs, ("Eins.", "Zwei.", "Drei."), strict=True):
        answer(found, job, said)
    assert found.take(11.0)[0] == "Eins.<br>Zwei. Drei."
    again = stream()
    again.load(found.dump(), 0.0)
    assert again.take(12.0) == ("", "", False)


def test_a_mark_between_two_pieces_is_seen_while_the_first_may_still_change() -> None:
    found = stream()
    # As a second pass has them: open until the first pass is done.
    pieces = [Source("One.<br>", 0), Source("Two", 0, touches=True)]
    jobs, _ = found.revise(pieces, 1, 10.0)
    for job, said in zip(jobs, ("Eins.", "Zwei"), strict=True):
        answer(found, job, said)
    assert found.take(11.0)[1] == "Eins.<br>Zwei"


def test_a_piece_without_a_translation_leaves_no_space() -> None:
    found = stream()
    jobs, _ = found.revise([final("Hm."), final(" Two."), Source(" Three", 1)], 1, 10.0)
    found.fail(jobs[0])
    for job, output in zip(jobs[1:], ("Zwei.", "Drei"), strict=True):
        answer(found, job, output)
    assert found.take(11.0) == ("Zwei.", " Drei", True)


def test_pieces_that_are_gone_are_dropped_with_their_jobs() -> None:
    found = stream()
    found.revise([Source("One two.", 0, is_open=False), Source(" Three", 0)], 1, 10.0)
    jobs, dropped = found.revise([Source("One two three", 0)], 2, 10.5)
    assert [job.key for job in jobs] == [JobKey("s", "a", "de", 0)]
    assert dropped == [JobKey("s", "a", "de", 1)]
    assert jobs[0].rev == 2


def test_finished_pieces_are_remembered_once_as_context() -> None:
    found = stream()
    (job,), _ = found.revise([final(" One. ")], 1, 10.0)
    assert found.remember() == []
    answer(found, job, "Eins.")
    assert found.remember() == [(None, ("One.", ids("Eins.")))]
    assert found.remember() == []


def test_a_sentence_goes_on_after_a_cut_as_if_there_were_none() -> None:
    found = stream()
    cut = Source("One two,", 2, is_open=False, is_final=True, is_cut=True)
    rest = Source(" three", 1, continues=True)
    (first, alone), _ = found.revise([cut, rest], 1, 10.0)
    assert first.is_open  # the model must not end the sentence
    answer(found, alone, "Drei vier")
    assert found.take(10.5) == ("", "Drei vier", True)
    answer(found, first, "Eins zwei")
    assert found.take(11.0) == ("Eins zwei", " Drei vier", True)
    (second,), _ = found.revise([cut, Source(" three four", 2, continues=True)], 2, 11.0)
    assert second.context == (("One two,", ids("Eins zwei")),)
    assert second.number > alone.number
    assert found.take(11.1) == ("", " Drei vier", False)  # still in sight
    answer(found, second, ", drei vier fünf")
    assert found.take(12.0) == ("", ", drei vier fünf", True)
    last = Source(" three four five", 3, is_open=False, is_final=True, continues=True)
    (third,), _ = found.revise([cut, last], 3, 12.0)
    answer(found, third, ", drei vier fünf.")
    assert found.take(13.0) == (", drei vier fünf.", "", True)
    assert found.committed == "Eins zwei, drei vier fünf."


def test_a_long_sentence_that_comes_at_once_goes_on_from_piece_to_piece() -> None:
    found = stream()
    pieces = [
        Source("One two,", 2, is_open=False, is_final=True, is_cut=True),
        Source(" three,", 1, is_open=False, is_final=True, is_cut=True, continues=True),
        Source(" four.", 1, is_open=False, is_final=True, continues=True),
    ]
    (first,), _ = found.revise(pieces, 1, 10.0)
    assert found.revise(pieces, 1, 10.0) == ([], [])
    second = found.complete(first, ids("Eins zwei."), is_whole=True)
    assert second is not None
    assert found.take(11.0) == ("Eins zwei", "", True)  # without the end that is none
    assert second.context == (("One two,", ids("Eins zwei")),)
    third = found.fail(second)  # what it waited for may fail
    assert third is not None
    assert (third.key.piece, third.context[0][1]) == (2, ())
    answer(found, third, " vier.")
    assert found.is_done
    assert found.take(12.0)[0] == " vier."


def test_a_piece_in_another_language_begins_anew_while_nothing_is_committed() -> None:
    found = stream("en")
    (first,), _ = found.revise([Source("wir gehen", 0, language="de")], 1, 10.0)
    assert first.source_language == "de"
    found.progress(first, ids("WE GO ON"))
    (second,), dropped = found.revise([Source("wir gehen va", 0, language="fr")], 2, 10.1)
    assert (second.source_language, second.number, second.draft) == ("fr", 2, ())
    assert dropped == [first.key]
    assert found.complete(first, ids("we"), is_whole=True) is None  # nobody waits for it
    jobs, dropped = found.revise([Source("we go home", 3, language="en")], 3, 10.2)
    assert (jobs, dropped) == ([], [second.key])
    assert found.take(11.0) == ("we go", " home", True)
    # What is committed stays, whatever the rest is in.
    assert found.revise([Source("we go home wir gehen", 3, language="de")], 4, 10.3) == ([], [])
    assert found.take(12.0) == (" home", " wir gehen", True)


def test_a_translation_is_a_source_for_a_second_pass() -> None:
    found = stream("en")
    source = Source("Wir gehen.", 2, is_open=False, language="de")
    assert found.as_source(source, 0).text == ""
    (job,), _ = found.revise([source], 1, 10.0)
    answer(found, job, "We go.")
    expected = Source("We go.", 0, is_open=True, language="en")
    assert found.as_source(source, 0) == expected
    ended = final("Wir gehen.")
    (job,), _ = found.revise([ended], 2, 10.0)
    assert not found.as_source(ended, 0).is_final
    answer(found, job, "We go.")
    assert found.as_source(ended, 0) == Source("We go.", 2, False, True, language="en")


def test_a_stream_that_is_restarted_takes_back_what_was_shown() -> None:
    found = stream()
    (job,), _ = found.revise([Source("we go", 0)], 1, 10.0)
    found.complete(job, ids("wir gehen"), is_whole=True)
    assert found.take(11.0) == ("", "wir gehen", True)
    found.restart("fr")
    assert found.take(11.0) == ("", "", True)
    (job,), _ = found.revise([Source("we go", 0)], 1, 10.0)
    assert job.source_language == "fr"
