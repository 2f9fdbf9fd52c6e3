"""`fieldloom rule` without a server, and what it shows of a backtest; the answers come over real HTTP on loopback.

E2: every fault with its place. E6: cases, and a backtest as a picture. E10: why a rule fires.
"""

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldloom_cli import definition_file, rule
from fieldloom_cli.chart import Mark, chart
from fieldloom_cli.errors import CommandFailed

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "rules").glob("*.yaml"))
OVERHEAT = next(path for path in EXAMPLES if path.stem == "overheat")
FAULTY = """\
id: Overheat
when:
  and:
    - event_type: device.telemetry
    - property_range: {property: t, min: 5, max: 1}
do: [{shout: {}}]
"""
WRONG = """\
id: hot
when: {property_range: {property: t, min: 80}}
do: [{log: {message: hot}}]
cases:
  - name: warm is not hot
    events: [{at: 1s, data: {t: 81}}]
    fires: []
"""


def run(*arguments, **kept):
    return CliRunner().invoke(rule.app, [*map(str, arguments)], **{"env": {"COLUMNS": "200"}, **kept})


def failure(done):
    """Return why a command failed."""
    assert isinstance(done.exception, CommandFailed)
    return str(done.exception)


def written(folder, text, name="rule.yaml"):
    (folder / name).write_text(text)
    return folder / name


# ---- files


def test_the_examples_are_rules_that_bear_their_names_and_pass_their_cases():
    done = run("test", "--json", *EXAMPLES)

    told = json.loads(done.stdout)
    assert (done.exit_code, told["failed"]) == (0, 0)
    assert [one["rule"] for one in told["items"]] == [path.stem for path in EXAMPLES]
    assert all(one["cases"] for one in told["items"])
    assert run("validate", *EXAMPLES).exit_code == 0


def test_each_fault_is_told_with_its_line_and_path(tmp_path):
    file = written(tmp_path, FAULTY)

    done = run("validate", file, OVERHEAT)
    told = json.loads(run("validate", "--json", file).stdout)

    assert done.exit_code == 1
    assert f"{file}:1: id: " in done.stderr
    assert f"{file}:5: when.and[1].property_range: min is above max" in done.stderr
    assert f"{file}:6: do[0].shout: is not known here" in done.stderr
    assert "overheat 1.0.0 is a rule" in done.stdout
    assert {fault["line"] for fault in told["items"][0]["faults"]} == {1, 5, 6}


@pytest.mark.parametrize(("text", "why"), [("a: [", "line 1"), ("- 1\n", "the file"), ("", "the file")])
def test_what_is_no_rule_at_all_is_one_fault(tmp_path, text, why):
    done = run("validate", written(tmp_path, text))

    assert done.exit_code == 1
    assert why in done.stderr


def test_a_case_that_fails_says_why(tmp_path):
    done = run("test", written(tmp_path, WRONG))

    assert done.exit_code == 1
    assert "fires at 1s, which is not expected" in done.stdout
    assert "0 passed, 1 failed" in done.stdout


def test_an_explanation_has_each_part_with_its_values(tmp_path):
    event = written(tmp_path, '{"temperature": 81}', "event.json")

    found = json.loads(run("explain", OVERHEAT, "--event", event, "--json").stdout)
    shown = run("explain", OVERHEAT, "--event", "-", input='{"temperature": 20}').stdout

    assert (found["fires"], found["condition"]["kind"]) == (True, "and")
    assert [part["holds"] for part in found["condition"]["parts"]] == [True, True]
    assert "overheat 1.0.0 does not fire: it does not hold" in shown
    assert 'property_range {"property": "temperature", "min": 80.0}' in shown
    assert "temperature = 20" in shown


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ("[1]", "must hold an object"),
        ("{", "can't be read as JSON"),
        ('{"ts": "today"}', "event.ts"),
        ('{"data": 1}', "event.data"),
        ('{"source": "a", "time": 1}', "event.time: is not known here"),
    ],
)
def test_an_event_that_is_none_says_why(event, why):
    done = run("explain", OVERHEAT, "--event", "-", input=event)

    assert done.exit_code == 1
    assert why in f"{done.stderr}{done.exception}"


def test_the_schema_is_the_engines():
    assert json.loads(run("schema").stdout)["$schema"].endswith("2020-12/schema")


def test_without_the_engine_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(definition_file, "entry_points", lambda group: ())

    assert "pip install 'fieldloom[rules]'" in failure(run("validate", OVERHEAT))


# ---- a server's answers


@pytest.fixture
def cloud(monkeypatch):
    """A server whose answers a test puts into `answers`, by "METHOD path", and what it was asked."""
    answers, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((f"{self.command} {self.path}", json.loads(body or b"null")))
            told = answers[f"{self.command} {self.path.removeprefix('/api/v1').split('?')[0]}"]
            self.send_response(200)
            self.end_headers()
            self.wfile.write("\n".join(map(json.dumps, told)).encode())

        do_GET = do_POST = do_PUT = answer  # noqa: N815 - the names are http.server's

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    monkeypatch.setenv("FIELDLOOM_API", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("FIELDLOOM_TOKEN", "secret")
    yield answers, asked
    server.shutdown()
    thread.join()
    server.server_close()


def fired(of, hours_ago, value, *, holds=True):
    at = datetime.now(UTC) - timedelta(hours=hours_ago)
    told = {"kind": "firing", "of": of, "version": "1.0.0" if of == "rule" else "1.1.0", "device": "pump-7"}
    return told | {"at": at.isoformat(), "holds": holds, "values": {"temperature": value}, "event": {}, "effects": []}


PROGRESS = {"kind": "progress", "at": "2026-11-26T10:00:00Z", "share": 0.5, "events": 500}
SUMMARY = {"kind": "summary", "events": 1000, "complete": True}


def test_a_backtest_draws_two_versions_with_the_values_that_caused_their_firings(cloud, tmp_path):
    answers, asked = cloud
    summary = {**SUMMARY, "fired": {"rule": 3, "against": 1}, "only": {"rule": 2, "against": 0}}
    both = fired("rule", 40, 96)
    ended = fired("rule", 39, 60, holds=False)
    firings = [fired("rule", 160, 81), both, ended, {**both, "of": "against", "version": "1.1.0"}]
    answers["POST /rules/backtest"] = [*firings[:2], PROGRESS, *firings[2:], summary]
    other = written(tmp_path, OVERHEAT.read_text().replace("1.0.0", "1.1.0"))

    done = run("backtest", OVERHEAT, "--since", "7d", "--against", other, "--device", "pump-7")

    assert done.exit_code == 0, done.exception
    assert "● rule 1.0.0 fires: 3, which the other does not: 2" in done.stdout
    assert "○ against 1.1.0 fires: 1, which the other does not: 0" in done.stdout
    assert "events replayed: 1000" in done.stdout
    picture = [line for line in done.stdout.splitlines() if "│" in line]
    assert [line.split("│")[0].strip() for line in (picture[0], picture[-1])] == ["96", "81"]
    assert picture[0].endswith("◉")  # both, the highest and latest
    assert "●" in picture[-1]
    table = done.stdout.split("VALUES")[1].splitlines()[1:]
    assert [line.split()[0] for line in table] == ["●", "◉", "●"]
    assert "temperature = 60" in table[2]
    (_, body) = asked[0]
    assert (body["since"], body["devices"]) == ("7d", ["pump-7"])
    assert (body["document"]["version"], body["against"]["version"]) == ("1.0.0", "1.1.0")


def test_a_backtest_against_a_deployed_version_asks_for_it(cloud):
    answers, asked = cloud
    document = {"id": "overheat", "version": "0.9.0"}
    answers["GET /rules/overheat"] = [{"document": document}]
    answers["POST /rules/backtest"] = [
        {**SUMMARY, "fired": {"rule": 0, "against": 0}, "only": {"rule": 0, "against": 0}}
    ]

    by_file = run("backtest", OVERHEAT, "--version", "0.9.0", "--json")
    by_id = run("backtest", "overheat", "--version", "0.9.0", "--json")

    assert (by_file.exit_code, by_id.exit_code) == (0, 0)
    assert json.loads(by_id.stdout)["summary"]["events"] == 1000
    assert asked[0][0] == "GET /api/v1/rules/overheat?version=0.9.0"
    assert asked[1][1]["against"] == document
    assert asked[2][1] == {"rule": "overheat", "against_version": "0.9.0", "since": "7d", "devices": []}


def test_a_backtest_that_breaks_off_is_a_failure(cloud):
    answers, _ = cloud
    answers["POST /rules/backtest"] = [PROGRESS]

    assert "ended before it was done" in failure(run("backtest", "overheat"))


def test_nothing_is_deployed_while_a_file_has_a_fault(cloud, tmp_path):
    _, asked = cloud
    file = written(tmp_path, FAULTY)

    why = failure(run("deploy", OVERHEAT, file))

    assert f"{file}:5: when.and[1].property_range: min is above max" in why
    assert asked == []


def test_a_rule_goes_back_to_the_version_before_in_its_mode(cloud):
    answers, asked = cloud
    versions = [{"version": "1.9.0", "created": "2026-02"}, {"version": "1.10.0", "created": "2026-01"}]
    told = {"id": "overheat", "version": "1.9.0", "mode": "shadow", "placement": "edge", "versions": versions}
    answers["GET /rules/overheat"] = [told]
    answers["POST /rules/overheat/activate"] = [{**told, "version": "1.10.0"}]

    done = run("rollback", "overheat")
    answers["GET /rules/overheat"] = [{**told, "version": "1.10.0"}]
    why = failure(run("rollback", "overheat"))

    assert done.stdout == "overheat 1.10.0 is shadow, placement edge.\n"
    assert asked[1][1] == {"mode": "shadow", "version": "1.10.0"}
    assert "first version" in why


# ---- pictures


def test_a_picture_spans_the_whole_time_and_is_empty_without_numbers():
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 8, tzinfo=UTC)

    one = list(chart([Mark("●", start, {"t": 5, "door": "open"})], start, end))

    assert one[1] == "t"
    assert one[-3].endswith("│●")
    assert one[-1].split() == ["2026-01-01T00:00", "2026-01-08T00:00"]
    assert list(chart([Mark("●", start, {"door": True})], start, end)) == []
