"""What a client is told: finals in the order of the commits, and text before them."""

from hypothesis import given
from hypothesis import strategies as st

from service.captions.job import Outcome
from service.wire import protocol as p
from tests.service.captions.desk import Desk, check_history, desk, targets, update
from tests.service.fakes import ids


def test_every_target_gets_its_final() -> None:
    d = desk(targets=targets("de", "fr"))
    d.send(update("we go home", 1))
    d.send(p.SessionUpdate(p.SessionParams(targets=targets("fr", "es"))))
    d.send(p.SourceCommit("a", text="We go home."))
    d.answer()
    assert sorted(f.target for f in d.of(p.TranslationFinal)) == ["es", "fr"]
    assert {f.text for f in d.of(p.TranslationFinal)} == {"WE GO HOME."}


@given(st.permutations(range(6)), st.sets(st.integers(0, 5), max_size=2))
def test_finals_of_a_target_leave_in_the_order_of_the_commits(
    order: list[int], withdrawn: set[int]
) -> None:
    d = Desk(source=p.SourceParams("en"), targets=targets("de", "fr"))
    for n in range(6):
        d.send(p.SourceCommit(f"s{n}", text="We go home. " * (n % 3 + 1)))
    for n in order:
        for key, job in [item for item in d.jobs.items() if item[0].segment_id == f"s{n}"]:
            if key in d.jobs and n in withdrawn and key.target == "fr":
                d.send(p.SourceCancel(f"s{n}"))
            elif key in d.jobs:
                d.finish(job, Outcome(ids("wir gehen")))
    d.answer()
    assert d.of(p.Error) == []
    for target in ("de", "fr"):
        said = [f.segment_id for f in d.of(p.TranslationFinal) if f.target == target]
        assert said == sorted(said)
        assert {f"s{n}" for n in range(6) if n not in withdrawn} <= set(said)
    check_history(d.events, "captions")


def test_a_final_that_waits_for_an_earlier_one_is_readable_before() -> None:
    d = desk()
    d.send(p.SourceCommit("long", text="We go home and rest."))
    d.send(p.SourceCommit("short", text="Yes."))
    (job,) = [job for key, job in d.jobs.items() if key.segment_id == "short"]
    (delta,) = d.new(lambda: d.finish(job, Outcome(ids("Ja."))))
    assert isinstance(delta, p.TranslationDelta)
    assert (delta.segment_id, delta.append) == ("short", "Ja.")
    d.answer()
    assert [final.segment_id for final in d.of(p.TranslationFinal)] == ["long", "short"]
    # A language that is dropped holds up nobody.
    d.send(p.SourceCommit("a", text="We go home."))
    d.send(p.SessionUpdate(p.SessionParams(targets=targets("fr"))))
    d.send(p.SourceCommit("b", text="Yes."))
    d.answer()
    assert d.of(p.TranslationFinal)[-1].segment_id == "b"
