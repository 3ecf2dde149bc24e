"""429 for a client whose HTTP requests cost more than its share.

The cost is the measured processor time of everything done for a request: on the event loop, in
threads and in processes. Knows clients and accounts; does not know what is asked for.
"""

import math
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.doors.auth import bearer
from service.doors.guard import error_reply
from service.doors.state import AppState
from service.load.meter import Metered, paid_by

# Texts and tokens. Pages and rooms are free: a whole hall may read them from one address.
TOLLED: Final = ("/translate", "/detect", "/suggest", "/v2/", "/v1/chat/", "/v1/sessions")


class Toll:
    """Wraps the application.

    Args:
        app: the application.
        state: has the accounts and the keys.
    """

    def __init__(self, app: ASGIApp, state: AppState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or say when to try again."""
        if scope["type"] != "http" or not scope["path"].startswith(TOLLED):
            await self._app(scope, receive, send)
            return
        accounts, client, now_s = self._state.accounts, self._client(scope), self._state.now_s
        delay_s = accounts.ready_s(client, now_s()) - now_s()
        if delay_s > 0:
            said = "your requests cost more than your share; ask again later"
            headers = {"retry-after": str(math.ceil(delay_s))}
            await error_reply(scope["path"], 429, said, headers)(scope, receive, send)
            return
        with paid_by(lambda seconds: accounts.spend(client, seconds, now_s())):
            await Metered(self._app(scope, receive, send))

    def _client(self, scope: Scope) -> str:
        """Return who asks: a valid key, else the address, as anybody can invent keys."""
        given = Headers(scope=scope).get("authorization", "")
        scheme, _, key = given.partition(" ")
        key = key.strip() if scheme.lower() == "deepl-auth-key" else bearer(given) or ""
        auth = self._state.auth
        if auth.is_required and auth.is_key(key):
            return f"key {key}"
        return f"address {scope['client'][0]}" if scope.get("client") else "unknown"
