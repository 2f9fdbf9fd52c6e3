"""The cloud serves the built console, and says how to build it where it was not. (A5)"""

import httpx2
import pytest
from fastapi import FastAPI

from fieldloom_cloud.console import add_console


@pytest.mark.parametrize("path", ["/", "/login", "/dead-letters", "/devices/board-1"])
def test_every_address_of_the_console_is_its_document(cloud, path):
    with cloud.client() as browser:
        answer = browser.get(path, headers={"Accept": "text/html"})

    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "<title>Fieldloom</title>" in answer.text


def test_what_is_none_of_its_addresses_is_not_found(cloud):
    with cloud.client() as browser:
        for path in ("/api/v1/nothing", "/nothing", "/assets/nothing.js", "/../cloud.json"):
            answer = browser.get(path, headers={"Accept": "text/html"})
            assert (answer.status_code, answer.json()["status"]) == (404, 404), path
        wrong = browser.put("/api/v1/devices", headers={"Accept": "text/html"})
        assert wrong.status_code == 405


def test_built_files_may_be_kept_and_the_document_not(cloud):
    with cloud.client() as browser:
        document = browser.get("/")
        script = browser.get(document.text.partition('src="')[2].partition('"')[0])

    assert document.headers["cache-control"] == "no-store"
    assert (script.status_code, script.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")


async def test_a_console_that_was_not_built_says_how(tmp_path):
    app = FastAPI()
    add_console(app, tmp_path / "nowhere")

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://cloud") as client:
        answer = await client.get("/")

    assert answer.status_code == 503
    assert "scripts/console" in answer.text
