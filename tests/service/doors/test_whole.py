"""Texts of one request: side by side, in order, not all at once."""

import httpx

from service.doors.whole import SIDE_BY_SIDE
from tests.service.conftest import Run
from tests.service.doors.test_app import eventually
from tests.service.fakes import FakeEngine


async def test_many_texts_come_back_in_order_without_filling_the_engine(run: Run) -> None:
    service = run(FakeEngine(delay_s=0.4))
    most: list[int] = []
    submit = service.engine.submit

    def counted(request: object, deliver: object) -> object:
        found = submit(request, deliver)  # type: ignore[arg-type]
        most.append(len(service.engine.running))
        return found

    service.engine.submit = counted  # type: ignore[method-assign, assignment]
    texts = [f"Text {n}" if n % 3 else "..." for n in range(60)]
    body = {"q": texts, "source": "en", "target": "de"}
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        reply = await http.post("/translate", json=body)
    assert reply.json()["translatedText"] == [text.upper() for text in texts]
    assert max(most) == SIDE_BY_SIDE
    assert len(most) == 40  # what has no words asks nobody
    await eventually(lambda: not service.engine.running)
