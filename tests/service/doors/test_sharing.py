"""What replicas tell each other of a session."""

from service.doors.sharing import Share, digest_of
from service.wire.outbox import MAX_REPLAY_EVENTS


def test_a_token_is_known_by_what_does_not_give_it_away() -> None:
    assert digest_of("a") == digest_of("a") != digest_of("b")
    assert "secret-token" not in digest_of("secret-token")


def test_no_more_sizes_are_kept_than_frames_can_be_sent_again() -> None:
    share = Share("s", "digest", "epoch")
    for log in share.logs:
        log.extend(range(2 * MAX_REPLAY_EVENTS))
        assert len(log) == MAX_REPLAY_EVENTS
