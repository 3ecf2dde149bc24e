"""What exceptions say."""

from tokenspeed_client.errors import ClientError, Ended, NotConnected, Refused


def test_they_carry_what_happened() -> None:
    assert str(NotConnected(10.0, "")) == "no session within 10 s: no answer"
    refused = Refused(4401, "unauthorized")
    assert (refused.code, refused.reason, str(refused)) == (
        4401,
        "unauthorized",
        "unauthorized (code 4401)",
    )
    assert issubclass(Refused, Ended)
    assert issubclass(NotConnected, ClientError)
