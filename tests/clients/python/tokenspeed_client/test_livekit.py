"""LiveKit's own classes round hypotheses that are written down, and a real service."""

import asyncio
import inspect
from typing import TYPE_CHECKING

import pytest

from tests.clients.faults import Faults, Restarted
from tests.clients.network import Network
from tests.lazily import Lazily
from tests.service.conftest import Run, Service
from tests.service.fakes import FakeEngine
from tokenspeed_client import connect

if TYPE_CHECKING:
    from tests.clients.python.tokenspeed_client import ears
else:
    ears = Lazily("tests.clients.python.tokenspeed_client.ears")


async def test_finals_carry_their_translations_and_all_else_goes_on(service: Service) -> None:
    script: ears.Script = [
        (ears.START, ""), (ears.INTERIM, "good"), (ears.INTERIM, "good morning"),
        (ears.FINAL, "Good morning."),
        (ears.INTERIM, "thank"), (ears.FINAL, "Thank you."), (ears.END, ""),
    ]  # fmt: skip
    wrapper = ears.TranslatingSTT(
        ears.Written(script), url=service.http, source="en", targets=["de", "fr"], final_s=20
    )
    found = await ears.heard(wrapper, len(script))
    assert [(each.type, each.alternatives[0].text if each.alternatives else "")
            for each in found] == list(script)  # fmt: skip
    finals = [each for each in found if each.type == ears.FINAL]
    assert [ears.translations(each) for each in finals] == [
        {"de": "GOOD MORNING.", "fr": "GOOD MORNING."},
        {"de": "THANK YOU.", "fr": "THANK YOU."},
    ]
    assert all(each.alternatives[0].speaker_id == "ann" for each in finals)
    assert all(ears.translations(each) is None for each in found if each.type == ears.INTERIM)


async def test_a_final_without_words_withdraws_what_was_heard(service: Service) -> None:
    script: ears.Script = [
        (ears.INTERIM, "uh"),
        (ears.FINAL, " "),
        (ears.FINAL, "Yes."),
    ]
    wrapper = ears.TranslatingSTT(
        ears.Written(script), url=service.http, targets=["de"], final_s=20
    )
    found = await ears.heard(wrapper, len(script))
    assert [ears.translations(each) for each in found] == [None, None, {"de": "YES."}]


async def test_a_final_does_not_wait_for_ever(run: Run) -> None:
    script: ears.Script = [(ears.INTERIM, "yes"), (ears.FINAL, "Yes.")]
    url = run(FakeEngine(delay_s=60.0)).http
    wrapper = ears.TranslatingSTT(ears.Written(script), url=url, targets=["de"], final_s=0.05)
    found = await ears.heard(wrapper, len(script))
    assert [(each.type, ears.translations(each)) for each in found] == [
        (ears.INTERIM, None),
        (ears.FINAL, None),
    ]


async def test_without_a_service_it_is_a_speech_to_text() -> None:
    script: ears.Script = [(ears.INTERIM, "yes"), (ears.FINAL, "Yes.")]
    options = {"connect_timeout_s": 0.2}
    wrapper = ears.TranslatingSTT(
        ears.Written(script), url="http://127.0.0.1:9", targets=["de"], options=options
    )
    found = await ears.heard(wrapper, len(script))
    assert [(each.type, ears.translations(each)) for each in found] == [
        (ears.INTERIM, None),
        (ears.FINAL, None),
    ]


async def test_a_recording_is_translated_too(service: Service) -> None:
    wrapper = ears.TranslatingSTT(
        ears.Written([(ears.FINAL, "Good morning.")]), url=service.http, source="en",
        targets=["de"], final_s=20,
    )  # fmt: skip
    assert ears.translations(await wrapper.recognize(ears.SILENCE)) == {"de": "GOOD MORNING."}


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="StreamAdapter"):
        ears.TranslatingSTT(
            ears.Written([], is_streaming=False), url="http://127.0.0.1:9", targets=["de"]
        )
    with pytest.raises(ValueError, match="http"):
        ears.TranslatingSTT(ears.Written([]), url="nowhere", targets=["de"])


# ---- what goes wrong on the way ----


@pytest.mark.parametrize("fault", ["restart", "cut", "deaf", "slow"])
async def test_each_final_is_translated_once_whatever_happens_in_mid_sentence(fault: str) -> None:
    server = Restarted()
    script: ears.Script = [
        (ears.INTERIM, "good"), (ears.INTERIM, "good morning"), (ears.FINAL, "Good morning."),
        (ears.INTERIM, "thank"), (ears.FINAL, "Thank you."),
    ]  # fmt: skip
    try:
        async with Network(server.service.port).running() as network:
            faults = Faults(network, server, ["nothing", "nothing", fault])
            wrapper = ears.TranslatingSTT(
                ears.Spoken(script, faults),
                url=network.http,
                source="en",
                targets=["de"],
                final_s=30,
            )
            found = await ears.heard(wrapper, len(script))
    finally:
        await asyncio.to_thread(server.stack.close)
    finals = [each for each in found if each.type == ears.FINAL]
    assert [ears.translations(each) for each in finals] == [
        {"de": "GOOD MORNING."},
        {"de": "THANK YOU."},
    ]


async def test_a_token_that_expired_leaves_a_speech_to_text_and_a_fresh_one_is_asked_for(
    run: Run,
) -> None:
    key = "a-key-of-more-than-16"
    service = run(api_keys=(key,))
    given = iter(["expired", key])

    async def fresh() -> str:
        return next(given)

    for token, expected in ((fresh, {"de": "YES."}), ("expired", None)):
        script: ears.Script = [(ears.FINAL, "Yes.")]
        wrapper = ears.TranslatingSTT(
            ears.Written(script),
            url=service.http,
            targets=["de"],
            final_s=20,
            options={"token": token},
        )
        assert [ears.translations(each) for each in await ears.heard(wrapper, 1)] == [expected]


async def test_a_full_server_is_waited_for(run: Run) -> None:
    service = run(max_sessions=1)
    script: ears.Script = [(ears.INTERIM, "yes"), (ears.FINAL, "Yes.")]
    async with connect(service.http, source="en", targets=["de"]) as first:
        options = {"connect_timeout_s": 20}
        wrapper = ears.TranslatingSTT(
            ears.Written(script), url=service.http, targets=["de"], final_s=20, options=options
        )
        hearing = asyncio.create_task(ears.heard(wrapper, len(script)))
        await asyncio.sleep(0.2)
        await first.close()
        assert [ears.translations(each) for each in await hearing] == [None, {"de": "YES."}]


# ---- for everybody in the room ----


class Published:
    """A participant of a room that nobody is in."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str, dict[str, str]]] = []

    async def send_text(
        self, text: str, *, topic: str = "", attributes: dict[str, str] | None = None
    ) -> None:
        self.texts.append((text, topic, attributes or {}))


async def test_translations_are_published_where_clients_look_for_captions(service: Service) -> None:
    script: ears.Script = [
        (ears.INTERIM, "yes"),
        (ears.FINAL, "Yes."),
        (ears.FINAL, "No."),
    ]
    wrapper = ears.TranslatingSTT(
        ears.Written(script), url=service.http, source="en", targets=["de", "fr"], final_s=20
    )
    participant = Published()
    streams = ears.TranslationStreams(participant, track_id="TR_1")
    for each in await ears.heard(wrapper, len(script)):
        await streams.publish(each)
    shown = [(text, topic, told["language"]) for text, topic, told in participant.texts]
    assert shown == [
        (text, "lk.transcription", language)
        for text in ("YES.", "NO.")
        for language in ("de", "fr")
    ]
    assert len({told["lk.segment_id"] for _, _, told in participant.texts}) == 4
    assert all(told["lk.transcription_final"] == "true" for _, _, told in participant.texts)
    assert all(told["lk.transcribed_track_id"] == "TR_1" for _, _, told in participant.texts)


def test_a_participant_of_livekits_own_takes_what_is_published() -> None:
    wanted = inspect.signature(Published.send_text).parameters
    taken = inspect.signature(ears.rtc.LocalParticipant.send_text).parameters
    assert wanted.keys() <= taken.keys()
