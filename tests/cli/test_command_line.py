"""The command itself: help, clear failures with the way out, exit codes. The API is a real HTTP server on loopback."""

import json
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

FIELDLOOM = Path(sys.executable).with_name("fieldloom")
TIERS = {"cryptography", "duckdb", "fastapi", "fieldloom_build", "micropython_run", "sqlalchemy"}


def fieldloom(*arguments, **environment):
    return subprocess.run(
        [FIELDLOOM, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "160", **environment},
    )


def loaded(*arguments):
    """Return the names of what a command has imported at its end."""
    probe = (
        "import sys\nfrom fieldloom_cli import main\n"
        "try: main.main()\nexcept SystemExit: pass\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    command = [sys.executable, "-c", probe, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.splitlines()[-1].split())


@pytest.fixture
def cloud(tmp_path):
    """A server that gives the answers that a test puts into `answers`, by "METHOD path"."""
    answers, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((self.command, self.path, json.loads(body or b"null"), self.headers["Authorization"]))
            status, told = answers[f"{self.command} {self.path.split('?')[0]}"]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        do_GET = do_POST = do_PATCH = do_PUT = answer  # noqa: N815 - the names are http.server's

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    demo = {"api": f"http://127.0.0.1:{server.server_port}", "token": "secret", "ca": "ca.pem"}
    (tmp_path / "demo.json").write_text(json.dumps(demo))
    yield answers, asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_help_names_every_group_and_imports_no_tier():
    done = fieldloom("--help")

    assert done.returncode == 0
    for group in ("cloud", "command", "dead-letters", "demo", "device", "gateway", "release", "telemetry", "token"):
        assert group in done.stdout
    assert loaded("--help") & (TIERS | {"httpx2", "rich"}) == set()


def test_a_call_of_the_cloud_imports_no_tier(cloud, tmp_path):
    answers, _ = cloud
    answers["GET /api/v1/devices"] = 200, {"items": [], "next": None}

    found = loaded("device", "list", "--json", "--data", tmp_path)

    assert "httpx2" in found
    assert found & (TIERS | {"rich"}) == set()


def test_who_serves_nothing_imports_no_server():
    assert loaded("cloud", "--help") & {"duckdb", "uvicorn"} == set()
    assert loaded("gateway", "--help") & {"uvicorn", "zeroconf"} == set()


def test_a_command_with_duckdb_ends_without_a_word():
    done = fieldloom("cloud", "openapi")

    assert json.loads(done.stdout)["info"]["title"] == "Fieldloom"
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_cloud_it_says_how_to_name_one(tmp_path):
    done = fieldloom("device", "list", "--data", tmp_path / "none")

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "FIELDLOOM_API" in done.stderr


def test_a_cloud_that_does_not_answer_is_one_line():
    done = fieldloom("device", "list", FIELDLOOM_API="http://127.0.0.1:9", FIELDLOOM_TOKEN="x")

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "is it running?" in done.stderr


def test_a_list_follows_the_cursor_to_its_end(cloud, tmp_path):
    answers, asked = cloud
    pages = iter([{"items": [{"id": "a"}], "next": "more"}, {"items": [{"id": "b"}], "next": None}])
    answers["GET /api/v1/devices"] = type("Pages", (), {"__iter__": lambda self: iter((200, next(pages)))})()

    done = fieldloom("device", "list", "--data", tmp_path, "--json")

    assert json.loads(done.stdout) == {"items": [{"id": "a"}, {"id": "b"}], "next": None}
    assert [path for _, path, _, _ in asked] == ["/api/v1/devices", "/api/v1/devices?cursor=more"]
    assert asked[0][3] == "Bearer secret"


def test_a_new_device_gets_its_files_and_the_key_is_its_owners_alone(cloud, tmp_path):
    answers, asked = cloud
    answers["POST /api/v1/devices"] = (201, {"id": "pump-7"})
    answers["POST /api/v1/certificates"] = (201, {"certificate": "CERT", "ca": "CA"})

    done = fieldloom("device", "new", "pump-7", "--data", tmp_path, "--json")

    told = json.loads(done.stdout)
    assert told["id"] == "pump-7"
    assert Path(told["cert"]).read_text() == "CERT"
    assert Path(told["ca"]).read_text() == "CA"
    assert Path(told["key"]).read_text().startswith("-----BEGIN EC PRIVATE KEY-----")
    assert Path(told["key"]).stat().st_mode & 0o777 == 0o600
    assert asked[1][2]["csr"].startswith("-----BEGIN CERTIFICATE REQUEST-----")


def test_a_device_name_is_checked_before_anything_is_sent(cloud, tmp_path):
    done = fieldloom("device", "new", "Pump 7", "--data", tmp_path)

    assert done.returncode == 2
    assert done.stderr.startswith("fieldloom: device: may hold only")
    assert cloud[1] == []


@pytest.mark.parametrize(("status", "code"), [(404, 3), (403, 4), (401, 4), (422, 1)])
def test_the_exit_code_tells_what_the_cloud_said(cloud, tmp_path, status, code):
    cloud[0]["GET /api/v1/commands/c1"] = (status, {"title": "No", "errors": [{"path": "id", "reason": "unknown"}]})

    done = fieldloom("command", "show", "c1", "--data", tmp_path)

    assert done.returncode == code
    assert f"fieldloom: No; id: unknown ({status})" in done.stderr


def test_waiting_for_a_command_ends_with_its_result(cloud, tmp_path):
    command = {"id": "c1", "device": "board-1", "type": "read", "status": "pending", "result": None, "error": None}
    cloud[0]["POST /api/v1/devices/board-1/commands"] = (202, command)
    cloud[0]["GET /api/v1/commands/c1"] = (200, {**command, "status": "failed", "error": "no such driver"})

    done = fieldloom("command", "send", "board-1", "read", "--wait", "5", "--data", tmp_path, "--json")

    assert done.returncode == 1
    assert json.loads(done.stdout)["error"] == "no such driver"


def test_parameters_have_to_be_an_object(cloud, tmp_path):
    done = fieldloom("command", "send", "board-1", "write", "--parameters", "[1]", "--data", tmp_path)

    assert done.returncode == 1
    assert "must be a JSON object" in done.stderr
    assert cloud[1] == []


def test_telemetry_is_shown_as_a_table(cloud, tmp_path):
    series = [
        {
            "device": "board-1",
            "metric": "temperature",
            "tags": {"area": "north"},
            "points": [["2026-01-01T00:00:00.000Z", 21.5]],
        }
    ]
    cloud[0]["GET /api/v1/telemetry"] = (200, {"series": series})
    cloud[0]["GET /api/v1/completeness"] = (200, {"device": "board-1", "status": "complete", "reasons": []})

    done = fieldloom("telemetry", "query", "--device", "board-1", "--window", "1m", "--data", tmp_path)

    assert "area:north" in done.stdout
    assert "21.5" in done.stdout
    assert done.stderr == "board-1: complete\n"
    points, verdict = (parse_qs(urlsplit(path).query) for _, path, _, _ in cloud[1])
    assert (points["device"], points["window"]) == (["board-1"], ["1m"])
    assert (points["start"], points["end"]) == (verdict["start"], verdict["end"]), "the mark is of another range"


def test_what_is_exported_carries_the_mark_of_each_device(cloud, tmp_path):
    """(T8)"""
    point = ["2026-01-01T00:00:00.000Z", 21.5]
    tags = {"area": "north"}
    series = [{"device": device, "metric": "t", "tags": tags, "points": [point]} for device in ("board-1", "board-2")]
    cloud[0]["GET /api/v1/telemetry"] = (200, {"series": series})
    reasons = ["what is missing may still come"]
    cloud[0]["GET /api/v1/completeness"] = (200, {"device": "board-1", "status": "open", "reasons": reasons})
    asked = ("telemetry", "query", "--device", "board-1", "--end", "2026-01-02T00:00:00Z", "--data", tmp_path)

    as_csv = fieldloom(*asked, "--device", "board-2", "--limit", "1", "--csv")
    as_json = fieldloom(*asked, "--json")
    cloud[0]["GET /api/v1/completeness"] = (404, {"title": "Not found"})
    gone = fieldloom(*asked, "--json")
    both = fieldloom(*asked, "--json", "--csv")

    assert as_csv.stdout.splitlines()[:2] == [
        "device,metric,tags,time,value,completeness",
        "board-1,t,area:north,2026-01-01T00:00:00.000Z,21.5,open",
    ]
    assert "board-1: open; what is missing may still come" in as_csv.stderr
    assert "only the newest 1 points" in as_csv.stderr
    told = json.loads(as_json.stdout)
    assert ([one["status"] for one in told["completeness"]], told["limited"]) == (["open"], False)
    assert json.loads(gone.stdout)["completeness"][0]["reasons"] == ["the device is not registered"]
    assert (both.returncode, "exclude each other" in both.stderr) == (1, True)


def test_retention_keeps_what_is_not_named_and_tells_the_operator_what_to_do(cloud, tmp_path):
    cloud[0]["GET /api/v1/timeseries/retention"] = (200, {"raw": None, "rolled": "730d", "note": None})
    cloud[0]["PUT /api/v1/timeseries/retention"] = (200, {"raw": "30d", "rolled": "730d", "note": "start it anew"})

    done = fieldloom("series", "retention", "--raw", "30d", "--data", tmp_path)

    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()][1:3] == [["raw", "30d"], ["rolled", "730d"]]
    assert "start it anew" in done.stdout
    assert cloud[1][1][2] == {"raw": "30d", "rolled": "730d"}


def test_a_new_token_is_printed_alone_so_that_a_script_can_keep_it(cloud, tmp_path):
    cloud[0]["POST /api/v1/tokens"] = (201, {"id": "t1", "name": "dashboard", "role": "viewer", "token": "fl_secret"})

    done = fieldloom("token", "create", "dashboard", "--data", tmp_path)

    assert done.stdout == "fl_secret\n"
    assert cloud[1][0][2] == {"name": "dashboard", "role": "viewer"}


def test_waiting_for_an_update_tells_its_way_and_ends_with_the_devices_reason(cloud, tmp_path):
    answers, asked = cloud
    command = {"id": "c1", "device": "board-1", "type": "update", "status": "pending", "result": None, "error": None}
    event = {"type": "update.started", "ts": "2026-11-26T10:00:00.000Z", "data": {"release": "esp32-generic-1.4.0"}}
    old, new = event | {"id": 7, "type": "update.failed"}, event | {"id": 8}
    pages = iter([[old], [new, old]])
    listed = type("Pages", (), {"__iter__": lambda self: iter((200, {"items": next(pages), "next": None}))})
    answers["GET /api/v1/events"] = listed()
    answers["POST /api/v1/devices/board-1/commands"] = (202, command)
    answers["GET /api/v1/commands/c1"] = (200, {**command, "status": "failed", "error": "wrong signature"})

    done = fieldloom(
        *("device", "update", "board-1", "--release", "esp32-generic-1.4.0", "--wait", "--data", tmp_path, "--json")
    )

    assert done.returncode == 1
    assert json.loads(done.stdout)["error"] == "wrong signature"
    assert "update.started release=esp32-generic-1.4.0\n" in done.stderr
    assert "update.failed" not in done.stderr, "that was of an earlier update"
    sent = asked[1][2]
    assert (sent["type"], sent["parameters"]) == ("update", {"release": "esp32-generic-1.4.0"})


def test_a_folder_that_holds_no_release_is_told_how_to_make_one(cloud, tmp_path):
    (tmp_path / "out").mkdir()

    done = fieldloom("release", "upload", tmp_path / "out", "--data", tmp_path)

    assert done.returncode == 1
    assert "fieldloom device build" in done.stderr
    assert cloud[1] == []


TWIN = {"device": "pump-7", "version": 4, "desired": {"interval": 500, "led": 99}, "reported_version": 4}
TWIN |= {"reported": {"interval": 500}, "errors": {"led": "must be from 0 to 48"}, "reported_at": None}
TWIN |= {"delta": {"led": 99}, "pending": []}


def test_a_twin_is_shown_with_what_lies_between(cloud, tmp_path):
    answers, _ = cloud
    answers["GET /api/v1/devices/pump-7/twin"] = (200, TWIN)

    done = fieldloom("device", "twin", "pump-7", "--data", tmp_path)

    assert done.returncode == 0
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["desired", "version", "4", '{"interval":', "500,", '"led":', "99}"] in lines
    assert ["delta", "-", '{"led":', "99}"] in lines
    assert ["refused", "led", "must", "be", "from", "0", "to", "48"] in lines


def test_what_is_wanted_is_sent_as_a_merge_patch_and_waited_for(cloud, tmp_path):
    answers, asked = cloud
    path = "/api/v1/devices/pump-7/twin"
    pending = {"id": "p", "desired": {}, "created": ""}
    answers[f"PATCH {path}"] = (202, TWIN | {"reported_version": 3, "pending": [pending]})
    answers[f"GET {path}"] = (200, TWIN | {"delta": {}})
    wanted = ("interval=500", "led=null", "drivers.fan.mode=auto", "drivers.a=[1]")
    settings = [word for one in wanted for word in ("--set", one)]

    done = fieldloom("device", "twin", "pump-7", *settings, "--wait", 10, "--data", tmp_path, "--json")
    answers[f"GET {path}"] = (200, TWIN)
    refused = fieldloom("device", "twin", "pump-7", "--set", "led=99", "--wait", 10, "--data", tmp_path)

    assert (done.returncode, json.loads(done.stdout)["pending"]) == (0, [])
    wanted = {"interval": 500, "led": None, "drivers": {"fan": {"mode": "auto"}, "a": [1]}}
    assert asked[0][:3] == ("PATCH", path, {"desired": wanted})
    assert refused.returncode == 1


@pytest.mark.parametrize("setting", ["interval", "=5", "a.=5", "a..b=1"])
def test_what_is_no_setting_is_refused_with_an_example(cloud, tmp_path, setting):
    done = fieldloom("device", "twin", "pump-7", "--set", setting, "--data", tmp_path)

    assert done.returncode == 1
    assert "--set interval=500" in done.stderr


def test_dead_letters_are_listed_page_by_page(cloud, tmp_path):
    answers, asked = cloud
    letter = {"id": 7, "ts": "2026-11-26T18:00:00.000Z", "gateway": "gw.a", "device": "dev-1", "reason": "no JSON"}
    answers["GET /api/v1/dead-letters"] = (200, {"items": [{**letter, "record": {}}], "next": ">7"})

    done = fieldloom("dead-letters", "list", "--device", "dev-1", "--limit", 1, FIELDLOOM_DATA=str(tmp_path))

    assert asked[0][1] == "/api/v1/dead-letters?device=dev-1&limit=1"
    assert "no JSON" in done.stdout
    assert done.stdout.endswith("more: --cursor >7\n")


def test_a_command_to_a_group_tells_of_each_device(cloud, tmp_path):
    answers, asked = cloud
    sent = {"id": "c1", "device": "a", "type": "read", "status": "succeeded", "result": {"x": 1}, "error": None}
    faults = [{"path": "parameters.x", "reason": "is missing"}]
    items = [{"device": "a", "command": sent, "errors": []}, {"device": "b", "command": None, "errors": faults}]
    answers["POST /api/v1/groups/pumps/commands"] = (202, {"group": "pumps", "items": items})

    done = fieldloom("command", "send", "--group", "pumps", "read", "--data", tmp_path)
    wrong = fieldloom("command", "send", "--group", "pumps", "a", "read", "--data", tmp_path)

    assert (done.returncode, asked[0][2]) == (1, {"type": "read", "parameters": {}}), done.stderr
    assert [line.split()[:3] for line in done.stdout.splitlines()[1:]] == [
        ["a", "c1", "succeeded"],
        ["b", "-", "refused"],
    ]
    assert "parameters.x: is missing" in done.stdout
    assert (wrong.returncode, "or --group GROUP and TYPE" in wrong.stderr) == (1, True)


def test_a_patch_and_an_update_of_a_group_tell_of_each_device(cloud, tmp_path):
    answers, asked = cloud
    faults = [{"path": "desired.led", "reason": "is no number"}]
    twins = [{"device": "a", "twin": {"version": 3, "pending": [{}]}, "errors": []}]
    twins.append({"device": "b", "twin": None, "errors": faults})
    answers["PATCH /api/v1/groups/pumps/twin"] = (202, {"group": "pumps", "items": twins})
    sent = {"id": "c1", "device": "a", "type": "update", "status": "pending", "result": None, "error": None}
    commands = [{"device": "a", "command": sent, "errors": []}]
    answers["POST /api/v1/groups/pumps/commands"] = (202, {"group": "pumps", "items": commands})

    twin = fieldloom("group", "twin", "pumps", "--set", "led=on", "--data", tmp_path)
    update = fieldloom("group", "update", "pumps", "--release", "esp32-1.4.0", "--data", tmp_path)

    assert (twin.returncode, asked[0][2]) == (1, {"desired": {"led": "on"}}), twin.stderr
    assert [line.split()[:3] for line in twin.stdout.splitlines()[1:]] == [["a", "3", "1"], ["b", "-", "-"]]
    assert "desired.led: is no number" in twin.stdout
    assert (update.returncode, asked[1][2]["parameters"]) == (0, {"release": "esp32-1.4.0"}), update.stderr
    assert update.stdout.splitlines()[1].split()[:3] == ["a", "c1", "pending"]


def test_a_group_is_made_of_a_filter(cloud, tmp_path):
    answers, asked = cloud
    made = dict.fromkeys(("name", "query", "version", "created", "updated"), "x")
    answers["POST /api/v1/groups"] = (201, {"id": "pumps", **made})

    where = ("--where", "type=pump", "--where", "tag=floor:2", "--where", "tag=a:b=c")
    done = fieldloom("group", "create", "pumps", *where, "--data", tmp_path)

    assert done.returncode == 0, done.stderr
    assert asked[0][2] == {"id": "pumps", "query": {"type": "pump", "tag": ["floor:2", "a:b=c"]}}


def test_alarms_are_listed_acknowledged_and_muted(cloud, tmp_path):
    answers, asked = cloud
    alarm = {"id": 17, "device": "pump-7", "name": "overheat", "severity": "major", "state": "active", "count": 2}
    alarm |= {"raised_at": "2026-11-26T10:00:00.000Z", "message": "81 degrees"}
    change = {"at": "2026-11-26T10:01:00.000Z", "what": "acknowledged", "by": "token-1", "note": "on my way"}
    mute = {"id": 3, "site": "barn", "device": None, "group": None, "reason": "painting"}
    mute |= {"starts": "2026-11-26T10:00:00.000Z", "ends": "2026-11-26T12:00:00.000Z"}
    answers["GET /api/v1/alarms"] = (200, {"items": [alarm], "next": None})
    answers["GET /api/v1/alarms/17"] = (200, {**alarm, "history": [change]})
    answers["POST /api/v1/alarms/17/acknowledge"] = (200, {**alarm, "state": "acknowledged"})
    answers["POST /api/v1/mutes"] = (201, mute)
    answers["GET /api/v1/mutes"] = (200, {"items": [mute], "next": None})

    def alarms(*arguments):
        done = fieldloom("alarm", *arguments, "--data", tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "overheat" in alarms("list", "--site", "barn")
    assert asked[-1][1].endswith("?site=barn&state=active&state=acknowledged")
    assert "on my way" in alarms("show", 17)
    assert "overheat of pump-7: major, acknowledged" in alarms("acknowledge", 17, "--note", "on my way")
    assert asked[-1][2] == {"note": "on my way"}
    assert "Mute 3 holds" in alarms("mute", "--site", "barn", "--for", "2h", "--reason", "painting")
    told = asked[-1][2]
    assert (told["site"], told["reason"]) == ("barn", "painting")
    assert datetime.fromisoformat(told["ends"]) - datetime.fromisoformat(told["starts"]) == timedelta(hours=2)
    assert "site barn" in alarms("mutes")
    wrong = fieldloom("alarm", "mute", "--site", "barn", "--for", "ever", "--reason", "x", "--data", tmp_path)
    assert (wrong.returncode, "write it as 30m, 1h or 7d" in wrong.stderr) == (1, True)
