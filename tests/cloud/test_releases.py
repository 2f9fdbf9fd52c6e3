"""Releases over HTTP: taken whole or refused with the member at fault, kept while a device is to run them. (F5, A1)"""

import hashlib
import io
import random
import struct
import time
import zipfile
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from cloud.conftest import Cloud
from fieldloom_cloud.errors import BadContent
from fieldloom_cloud.registry.models import Device
from fieldloom_cloud.releases.package import opened
from fixtures.releases import BOARD, contents, release, root_file, signed, zipped

ZIP = {"Content-Type": "application/zip"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory, new_database):
    """A cloud that was given the root."""
    folder = tmp_path_factory.mktemp("cloud")
    options = ("--release-root", root_file(folder / "root.txt"))
    cloud = Cloud(folder, *options, database=new_database()).start()
    yield cloud
    cloud.process.stop()


def upload(api, members):
    body = members if isinstance(members, bytes) else zipped(members)
    return api.post("/api/v1/releases", content=body, headers=ZIP)


def faults(answer):
    assert answer.status_code == 422, answer.text
    return [(fault["path"], fault["reason"]) for fault in answer.json()["errors"]]


def test_a_release_is_kept_whole_and_survives_kill_9(cloud, api):
    members = release("1.0.1")

    answer = upload(api, members)
    cloud.process.kill()  # an answer promises the disk
    cloud.start()

    assert answer.status_code == 201, answer.text
    kept = api.get(f"/api/v1/releases/{BOARD}-1.0.1").json()
    assert kept == answer.json()
    told = {name: kept[name] for name in ("board", "version", "mpy", "floor", "key_serial", "signature")}
    told_of = {"board": BOARD, "version": "1.0.1", "mpy": "6.3", "floor": "1.0.0"}
    assert told == told_of | {"key_serial": 3, "signature": "verified"}
    assert {file["path"]: (file["size"], file["sha256"]) for file in kept["files"]} == {
        name: (len(body), hashlib.sha256(body).hexdigest()) for name, body in members.items()
    }
    sbom = api.get(f"/api/v1/releases/{BOARD}-1.0.1/sbom")
    assert (sbom.content, sbom.headers["Content-Type"]) == (
        members["sbom.cdx.json"],
        "application/vnd.cyclonedx+json",
    )


def test_a_cloud_without_the_root_says_that_it_has_not_verified():
    taken = opened(zipped(release("1.0.2", root="key")), None, datetime.now(UTC))

    assert taken.signature == "unverified"


def test_the_same_release_twice_is_a_duplicate(api):
    assert upload(api, release("1.0.3")).status_code == 201

    answer = upload(api, release("1.0.3"))

    assert answer.status_code == 409
    assert "raise the version" in answer.json()["detail"]


def test_a_list_is_of_a_board_and_comes_in_pages(api):
    for number in ("3.0.1", "3.0.2", "3.0.3"):
        assert upload(api, release(number, board="pages")).status_code == 201

    pages = [api.get("/api/v1/releases", params={"board": "pages", "limit": 2}).json()]
    pages.append(api.get("/api/v1/releases", params={"board": "pages", "limit": 2, "cursor": pages[0]["next"]}).json())

    assert [[one["version"] for one in page["items"]] for page in pages] == [["3.0.3", "3.0.2"], ["3.0.1"]]
    assert pages[1]["next"] is None


def changed(**members):
    return release("9.9.9") | {name.replace("__", "/").replace("_dot_", "."): body for name, body in members.items()}


def without(name):
    return {key: body for key, body in release("9.9.9").items() if key != name}


def of_a_traveller(path):
    """A signed manifest with a path that leads elsewhere."""
    members = release("9.9.9", files={"main.py": b"x"})
    members["manifest"] = members["manifest"].replace(b" main.py", b" " + path.encode())
    return members | {"manifest.sig": signed("key", members["manifest"])}


def bomb():
    """A megabyte of zeros in a member that says it has 3 bytes."""
    archive = bytearray(zipped(release("9.9.9", files={"main.py": b"\0" * 2**18})))
    told = struct.pack("<I", 2**18)
    while (at := archive.find(told)) >= 0:
        archive[at : at + 4] = struct.pack("<I", 3)
    return bytes(archive)


MAIN = "files/lib/module_05.mpy"
BAD = {
    "no zip": (lambda: b"PK\x03\x04 but no more", "archive", "is no .zip"),
    "empty": (lambda: b"", "archive", "is no .zip"),
    "cut off": (lambda: zipped(release("9.9.9"))[:-100], "archive", "is no .zip"),
    "no manifest": (lambda: without("manifest"), "manifest", "is missing"),
    "no signature": (lambda: without("manifest.sig"), "manifest.sig", "is missing"),
    "no sbom": (lambda: without("sbom.cdx.json"), "sbom.cdx.json", "is missing"),
    "no file": (lambda: without(MAIN), MAIN, "is missing"),
    "another file": (lambda: changed(**{"files/evil.mpy": b"x"}), "files/evil.mpy", "is not named by the manifest"),
    "a way out": (lambda: changed(**{"../../evil": b"x"}), "../../evil", "is not named by the manifest"),
    "twice": (lambda: zipped([*release("9.9.9").items(), ("key", b"x")]), "key", "is there twice"),
    "changed file": (lambda: changed(**{MAIN: release("9.9.9")[MAIN][:-1] + b"?"}), MAIN, "SHA-256"),
    "longer file": (lambda: changed(**{MAIN: release("9.9.9")[MAIN] + b"?"}), MAIN, "has more than"),
    "shorter file": (lambda: changed(**{MAIN: release("9.9.9")[MAIN][:-1]}), MAIN, "SHA-256"),
    "manifest of another key": (
        lambda: changed(**{"manifest.sig": signed("root", release("9.9.9")["manifest"])}),
        "manifest.sig",
        "no signature of manifest",
    ),
    "changed manifest": (
        lambda: changed(manifest=release("9.9.9")["manifest"].replace(b"floor 1.0.0", b"floor 0.0.1")),
        "manifest.sig",
        "no signature of manifest",
    ),
    "key of another root": (lambda: release("9.9.9", root="key"), "key.sig", "that this cloud was given"),
    "out of date": (lambda: release("9.9.9", expires=1_600_000_000), "key", "expires at 1600000000"),
    "beyond all dates": (lambda: release("9.9.9", expires=2**39), "key", "expires at"),
    "unreadable manifest": (lambda: changed(manifest=b"hello\n"), "manifest", "fieldloom-release"),
    "unreadable key": (lambda: changed(key=b"hello\n"), "key", "fieldloom-release-key"),
    "up": (lambda: of_a_traveller("../main.py"), "manifest", "empty or hidden part"),
    "root": (lambda: of_a_traveller("/main.py"), "manifest", "empty or hidden part"),
    "sbom of nothing": (lambda: changed(**{"sbom.cdx.json": b"{}"}), "sbom.cdx.json", "CycloneDX"),
    "sbom of no JSON": (lambda: changed(**{"sbom.cdx.json": b"{"}), "sbom.cdx.json", "not JSON"),
    "sbom as a bomb": (lambda: changed(**{"sbom.cdx.json": b" " * 2**21}), "sbom.cdx.json", "has more than"),
    "another compression": (lambda: zipped(release("9.9.9"), zipfile.ZIP_LZMA), "manifest", "deflate"),
    "a bomb": (bomb, "archive", "is no .zip"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_boards_would_not_take_is_refused_and_leaves_nothing(api, name):
    make, path, reason = BAD[name]

    ((where, why),) = faults(upload(api, make()))

    assert (where, reason in why) == (path, True), why
    assert api.get(f"/api/v1/releases/{BOARD}-9.9.9").status_code == 404


def test_a_spoilt_archive_is_refused_by_a_reason_and_by_nothing_else():
    good, rng = zipped(release("9.9.9")), random.Random(20261126)
    refused = 0

    for _ in range(1000):
        spoilt = bytearray(good)
        for _ in range(rng.choice((1, 2, 20))):
            at = rng.randrange(len(good) - 3000, len(good)) if rng.random() < 0.6 else rng.randrange(len(good))
            spoilt[at : at + rng.choice((0, 1, 1, 30))] = rng.randbytes(rng.choice((0, 1, 1, 30)))
        try:
            taken = opened(bytes(spoilt), None, datetime.now(UTC))
        except BadContent:
            refused += 1
        else:
            assert {file.path: file.body for file in taken.files} == release("9.9.9")

    assert refused > 800


def test_a_body_beyond_the_limit_is_not_read(api):
    answer = upload(api, b"PK" + b"\0" * (3 * 2**20))

    assert answer.status_code == 413


def test_another_content_type_is_told_what_to_send(api):
    answer = api.post("/api/v1/releases", json={"release": 1})

    assert answer.status_code == 415
    assert "application/zip" in answer.json()["title"]


def test_folders_in_an_archive_say_nothing(api):
    archive = io.BytesIO(zipped(release("4.0.0")))
    with zipfile.ZipFile(archive, "a") as packed:
        packed.mkdir("files")
        packed.mkdir("files/lib")

    assert upload(api, archive.getvalue()).status_code == 201


# --- what refers to a release -----------------------------------------------------------------------------------------


def send(api, device, release_id, **more):
    body = {"type": "update", "parameters": {"release": release_id}, **more}
    return api.post(f"/api/v1/devices/{device}/commands", json=body)


def test_an_update_to_what_is_not_there_is_refused(api):
    api.post("/api/v1/devices", json={"id": "dev-none"}).raise_for_status()

    for wanted, reason in ((f"{BOARD}-7.7.7", "no release of this cloud"), (None, "name a release"), (7, "no release")):
        ((path, why),) = faults(send(api, "dev-none", wanted))
        assert (path, reason in why) == ("parameters.release", True), why


def test_an_update_of_a_group_is_refused_for_those_alone_whose_board_is_another(cloud, api):
    assert upload(api, release("5.1.0")).status_code == 201
    api.post("/api/v1/groups", json={"id": "site-a"}).raise_for_status()
    for device in ("dev-fits", "dev-other"):
        api.post("/api/v1/devices", json={"id": device}).raise_for_status()
        api.put(f"/api/v1/groups/site-a/devices/{device}").raise_for_status()
    with cloud.in_database() as sql:  # what its firmware would have told
        sql.execute(update(Device).where(Device.id == "dev-other").values(board="another-board"))

    body = {"type": "update", "parameters": {"release": f"{BOARD}-5.1.0"}}
    fits, other = api.post("/api/v1/groups/site-a/commands", json=body).json()["items"]

    assert (fits["device"], fits["command"]["status"]) == ("dev-fits", "pending")
    assert (other["device"], other["command"], other["errors"][0]["path"]) == ("dev-other", None, "parameters.release")


def test_a_release_stays_while_a_device_is_to_run_it(api):
    for device in ("dev-held", "dev-gone"):
        api.post("/api/v1/devices", json={"id": device}).raise_for_status()
        upload(api, release("5.0.0"))
        assert send(api, device, f"{BOARD}-5.0.0").status_code == 202

    first = api.delete(f"/api/v1/releases/{BOARD}-5.0.0")
    api.delete("/api/v1/devices/dev-gone").raise_for_status()
    second = api.delete(f"/api/v1/releases/{BOARD}-5.0.0")
    api.delete("/api/v1/devices/dev-held").raise_for_status()
    third = api.delete(f"/api/v1/releases/{BOARD}-5.0.0")

    assert (first.status_code, second.status_code, third.status_code) == (409, 409, 204)
    assert "dev-gone, dev-held" in first.json()["detail"]
    assert "dev-held" in second.json()["detail"]
    assert api.get(f"/api/v1/releases/{BOARD}-5.0.0").status_code == 404
    assert api.delete(f"/api/v1/releases/{BOARD}-5.0.0").status_code == 404


def test_what_another_release_has_too_outlives_a_deletion(api):
    files = contents("shared")
    for number in ("6.0.0", "6.0.1"):
        assert upload(api, release(number, files=files)).status_code == 201

    api.delete(f"/api/v1/releases/{BOARD}-6.0.0").raise_for_status()

    assert upload(api, release("6.0.0", files=files)).status_code == 201
    assert api.get(f"/api/v1/releases/{BOARD}-6.0.1/sbom").status_code == 200


def test_an_expired_release_is_sent_to_nobody(api):
    api.post("/api/v1/devices", json={"id": "dev-late"}).raise_for_status()
    soon = int(time.time()) + 3
    assert upload(api, release("8.0.0", expires=soon)).status_code == 201

    while time.time() <= soon:
        time.sleep(0.1)
    ((_, why),) = faults(send(api, "dev-late", f"{BOARD}-8.0.0"))

    assert "has expired" in why
