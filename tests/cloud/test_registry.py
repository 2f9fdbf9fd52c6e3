"""The registry over the real process. (R1, A1, A2)"""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

numbers = itertools.count(1)


@pytest.fixture
def device(api):
    name = f"dev-{next(numbers)}"
    answer = api.post("/api/v1/devices", json={"id": name, "type": "pump", "tags": {"floor": "2"}})
    assert answer.status_code == 201
    return answer.json()


def with_role(cloud, role):
    with cloud.client(cloud.token) as api:
        return api.post("/api/v1/tokens", json={"name": "test", "role": role}).json()["token"]


def test_a_device_is_registered_shown_and_removed(api, device):
    shown = api.get(f"/api/v1/devices/{device['id']}")

    assert shown.json() == device | {"state": None}
    assert (device["site"], device["status"], device["version"]) == ("default", "unknown", 1)
    assert device["created"].endswith("Z")
    assert api.delete(f"/api/v1/devices/{device['id']}").status_code == 204
    assert api.get(f"/api/v1/devices/{device['id']}").status_code == 404


def test_a_duplicate_is_a_409(api, device):
    answer = api.post("/api/v1/devices", json={"id": device["id"]})

    assert answer.status_code == 409
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"] == f"device {device['id']} is there already"


def test_a_change_with_a_stale_etag_is_a_412(api, device):
    path = f"/api/v1/devices/{device['id']}"
    etag = api.get(path).headers["ETag"]
    first = api.patch(path, json={"name": "North pump"}, headers={"If-Match": etag})
    second = api.patch(path, json={"name": "South pump"}, headers={"If-Match": etag})

    assert (first.status_code, first.json()["name"], first.headers["ETag"]) == (200, "North pump", '"2"')
    assert second.status_code == 412
    assert api.get(path).json()["name"] == "North pump"
    assert api.get(path).json()["tags"] == {"floor": "2"}


def test_of_many_changes_of_one_version_one_wins(cloud, api, device):
    def change(number):
        with cloud.client(cloud.token) as client:
            path = f"/api/v1/devices/{device['id']}"
            return client.patch(path, json={"name": f"n{number}"}, headers={"If-Match": '"1"'}).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(change, range(8)))

    assert statuses == [200, *[412] * 7]


def test_pages_follow_a_cursor_without_gap_or_repeat(api):
    names = [f"page-{number:02}" for number in range(25)]
    for name in reversed(names):
        api.post("/api/v1/devices", json={"id": name, "type": "paged", "name": name[-1]})

    for sort, expected in (("id", names), ("-id", names[::-1]), ("name", sorted(names, key=lambda n: (n[-1], n)))):
        found, cursor = [], None
        while True:
            params = {"type": "paged", "limit": 10, "sort": sort, **({"cursor": cursor} if cursor else {})}
            page = api.get("/api/v1/devices", params=params).json()
            found += [item["id"] for item in page["items"]]
            cursor = page["next"]
            if not cursor:
                break
        assert found == expected


def test_devices_are_found_by_tag_and_free_text(api, device):
    api.patch(f"/api/v1/devices/{device['id']}", json={"tags": {"room": "100%"}, "name": "Boiler"})

    for params in ({"tag": "room:100%"}, {"q": "boil"}, {"q": device["id"]}):
        assert device["id"] in [item["id"] for item in api.get("/api/v1/devices", params=params).json()["items"]]
    assert api.get("/api/v1/devices", params={"tag": "room:1"}).json()["items"] == []


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (("POST", "/api/v1/devices", {"id": "Not OK"}), "id"),
        (("POST", "/api/v1/devices", {"id": "ok", "colour": "red"}), "colour"),
        (("POST", "/api/v1/devices", {"id": "ok", "site": "nowhere"}), "site"),
        (("POST", "/api/v1/gateways", {"id": "nodot"}), "id"),
        (("POST", "/api/v1/gateways", {"id": "svc.cloud"}), "id"),
        (("POST", "/api/v1/gateways", {"id": "."}), "id"),
        (("GET", "/api/v1/devices?sort=colour", None), "sort"),
        (("GET", "/api/v1/devices?tag=floor", None), "tag"),
        (("GET", "/api/v1/devices?cursor=forged", None), "cursor"),
        (("GET", "/api/v1/devices?cursor=%3Ei:1", None), "cursor"),
        (("GET", "/api/v1/devices?limit=0", None), "limit"),
    ],
)
def test_bad_content_names_the_field_and_the_reason(api, request_, path):
    method, url, body = request_
    answer = api.request(method, url, json=body)

    assert answer.status_code == 422
    assert [fault["path"] for fault in answer.json()["errors"]] == [path]
    assert answer.json()["errors"][0]["reason"]


def test_nothing_is_open_without_a_token(cloud):
    with cloud.client() as nobody, cloud.client("fl_wrong") as stranger:
        for path in ("/api/v1/devices", "/api/v1/sites", "/api/v1/gateways", "/api/v1/certificates"):
            assert nobody.get(path).status_code == 401
            assert stranger.get(path).status_code == 401
            assert nobody.get(path).headers["WWW-Authenticate"] == "Bearer"
        assert nobody.get("/healthz").json() == {"status": "alive"}


def test_a_viewer_may_look_and_not_change(cloud, device):
    with cloud.client(with_role(cloud, "viewer")) as viewer:
        assert viewer.get("/api/v1/devices").status_code == 200
        for method, path in (("POST", "/api/v1/devices"), ("DELETE", f"/api/v1/devices/{device['id']}")):
            answer = viewer.request(method, path, json={"id": "x"})
            assert answer.status_code == 403
            assert "operator may" in answer.json()["detail"]


def test_a_body_over_the_limit_is_refused(api):
    too_long = api.post("/api/v1/devices", content=b"x" * 70_000)
    assert (too_long.status_code, too_long.headers["content-type"]) == (413, "application/problem+json")


def test_the_token_is_its_owners_alone_and_not_in_the_database(cloud):
    assert (cloud.data / "admin.token").stat().st_mode & 0o777 == 0o600
    assert {path.stat().st_mode & 0o777 for path in cloud.data.glob("cloud.db")} <= {0o600}
    assert cloud.token.encode() not in cloud.stored()
