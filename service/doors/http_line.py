"""uvicorn's HTTP protocol, with time limits where it would wait for ever.

For the rest of a head or a body, and for a client to read its answer. Knows bytes and time; does
not know what is asked for.
"""

import asyncio
from typing import Final

import h11

from service.doors.http_slices import SlicedHttp

LEFT_S: Final = 1.0  # for answers still under way once the service has drained


class HttpLine(SlicedHttp):
    """One HTTP connection, until it ends or becomes a WebSocket.

    Attributes:
        is_stranger: always False; it neither has nor wants a session.
        since_s: when waiting for the client began.
    """

    is_stranger = False
    since_s = 0.0
    _owed = ""  # what the client has to do next
    _deadline: asyncio.TimerHandle | None = None
    _gave_way = False

    @property
    def address(self) -> str:
        """The client's address; all clients of a proxy in front share one."""
        return self.client[0] if self.client else ""

    @property
    def is_waiting(self) -> bool:
        """Whether the client has to act, be it only to read the answer."""
        is_owed = bool(self._owed) or self.transport.get_write_buffer_size() > 0
        return is_owed and not self._gave_way

    def give_way(self) -> None:
        """Close the connection to make room for another."""
        self._gave_way = True
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection, if there is room."""
        super().connection_made(transport)
        self.since_s = self.loop.time()
        if not self.server_state.make_room():
            self.refuse(503, "too many connections")
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._watch()

    def parse(self) -> None:
        """Parse some of what has come; then the client may have to do something else."""
        super().parse()
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Continue writing."""
        super().resume_writing()
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over."""
        self._forget_deadline()
        super().handle_websocket_upgrade(event)

    def shutdown(self) -> None:
        """The service ends: cut off what is not finished within LEFT_S."""
        super().shutdown()
        self.loop.call_later(LEFT_S, self._cut_off)

    def _cut_off(self) -> None:
        if self.conn.our_state is h11.SEND_RESPONSE and not self.flow.write_paused:
            self.refuse(503, "the service is shutting down")
        else:
            self.transport.abort()  # in the middle of an answer, or of one that nobody reads

    def _watch(self) -> None:
        """Note what the client has to do, and by when."""
        owed = "" if self._is_upgraded else self._what_is_owed()
        if owed == self._owed:
            return
        self._forget_deadline()
        self._owed = owed
        if owed:
            limits = self.server_state.limits
            patience_s = {"head": limits.head_s, "body": limits.body_s, "reading": limits.answer_s}
            self.since_s = self.loop.time()
            self._deadline = self.loop.call_later(patience_s[owed], self._give_up)

    def _what_is_owed(self) -> str:
        if self.transport.is_closing() or self.flow.write_paused:
            return "reading"
        return {h11.IDLE: "head", h11.SEND_BODY: "body"}.get(self.conn.their_state, "")

    def _give_up(self) -> None:
        """Drop a client that took too long."""
        if self._owed == "reading":
            self.transport.abort()
        elif self._owed == "head":
            self.transport.close()  # nobody has asked for anything yet
        else:
            self.refuse(408, "the body of the request took too long")
        self._watch()

    def _forget_deadline(self) -> None:
        self._owed = ""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
