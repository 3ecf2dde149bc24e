"""Headers, hosts and errors of plain HTTP, over real connections."""

import httpx
import pytest

from tests.service.conftest import Run, Service


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
        headers = {"authorization": "Bearer a-key-of-more-than-16"}
        ticket = await http.post("/v1/sessions", headers=headers)
        assert ticket.headers["cache-control"] == "no-store"
