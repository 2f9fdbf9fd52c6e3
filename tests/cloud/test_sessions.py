"""People log in by a link that is good once, and get a session that only the console itself can use. (A2)"""

import contextlib
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import update

from fieldloom_cloud.auth.models import LoginLink, LoginSession
from fieldloom_cloud.database import now
from fixtures.processes import FIELDLOOM

SAME = {"Sec-Fetch-Site": "same-origin"}


def new_secret(api, role="operator"):
    made = api.post("/api/v1/login-links", json={"role": role})
    assert made.status_code == 201, made.text
    address, secret = made.json()["link"].split("/login#")
    assert address == str(api.base_url).rstrip("/")
    return secret


@contextlib.contextmanager
def logged_in(cloud, api, role="operator"):
    with cloud.client() as browser:
        browser.post("/api/v1/session", json={"secret": new_secret(api, role)}).raise_for_status()
        yield browser


def age(cloud, table):
    """Let what is in a table have expired an hour ago."""
    with cloud.in_database() as connection:
        connection.execute(update(table).values(expires=now() - timedelta(hours=1)))


def test_a_link_becomes_a_cookie_that_no_script_and_no_other_site_gets(cloud, api):
    with cloud.client() as browser:
        answer = browser.post("/api/v1/session", json={"secret": new_secret(api)})

        assert answer.status_code == 201
        assert answer.json()["role"] == "operator"
        cookie = answer.headers["set-cookie"]
        assert all(flag in cookie for flag in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"))
        assert "Secure" not in cookie, "plain HTTP on loopback: the browser would not send it back"
        assert browser.get("/api/v1/session").json() == answer.json()
        assert browser.get("/api/v1/devices").status_code == 200


def test_a_link_is_good_once_even_if_two_come_at_the_same_time(cloud, api):
    secret = new_secret(api)

    def attempt(_):
        with cloud.client() as browser:
            return browser.post("/api/v1/session", json={"secret": secret}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(attempt, range(8))) == [201, *[401] * 7]


def test_a_link_that_is_old_or_invented_opens_nothing(cloud, api):
    secret = new_secret(api)
    age(cloud, LoginLink)

    with cloud.client() as browser:
        for wrong in (secret, "invented"):
            answer = browser.post("/api/v1/session", json={"secret": wrong})
            assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
            assert "ask for another one" in answer.json()["detail"]


def test_a_session_ends_by_logging_out_and_by_its_age(cloud, api):
    with logged_in(cloud, api) as leaving, logged_in(cloud, api) as staying:
        stolen = dict(leaving.cookies)
        assert leaving.delete("/api/v1/session", headers=SAME).status_code == 204
        assert not leaving.cookies
        with cloud.client() as thief:
            thief.cookies.update(stolen)
            assert thief.get("/api/v1/devices").status_code == 401

        assert staying.get("/api/v1/devices").status_code == 200
        age(cloud, LoginSession)
        assert staying.get("/api/v1/devices").status_code == 401


def test_a_session_has_its_role(cloud, api):
    with logged_in(cloud, api, "viewer") as viewer:
        assert viewer.get("/api/v1/devices").status_code == 200
        assert viewer.post("/api/v1/devices", json={"id": "d"}, headers=SAME).status_code == 403
        assert viewer.post("/api/v1/login-links", json={}, headers=SAME).status_code == 403
    with logged_in(cloud, api, "operator") as operator:
        assert operator.post("/api/v1/devices", json={"id": "by-operator"}, headers=SAME).status_code == 201
        assert operator.post("/api/v1/login-links", json={"role": "admin"}, headers=SAME).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 201),
        ({"Sec-Fetch-Site": "same-site"}, 403),  # another port of this machine
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
def test_a_write_by_cookie_is_taken_from_the_console_alone(cloud, api, headers, status):
    with logged_in(cloud, api) as browser:
        body = {"id": f"csrf-{status}"}
        assert browser.post("/api/v1/devices", json=body, headers=headers).status_code == status
        assert browser.delete("/api/v1/session", headers=headers).status_code == (204 if status == 201 else 403)


def test_an_old_browser_is_known_by_its_origin(cloud, api):
    with logged_in(cloud, api) as browser:
        own = {"Origin": str(browser.base_url).rstrip("/")}

        assert browser.post("/api/v1/devices", json={"id": "by-origin"}, headers=own).status_code == 201


def test_a_wrong_token_is_not_helped_by_a_good_cookie(cloud, api):
    with logged_in(cloud, api) as browser:
        answer = browser.get("/api/v1/devices", headers={"Authorization": "Bearer fl_wrong"})

    assert answer.status_code == 401


def test_no_secret_is_in_the_database(cloud, api):
    secret = new_secret(api)
    with logged_in(cloud, api) as browser:
        cookie = browser.cookies["fieldloom_session"]

    held = cloud.stored()
    assert secret.encode() not in held
    assert cookie.encode() not in held


def test_the_command_prints_a_link_while_the_cloud_runs(cloud):
    command = [FIELDLOOM, "cloud", "login-link", "--data", cloud.data, "--role", "viewer", "--json"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True, timeout=60)

    told = json.loads(done.stdout)
    assert told["link"].startswith(f"http://127.0.0.1:{cloud.port}/login#")
    with cloud.client() as browser:
        answer = browser.post("/api/v1/session", json={"secret": told["link"].partition("#")[2]})
    assert answer.json()["role"] == "viewer"


def test_every_answer_keeps_the_browser_safe(cloud, api):
    for path in ("/", "/api/v1/devices", "/api/v1/nothing", "/login"):
        headers = api.get(path).headers
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert headers["cache-control"] == "no-store"
