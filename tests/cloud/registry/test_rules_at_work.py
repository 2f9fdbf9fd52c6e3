"""Rules at work in the cloud fire as the engine does, over restarts and whatever comes late. (E2, E3, E5, E6, E8)"""

import itertools
import json
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

import pytest
from sqlalchemy import delete, select

from fieldloom_cloud.automation import service
from fieldloom_cloud.automation.models import Rule, RuleCheckpoint, RuleEffect, RuleJournal, RuleState
from fieldloom_cloud.automation.performer import Performer
from fieldloom_cloud.automation.runtime import Runtime
from fieldloom_cloud.guard import Incoming
from fieldloom_cloud.ingest.models import Event as EventRow
from fieldloom_cloud.ingest.service import Records
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.timeseries.store import TimeSeries
from fieldloom_cloud.workers.leases import AllSlots
from fieldloom_engine.rules import TELEMETRY, parse, run
from fieldloom_engine.rules.cases import BEGINNING
from fieldloom_runtime.records import Event, Expired, Result, Telemetry
from fixtures.stories import stories

boots = itertools.count(1)
GATEWAY = "gw.one"
HOUR_MS = 3_600_000


class Interrupted(Exception):  # noqa: N818 - it reads as what happened
    pass


class Fired(NamedTuple):
    rule: str
    device: str
    at: int
    """From the beginning, ms."""
    holds: bool
    late: bool
    amends: str | None
    values: dict
    effects: list


def _effect(told, withheld):
    """Return an effect without the id of what it takes back, which follows from ids of events."""
    parameters = {name: value for name, value in told.parameters.items() if name != "effect"}
    return told.kind, parameters, withheld


def in_order(firings):
    return sorted((list(one) for one in firings), key=json.dumps)


class World:
    """Rules at work over a database, a clock that is set, and what a gateway sends."""

    def __init__(self, served):
        self.served = served
        self.now = BEGINNING
        self.sent = 0
        self.stream = next(boots).to_bytes(16, "big")
        self.series = []
        self.begin()

    def call(self, work, *arguments):
        return self.served.client.portal.call(work, *arguments)

    def begin(self):
        """Begin with what is stored."""
        self.runtime = Runtime(self.served.database, AllSlots(), lambda: self.now, max_journal=3)
        self.records = Records(self.served.database, None, AllSlots(), self.runtime, lambda: None)
        self.performer = Performer(self.served.database, self.runtime, lambda: None, {}, lambda: self.now)

    def fail(self):
        """Let a transaction fail: what memory has is read back."""

        async def failing():
            async with self.runtime.turn():
                raise Interrupted

        with suppress(Interrupted):
            self.call(failing)

    def deploy(self, *rules, mode="active"):
        async def all_of_them(session):
            for rule in rules:
                await service.deploy(session, rule, service.Wish(mode, None, "test"))

        self.served.within(all_of_them)
        self.runtime.refresh()

    def bring(self, *records):
        """Have a gateway send records, one batch."""
        self.sent += len(records)
        sent = Incoming(GATEWAY, self.stream, self.sent - len(records) + 1, 1, [], list(records))
        self.call(self.records.write, [sent])
        for series in self.series:
            series.ingest([sent])

    def until(self, now):
        """Let the clock go on, and what is due by it be done."""
        while (deadline := self.runtime.next_deadline()) is not None and deadline <= now:
            self.now = max(self.now, deadline)
            self.call(self.runtime.elapse)
        self.now = now

    def perform(self):
        self.call(self.performer.work)

    def fired(self):
        """Return what has fired and what was asked for."""

        async def read(session):
            rows = list(
                await session.scalars(
                    select(EventRow).where(EventRow.type == "rule.fired", EventRow.gateway == "").order_by(EventRow.id)
                )
            )
            effects = {row.id: row for row in await session.scalars(select(RuleEffect))}
            return [
                Fired(
                    *(row.data["rule"], row.device, row.ts - BEGINNING),
                    *(row.data[name] for name in ("holds", "late", "amends", "values")),
                    [_effect(effects[one["id"]], one["withheld"]) for one in row.data["effects"]],
                )
                for row in rows
            ]

        return self.served.within(read)

    def alarms(self):
        """Return (type, beginning or end) of what is told of alarms and not taken back, in the order of time."""

        async def read(session):
            rows = await session.scalars(select(EventRow).where(EventRow.type.like("alarm.%")).order_by(EventRow.ts))
            return [(row.type, row.data) for row in rows]

        told = self.served.within(read)
        gone = {data.get("withdrawn") for _, data in told}
        kept = [one for one in told if "withdrawn" not in one[1] and one[1]["effect"] not in gone]
        return [(kind, data.get("raised_at", data.get("cleared_at")) - BEGINNING) for kind, data in kept]


@pytest.fixture
def world(served, api):
    yield World(served)

    async def clean(session):
        for table in (Rule, RuleState, RuleJournal, RuleCheckpoint, RuleEffect):
            await session.execute(delete(table))
        await session.execute(delete(EventRow).where(EventRow.gateway != ""))
        await session.execute(delete(EventRow).where(EventRow.type.like("rule.%") | EventRow.type.like("alarm.%")))

    served.within(clean)


def record_of(boot, seq, told):
    moment = {"device": told.source, "ts": BEGINNING + told.at, "at": BEGINNING + told.at, "boot": boot, "seq": seq}
    if told.type == TELEMETRY:
        return Telemetry(**moment, values=dict(told.data))
    return Event(**moment, type=told.type, data=dict(told.data))


def numbered(case):
    """Return (arrival, record) of a case's events, each numbered as its device would have."""
    boot, counts = next(boots), {}
    in_time = sorted(case.events, key=lambda told: told.at)
    records = []
    for told in in_time:
        counts[told.source] = counts.get(told.source, 0) + 1
        records.append((told, record_of(boot, counts[told.source], told)))
    order = {id(told): place for place, told in enumerate(case.events)}
    records.sort(key=lambda one: (one[0].at if one[0].arrives is None else one[0].arrives, order[id(one[0])]))
    return [(BEGINNING + (told.at if told.arrives is None else told.arrives), record) for told, record in records]


def expected(rules, case):
    """Return how rules fire in a case in the engine alone."""
    return [
        Fired(
            *(one.rule, one.event.source, one.at - BEGINNING, one.holds, one.late, one.amends),
            json.loads(json.dumps(one.cause)),
            [_effect(effect, effect.withheld) for effect in one.effects],
        )
        for one in run(rules, case)
    ]


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("story", stories(), ids=str)
def test_a_story_goes_as_it_does_in_the_engine_though_all_is_read_back_before_each_event(world, story):
    go(world, story)


@pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("story", [story for story in stories() if story.file == "late"], ids=str)
def test_what_is_late_is_put_right_in_postgresql_too(world, story):
    go(world, story)


def go(world, story):
    """Tell a story, and compare how the rules fire with the engine alone."""
    world.deploy(*story.rules)
    for arrival, record in numbered(story.case):
        world.fail()
        world.until(arrival)
        world.bring(record)
    if story.case.until is not None:
        world.until(BEGINNING + story.case.until)

    assert in_order(world.fired()) == in_order(expected(story.rules, story.case))


@pytest.fixture
def device(api):
    name = f"worked-{next(boots)}"
    api.post("/devices", json={"id": name, "site": "default"}).raise_for_status()
    return name


def rule(actions, when=None, **more):
    hot = {"and": [{"event_type": TELEMETRY}, {"property_range": {"property": "temperature", "min": 80}}]}
    return parse({"id": "hot", "placement": "cloud", "fire": "on_change", "when": when or hot, "do": actions, **more})


def reading(device, seq, at_ms, temperature, boot=1):
    ts = BEGINNING + at_ms
    values = {"temperature": temperature}
    return Telemetry(device=device, ts=ts, at=ts, boot=boot, seq=seq, values=values)


def told(device, seq, at_ms, kind, boot=1):
    ts = BEGINNING + at_ms
    return Event(device=device, ts=ts, at=ts, boot=boot, seq=seq, type=kind, data={})


RAISE, COOL = {"raise_alarm": {"alarm": "hot"}}, {"command": {"type": "cooling", "parameters": {"mode": "max"}}}
CLEAR = {"clear_alarm": {"alarm": "hot"}}


def outcomes(api, device):
    items = api.get("/events", params={"device": device, "type": "rule.action", "limit": 500}).json()["items"]
    return [(one["data"]["kind"], one["data"]["status"], one["data"]["error"]) for one in reversed(items)]


def test_effects_are_performed_once_each_and_one_that_fails_stops_no_other(world, api, device):
    latest = {"latest": {"metric": "temperature"}}
    twin = {"set_twin": {"desired": {"led": "{{ data.temperature | int }}"}}}
    lost = {"command": {"device_id": "nobody", "type": "cooling"}}
    mail = {"notification": {"recipient": "ops", "message": "hot"}}
    world.deploy(rule([lost, COOL, twin, latest, {"log": {"message": "hot"}}, mail]))
    world.bring(reading(device, 1, 0, 85.0))
    for _ in range(2):
        world.perform()
        world.call(world.performer.call_out)

    (command,) = api.get(f"/devices/{device}/commands").json()["items"]
    assert (command["type"], command["parameters"], command["status"]) == ("cooling", {"mode": "max"}, "pending")
    assert command["expires"] == "2026-01-01T00:05:00.000Z"
    assert [one["desired"] for one in api.get(f"/devices/{device}/twin").json()["pending"]] == [{"led": 85}]
    assert outcomes(api, device) == [
        ("command", "failed", "there is no device nobody"),
        ("set_twin", "done", None),
        ("latest", "done", None),
        ("log", "done", None),
        ("notification", "failed", "this cloud performs no notification"),
    ]
    (fired,) = api.get("/rules/hot/firings").json()["items"]
    assert (fired["device"], fired["values"], fired["effects"][1]["id"]) == (
        device, {"temperature": 85.0}, command["id"],
    )  # fmt: skip
    (listed,) = api.get("/rules").json()["items"]
    assert listed["last_fired"] == fired["at"]
    assert [one["status"] for one in fired["effects"]] == ["failed", "waiting", "done", "done", "done", "failed"]
    assert api.get("/rules/hot").json()["effects"] == {"done": 3, "failed": 2, "sent": 1}


def result(device, seq, command, status, **told):
    moment = {"device": device, "ts": BEGINNING + seq, "at": BEGINNING + seq, "boot": 1, "seq": seq}
    return Result(**moment, id=command, status=status, **told)


def cooled(api):
    """Return what became of the only command of the rule's last firing."""
    effect = api.get("/rules/hot/firings").json()["items"][0]["effects"][0]
    return effect["status"], effect["result"], effect["error"]


def test_a_command_is_done_when_its_device_has_answered_over_a_restart(world, api, device):
    world.deploy(rule([COOL]))
    world.bring(reading(device, 1, 0, 85.0))
    world.perform()
    (command,) = api.get(f"/devices/{device}/commands").json()["items"]
    world.begin()

    world.bring(result(device, 2, command["id"], "accepted"))
    assert cooled(api) == ("waiting", None, None)
    world.bring(result(device, 3, command["id"], "rejected", error="no fan"))
    world.bring(result(device, 4, command["id"], "succeeded"))

    assert cooled(api) == ("failed", {"status": "rejected", "result": None}, "rejected: no fan")
    assert outcomes(api, device) == [("command", "failed", "rejected: no fan")]


def test_a_command_that_nobody_answers_expires_and_a_late_answer_counts(world, api, device):
    world.deploy(rule([COOL]))
    world.bring(reading(device, 1, 0, 85.0))
    world.perform()
    (command,) = api.get(f"/devices/{device}/commands").json()["items"]

    world.until(BEGINNING + 329_000)
    world.perform()
    assert cooled(api) == ("waiting", None, None)
    world.until(BEGINNING + 330_000)
    world.perform()
    assert cooled(api)[2] == "expired: the device has not answered in time"
    gone = {"device": device, "ts": world.now, "at": world.now, "id": command["id"]}
    world.bring(Expired(**gone))
    world.bring(result(device, 2, command["id"], "succeeded", result={"fan": 3}))

    assert cooled(api) == ("done", {"status": "succeeded", "result": {"fan": 3}}, None)
    assert [status for _, status, _ in outcomes(api, device)] == ["failed", "done"]


def test_what_is_over_is_forgotten_after_its_days_and_what_waits_is_kept(world, api, device):
    mail = {"notification": {"recipient": "ops", "message": "hot"}}
    world.deploy(rule([RAISE, mail]))
    world.bring(reading(device, 1, 0, 85.0))
    world.perform()

    world.now += 89 * 24 * HOUR_MS
    world.call(world.performer.forget)
    assert api.get("/rules/hot").json()["effects"] == {"done": 1, "waiting": 1}
    world.now += 2 * 24 * HOUR_MS
    world.call(world.performer.forget)

    assert api.get("/rules/hot").json()["effects"] == {"waiting": 1}
    assert api.get("/rules/hot/firings").json()["items"] == []
    assert outcomes(api, device) == []


def test_nobody_is_notified_about_a_device_that_is_muted(world, api, device):
    """(E7)"""
    mute = api.post("/mutes", json={"device": device, "ends": "2099-01-01T00:00:00Z", "reason": "painting"}).json()
    world.deploy(rule([RAISE, {"notification": {"recipient": "ops", "message": "hot"}}]))
    world.bring(reading(device, 1, 0, 85.0))
    world.perform()
    world.call(world.performer.call_out)

    assert outcomes(api, device) == [
        ("raise_alarm", "done", None),
        ("notification", "withheld", "the device is muted"),
    ]
    assert len(world.alarms()) == 1
    api.delete(f"/mutes/{mute['id']}")


def test_a_sequence_goes_on_over_a_restart_in_its_middle(world, device):
    world.deploy(rule([RAISE], {"sequence": {"steps": ["door.opened", "motion"], "within": "1m"}}, fire="every"))
    world.bring(told(device, 1, 0, "door.opened"))
    world.begin()
    world.bring(told(device, 2, 1000, "motion"))
    world.begin()
    world.bring(told(device, 3, 2000, "motion"))
    world.perform()

    assert [(one.device, one.at) for one in world.fired()] == [(device, 1000), (device, 2000)]
    assert len(world.alarms()) == 2


LANES = {"in order": ([0, 1], 1), "the newer first": ([1, 0], 1), "one by one": ([0, 1], 100)}


@pytest.mark.parametrize("order", LANES)
def test_three_hours_of_outage_end_in_the_same_alarms_and_no_command_is_late(world, api, device, order):
    world.deploy(rule([RAISE, COOL], otherwise=[CLEAR]))
    minutes = [20, 85, 90, 70, 60, 82, 50, 40]  # hot at 10 and at 50 minutes, and over at 30 and at 60
    old = [reading(device, 2 + at, at * 600_000, float(value)) for at, value in enumerate(minutes)]
    new = [reading(device, 10, 3 * HOUR_MS, 45.0), reading(device, 11, 3 * HOUR_MS + 1000, 95.0)]
    world.bring(reading(device, 1, -60_000, 20.0))
    world.until(BEGINNING + 3 * HOUR_MS + 2000)
    lanes, pieces = LANES[order]
    for lane in lanes:
        records = (old, new)[lane]
        size = max(1, len(records) // pieces)
        for start in range(0, len(records), size):
            world.bring(*records[start : start + size])
    world.until(world.now + 60_000)
    world.perform()

    amended = [("alarm.amended", minute * 60_000) for minute in (10, 30, 50, 60)]
    assert world.alarms() == [*amended, ("alarm.raised", 3 * HOUR_MS + 1000)]
    (command,) = api.get(f"/devices/{device}/commands").json()["items"]
    assert command["type"] == "cooling"
    withheld = {one["withheld"] for item in api.get("/rules/hot/firings").json()["items"] for one in item["effects"]}
    assert any(reason and "late" in reason for reason in withheld)


def test_a_rule_of_both_acts_here_only_where_its_gateway_does_not(world, device):
    world.deploy(rule([RAISE], placement="both"))
    world.served.within(lambda session: registry.add_gateway(session, GATEWAY, "default"))
    world.call(world.performer.tell_gateways)
    world.bring(reading(device, 1, 0, 85.0))
    applied = {"rule": "hot", "version": "1.0.0", "mode": "active"}
    word = Event(device=GATEWAY, ts=BEGINNING, at=BEGINNING, type="rule.applied", data=applied)
    world.bring(word, reading(device, 2, 1000, 20.0), reading(device, 3, 2000, 85.0))
    world.begin()
    world.bring(reading(device, 4, 3000, 20.0), reading(device, 5, 4000, 85.0))

    assert [one.at for one in world.fired()] == [0]


def test_a_rule_for_a_group_judges_whoever_is_in_it_at_the_time(world, api, device):
    group = f"group-of-{device}"
    api.post("/groups", json={"id": group}).raise_for_status()
    world.deploy(rule([RAISE], devices={"group": group}))
    world.bring(reading(device, 1, 0, 85.0))
    api.put(f"/groups/{group}/devices/{device}").raise_for_status()
    world.bring(reading(device, 2, 1000, 20.0), reading(device, 3, 2000, 85.0))

    assert [one.at for one in world.fired()] == [2000]


def test_what_is_in_shadow_does_nothing_and_begins_anew_when_it_is_active(world, device):
    world.deploy(rule([RAISE]), mode="shadow")
    world.bring(reading(device, 1, 0, 85.0))
    world.deploy(rule([RAISE]))
    world.bring(reading(device, 2, 1000, 86.0))
    world.perform()

    assert [(one.at, one.effects[0][2]) for one in world.fired()] == [(0, "the rule is in shadow"), (1000, None)]
    assert world.alarms() == [("alarm.raised", 1000)]


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    series = TimeSeries(tmp_path_factory.mktemp("series"))
    yield series
    series.close()


def backtest(api, **asked):
    answer = api.post("/rules/backtest", json=asked)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_backtest_fires_as_the_rule_did(world, api, device, series):
    world.served.app.state.series = series
    world.series.append(series)
    tried = rule([RAISE, COOL], otherwise=[CLEAR], lateness=0)
    silent = rule([RAISE], {"absent_for": {"event": "heartbeat", "for": "10s"}}, id="silent", lateness=0)
    world.deploy(tried, silent)
    heat = [reading(device, 1 + at, at * 1000, float(70 + at * 7 % 20)) for at in range(20)]
    world.bring(told(device, 100, 500, "heartbeat"))
    for record in heat:
        world.until(record.ts)
        world.bring(record)
    world.until(BEGINNING + 60_000)

    span = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:01:00Z", "devices": [device]}
    for one in (tried, silent):
        *lines, summary = backtest(api, rule=one.id, **span)
        firings = [line for line in lines if line["kind"] == "firing"]
        live = [(fired.at, fired.holds, fired.values) for fired in world.fired() if fired.rule == one.id]
        tried_out = [(since_beginning(line["at"]), line["holds"], line["values"]) for line in firings]
        assert sorted(tried_out, key=str) == sorted(live, key=str)
        assert live
        assert (summary["kind"], summary["events"], summary["fired"]["rule"]) == ("summary", 21, len(live))
    cooler = {**tried.document, "when": {"property_range": {"property": "temperature", "min": 88}}}
    *_, summary = backtest(api, rule="hot", against=cooler, **span)
    assert summary["fired"]["rule"] > summary["fired"]["against"] > 0
    assert summary["only"]["rule"] > 0
    assert summary["complete"]


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ({}, "rule"),
        ({"rule": "a", "document": {}}, "rule"),
        ({"document": {"id": "a"}}, "document.when"),
        ({"rule": "hot", "since": "7d", "start": "2026-01-01T00:00:00Z"}, "since"),
        ({"rule": "hot", "since": "367d"}, "since"),
        ({"rule": "hot", "start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, "start"),
    ],
)
def test_a_backtest_that_makes_no_sense_is_refused(api, asked, path):
    answer = api.post("/rules/backtest", json=asked)

    assert path in [one["path"] for one in answer.json()["errors"]]


def since_beginning(moment):
    return round(datetime.fromisoformat(moment).timestamp() * 1000) - BEGINNING
