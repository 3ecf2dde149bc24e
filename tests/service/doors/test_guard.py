"""Headers, hosts and errors of plain HTTP, over real connections."""

import re

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from service.config import Config
from service.doors.guard import MAX_PARAMS, Guard, json_failure
from service.load.metrics import Metrics
from tests.service.conftest import Run, Service
from tokenspeed.engine.core import EngineStats


async def test_every_answer_binds_a_browser(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        for path in ("/", "/livez", "/languages", "/nowhere", "/src/main.js"):
            headers = (await http.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff", path
            assert headers["referrer-policy"] == "no-referrer"
            policy = headers["content-security-policy"]
            assert "frame-ancestors 'self'" in policy
            assert "unsafe" not in policy


async def test_what_is_not_there_is_told_in_json(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        wrong = await http.get("/translate")
        assert (wrong.status_code, wrong.json()) == (405, {"error": "Method Not Allowed"})
        assert wrong.headers["allow"] == "POST"
        assert (await http.post("/languages")).headers["allow"] == "GET, HEAD"
        chat = await http.get("/v1/chat/completions")
        assert (chat.status_code, chat.json()["error"]["type"]) == (405, "invalid_request_error")
        assert (await http.get("/nowhere.html")).json() == {"error": "Not Found"}
        deepl = await http.delete("/v2/translate")
        assert (deepl.status_code, deepl.json()) == (405, {"message": "Method Not Allowed"})


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8000", 200),
        ("rebound.example", 403),
        ("rebound.example:8000", 403),
        ("localhost.rebound.example", 403),
        ("[", 403),
    ],
)
async def test_an_open_service_answers_to_this_machine_s_names_alone(
    service: Service, host: str, status: int
) -> None:
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        assert (await http.get("/languages", headers={"host": host})).status_code == status


async def test_a_proxy_of_a_known_site_is_answered(run: Run) -> None:
    service = run(origins=("https://captions.example",))
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        for host, status in (("captions.example", 200), ("other.example", 403)):
            found = await http.get("/languages", headers={"host": host})
            assert found.status_code == status


async def test_with_keys_any_host_will_do(run: Run) -> None:
    service = run(api_keys=("a-key-of-more-than-16",))
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        found = await http.get("/languages", headers={"host": "captions.example"})
        assert found.status_code == 200


TEXT = {"q": "Good morning.", "source": "en", "target": "de"}
FRIEND = "https://friend.example"


@pytest.mark.parametrize("origins", [(FRIEND,), ("*",)])
async def test_pages_of_known_sites_may_use_the_apis(run: Run, origins: tuple[str, ...]) -> None:
    service = run(origins=origins)
    asked = {"access-control-request-method": "POST"}
    asked["access-control-request-headers"] = "authorization,content-type,x-stainless-os"
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        for path in ("/translate", "/v1/chat/completions", "/v1/sessions"):
            preflight = await http.options(path, headers={"origin": FRIEND, **asked})
            assert preflight.status_code == 200
            assert preflight.headers["access-control-allow-origin"] in (FRIEND, "*")
            assert "POST" in preflight.headers["access-control-allow-methods"]
            allowed = preflight.headers["access-control-allow-headers"]
            assert allowed == asked["access-control-request-headers"]
        found = await http.post("/translate", json=TEXT, headers={"origin": FRIEND})
        assert found.json() == {"translatedText": "GOOD MORNING."}
        assert found.headers["access-control-allow-origin"] in (FRIEND, "*")
        wrong = await http.post("/translate", json={}, headers={"origin": FRIEND})
        assert wrong.headers["access-control-allow-origin"] in (FRIEND, "*")  # so that it is read


@pytest.mark.parametrize("origins", [(), (FRIEND,)])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://["])
async def test_pages_of_other_sites_may_not(
    run: Run, origins: tuple[str, ...], origin: str
) -> None:
    service = run(origins=origins)
    asked = {"access-control-request-method": "POST", "origin": origin}
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        for reply in (
            await http.options("/translate", headers=asked),
            await http.post("/translate", json=TEXT, headers={"origin": origin}),
            await http.post("/translate", data=TEXT, headers={"origin": origin}),
        ):
            assert (reply.status_code, list(reply.json())) == (403, ["error"])
            assert "access-control-allow-origin" not in reply.headers
        read = await http.get("/languages", headers={"origin": origin})
        assert "access-control-allow-origin" not in read.headers
        own = await http.post("/translate", json=TEXT, headers={"origin": service.http})
        assert own.status_code == 200


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("text/plain", 415),
        ("application/xml", 415),
        ("", 415),
    ],
)
async def test_bodies_are_json_or_forms(service: Service, kind: str, status: int) -> None:
    body = b'{"q": "Good morning.", "source": "en", "target": "de"}'
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        headers = {"content-type": kind} if kind else {}
        for path in ("/translate", "/v1/sessions"):
            found = await http.post(path, content=body, headers=headers)
            assert (found.status_code, "error" in found.json()) == (status, status != 200)
        assert (await http.post("/v1/sessions")).status_code == 200  # none is needed


async def test_a_bug_of_ours_is_told_in_json_and_binds_a_browser() -> None:
    def fail(request: Request) -> Response:
        raise RuntimeError("a bug")

    app = Starlette(
        routes=[Route("/v1/models", fail)], exception_handlers={Exception: json_failure}
    )
    transport = httpx.ASGITransport(
        Guard(app, Config(), Metrics(EngineStats).requests), raise_app_exceptions=False
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        found = await http.get("/v1/models")
    assert (found.status_code, found.json()["error"]["type"]) == (500, "server_error")
    assert found.headers["x-content-type-options"] == "nosniff"


async def test_what_clients_ask_for_is_counted_by_the_table_s_paths(run: Run) -> None:
    service = run()
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        for number in range(5):
            await http.get(f"/nowhere/{number}")
            await http.get(f"/v1/models/{number}")
            await http.post("/translate", json=TEXT | {"source": "x" * number})
        await http.post("/translate", json=TEXT)
    text = service.state.metrics.render().decode()
    found = re.findall(r'requests_total\{path="(.*)",status="(\d+)"\} (\d)', text)
    assert sorted(found) == [
        ("/translate", "200", "1"),
        ("/translate", "400", "5"),
        ("/v1/models/{name:path}", "404", "5"),
        ("other", "404", "5"),
    ]


@pytest.mark.parametrize("path", ["/translate", "/nowhere", "/languages", "/v1/chat/completions"])
async def test_who_sends_far_too_much_is_told_so(service: Service, path: str) -> None:
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        for headers in (
            {"content-type": "application/json", "connection": "close"},
            {"content-type": "text/plain", "connection": "close"},
        ):
            found = await http.post(path, content=b"x" * 5_000_000, headers=headers)
            assert found.status_code in (400, 404, 405, 413, 415)
            assert "error" in found.json()


async def test_an_address_with_thousands_of_parameters_is_refused(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        for path in ("/v2/languages", "/livez", "/v1/rooms/x/events"):
            reply = await http.get(f"{path}?{'a&' * MAX_PARAMS}")
            assert reply.status_code == 414
            assert "parameters" in reply.text
        assert (await http.get(f"/livez?{'a&' * (MAX_PARAMS - 1)}")).status_code == 200
    with pytest.raises(InvalidStatus, match="403"):
        async with connect(f"{service.ws}?{'a&' * MAX_PARAMS}", proxy=None):
            pass
