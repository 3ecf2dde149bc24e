"""Client of TokenSpeed: live translation of text that is still being spoken or typed."""

from tokenspeed_client.client import Session, connect
from tokenspeed_client.dialogue import ConnectionChanged, RoundTrip, SessionEvent, Settings
from tokenspeed_client.errors import ClientError, Ended, NotConnected, Refused
from tokenspeed_client.events import GlossaryEntry
from tokenspeed_client.pending import SourceText
from tokenspeed_client.reading import Reader, listen
from tokenspeed_client.rooms import Room, open_room

__version__ = "0.1.0"

__all__ = [
    "ClientError",
    "ConnectionChanged",
    "Ended",
    "GlossaryEntry",
    "NotConnected",
    "Reader",
    "Refused",
    "Room",
    "RoundTrip",
    "Session",
    "SessionEvent",
    "Settings",
    "SourceText",
    "connect",
    "listen",
    "open_room",
]
