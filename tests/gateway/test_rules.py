"""Rules in the gateway's store: the corpus's firings, over any kill, and what follows. (E1 to E5, E8, E10)"""

import itertools
import json
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldloom_contract import messages, topics
from fieldloom_engine.rules import TELEMETRY, WITHDRAW, run
from fieldloom_engine.rules import Event as Judged
from fieldloom_engine.rules.cases import BEGINNING
from fieldloom_gateway.automation import effects, firings, folder
from fieldloom_gateway.automation.effects import Again
from fieldloom_gateway.automation.performing import Performer, Publishing
from fieldloom_gateway.automation.service import Automation
from fieldloom_gateway.ingest.database import FILE, open_database
from fieldloom_gateway.ingest.store import Arrival, Store
from fieldloom_runtime.down import Rule, Rules, TwinPatch
from fieldloom_runtime.outgoing import NotPerformed
from fieldloom_runtime.records import Event, decode
from fixtures.stories import stories
from gateway.site_map import OwnMap, decide

GATEWAY = "gw.test"
NOW = 1_790_000_040_000
STREAM = b"s" * 16
numbers = itertools.count()

HOT = {"and": [{"event_type": TELEMETRY}, {"property_range": {"property": "t", "min": 80}}]}
COOL = {"command": {"type": "cooling", "parameters": {"from": "{{ data.t }}"}}}


def rule(name="overheat", when=HOT, **others):
    return {"id": name, "when": when, "do": [COOL], **others}


class Gateway:
    """A gateway's store with its rules on a disk; it can be killed and started again. `now` is its clock."""

    def __init__(self, disk, *documents, entries=20_000, folder=None):
        self.folder = folder or disk / str(next(numbers))
        self.folder.mkdir(exist_ok=True)
        self.entries = entries
        self.now = NOW
        self.told = 0
        self.start()
        self.deploy(*documents)

    def start(self):
        self.db = open_database(self.folder)
        self.store = Store(self.db, 10**7)
        self.rules = Automation(self.db, self.store, GATEWAY, entries=self.entries)
        self.rules.start(self.now)
        self.store.attend(self.rules)
        return self

    def kill(self):
        """End as `kill -9` would: what is not committed is gone."""
        self.db.close()
        return self.start()

    def hear(self, *records):
        """Take what the cloud sends down."""
        self.told += len(records)
        return self.store.down.take(STREAM, self.told, list(records), self.now)

    def deploy(self, *documents, mode="active", devices=None):
        told = [Rule(one["id"], one.get("version", "1.0.0"), one, mode, devices) for one in documents]
        self.hear(*told)

    def take(self, *records, device="dev-1", verb="telemetry"):
        payload = messages.dumps([{"boot": 7, **record} for record in records])
        return self.store.take([Arrival(device, verb, payload, topics.device(device, verb))], self.now)

    def pass_time(self, until):
        """Have the clock go on to a time, and all be done that is due on the way."""
        while (deadline := self.rules.next_deadline) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            self.rules.look_at_the_clock(self.now)
        self.now = until

    @property
    def sent(self):
        rows = self.db.execute("SELECT body FROM outbox ORDER BY last").fetchall()
        return [decode(line) for (body,) in rows for line in body.split(b"\n")]

    def events(self, *types):
        return [one for one in self.sent if isinstance(one, Event) and one.type in types]

    @property
    def firings(self):
        return [json.loads(body) for (body,) in self.db.execute("SELECT body FROM firing ORDER BY number")]

    @property
    def effects(self):
        query = "SELECT id, rule, kind, parameters, status, error FROM effect ORDER BY number"
        return self.db.execute(query).fetchall()

    @property
    def alarms(self):
        return [(one["device"], one["alarm"], one["raised_at"] - NOW) for one in self.rules.alarms.all()]


def reading(seq, at_s, **values):
    return {"seq": seq, "ts": NOW + at_s * 1000, "values": values}


@pytest.fixture
def gateway(disk):
    gateway = Gateway(disk)
    yield gateway
    gateway.db.close()


# --- the same firings as everywhere else ------------------------------------------------------------------------------


@pytest.mark.parametrize("story", stories(), ids=str)
def test_the_corpus_fires_at_the_gateway_as_it_does_everywhere(disk, story):
    expected = run(story.rules, story.case)
    gateway = Gateway(disk, *(dict(one.document) for one in story.rules))
    sources = {}
    for number in sorted(range(len(story.case.events)), key=lambda number: story.case.events[number].at):
        told = story.case.events[number]
        sources.setdefault(told.source, []).append(number)

    for number, told in sorted(enumerate(story.case.events), key=lambda one: (arrival(one[1]), one[0])):
        gateway.pass_time(BEGINNING + arrival(told))
        record = {"seq": sources[told.source].index(number) + 1, "ts": BEGINNING + told.at}
        if told.type == TELEMETRY:
            gateway.take({**record, "values": told.data}, device=told.source)
        else:
            gateway.take({**record, "type": told.type, "data": told.data}, device=told.source, verb="event")
    if story.case.until is not None:
        gateway.pass_time(BEGINNING + story.case.until)

    assert counted(map(shown, gateway.firings)) == counted(shown_firing(one) for one in expected)
    done = [(name, kind, json.loads(parameters)) for _, name, kind, parameters, *_ in gateway.effects]
    asked = [(one.rule, it.kind, it.parameters) for one in expected for it in one.effects if it.withheld is None]
    assert counted(map(without_id, done)) == counted(map(without_id, asked))
    gateway.db.close()


def arrival(told):
    return told.at if told.arrives is None else told.arrives


def counted(items):
    return Counter(json.dumps(item, sort_keys=True) for item in items)


def without_id(effect):
    name, kind, parameters = effect
    return name, kind, {key: value for key, value in parameters.items() if kind != WITHDRAW or key != "effect"}


def shown(body):
    effects = [(one["kind"], one["withheld"]) for one in body["effects"]]
    named = ("rule", "device", "at", "holds", "late", "values")
    return [*(body[name] for name in named), body.get("amends"), effects]


def shown_firing(one):
    effects = [(effect.kind, effect.withheld) for effect in one.effects]
    return [one.rule, one.event.source, one.at, one.holds, one.late, one.cause, one.amends, effects]


# --- exact over kills and full disks ----------------------------------------------------------------------------------

SEQUENCE = rule(
    "sequence",
    {"sequence": {"steps": [HOT, {"property_range": {"property": "t", "max": 20}}, HOT], "within": "30s"}},
    do=[{"raise_alarm": {"alarm": "swings"}}, {"log": {"message": "{{ data.t }}"}}],
)
SILENT = rule(
    "silent",
    {"absent_for": {"event": TELEMETRY, "for": "10s"}},
    fire="on_change",
    lateness="2s",
    do=[{"raise_alarm": {"alarm": "silent"}}],
    otherwise=[{"clear_alarm": {"alarm": "silent"}}],
)
EDGE = rule("edge", fire="on_change", cooldown="5s", otherwise=[{"set_twin": {"desired": {"led": "{{ data.t }}"}}}])

steps = st.lists(
    st.tuples(
        st.sampled_from(["dev-1", "dev-2"]),
        st.sampled_from([10, 50, 90]),
        st.integers(0, 12),
        st.sampled_from(["", "", "", "kill", "fail", "swap"]),
    ),
    max_size=20,
)


@settings(max_examples=12, deadline=None)
@given(steps=steps, entries=st.sampled_from([1, 4, 20_000]))
def test_kills_and_full_disks_at_any_point_change_nothing(disk, steps, entries):
    spared, harmed = (Gateway(disk, SEQUENCE, SILENT, EDGE, rule(), entries=entries) for _ in range(2))
    for gateway in (spared, harmed):
        late = {}
        numbered = Counter()
        for device, value, pause, fate in steps:
            numbered[device] += 1
            record = reading(numbered[device], (gateway.now - NOW) // 1000 + pause, t=value)
            if fate == "swap" and device not in late:
                late[device] = record  # it comes behind the next one of its device
                continue
            gateway.pass_time(gateway.now + pause * 1000)
            take_over(gateway, record, device, fate if gateway is harmed else "")
            if device in late:
                gateway.take(late.pop(device), device=device)
        gateway.pass_time(gateway.now + 60_000)

    assert harmed.firings == spared.firings
    assert harmed.effects == spared.effects
    assert [one for one in harmed.sent if one.seq is None] == [one for one in spared.sent if one.seq is None]
    assert harmed.alarms == spared.alarms
    for gateway in (spared, harmed):
        gateway.db.close()


def take_over(gateway, record, device, fate):
    """Take a record over what befalls the gateway; the device sends it until it hears that it was taken."""
    if fate == "fail":
        gateway.db.execute("CREATE TRIGGER full BEFORE INSERT ON received BEGIN SELECT RAISE(FAIL, 'full'); END")
        with pytest.raises(sqlite3.Error):
            gateway.take(record, device=device)
        gateway.db.execute("DROP TRIGGER full")
    gateway.take(record, device=device)
    if fate == "kill":
        gateway.kill()
        gateway.take(record, device=device)


def test_a_device_that_numbers_nothing_is_taken_to_send_in_order(gateway):
    gateway.deploy(rule(when={"count_in_window": {"at_least": 2, "within": "10s"}}, do=[{"log": {"message": "two"}}]))

    for at_s in (0, 1):
        record = {"boot": None, "ts": NOW + at_s * 1000, "values": {"t": 1}}
        gateway.take(record)

    assert [one["at"] - NOW for one in gateway.firings] == [1000]


def test_a_new_rule_leaves_what_others_remember_as_it_is(gateway):
    gateway.deploy(rule(fire="on_change"))
    gateway.take(reading(1, 0, t=90))

    gateway.deploy(rule("other"))
    gateway.kill()
    gateway.take(reading(2, 1, t=91))

    assert [one["rule"] for one in gateway.firings] == ["overheat", "other"]


def test_rules_go_to_work_on_a_disk_of_version_5(disk):
    folder = disk / "old"
    folder.mkdir()
    old = sqlite3.connect(folder / FILE)
    old.executescript((Path(__file__).parent / "old" / "version_5.sql").read_text())
    old.close()
    gateway = Gateway(disk, rule(fire="on_change"), folder=folder)

    gateway.take(reading(1, 0, t=90), reading(2, 1, t=91))

    assert [one["event"]["id"] for one in gateway.firings] == ["dev-1/7/2"]
    gateway.db.close()


# --- rules that come and go -------------------------------------------------------------------------------------------


def words(gateway):
    return [(one.type, one.data) for one in gateway.sent if isinstance(one, Event) and one.device == GATEWAY]


def test_a_refused_version_leaves_the_last_good_one_at_work(gateway):
    gateway.deploy(rule(version="1.0.0"))
    gateway.deploy(rule(version="1.1.0", when={"property_range": {"property": "t"}}))
    gateway.deploy(rule("new", engine=99), rule("far", placement="cloud"), rule("flow", do=[{"start_workflow": {}}]))
    gateway.kill()

    gateway.take(reading(1, 0, t=90))

    assert [(one["rule"], one["version"]) for one in gateway.firings] == [("overheat", "1.0.0")]
    applied, *refused = words(gateway)
    assert applied == ("rule.applied", {"rule": "overheat", "version": "1.0.0", "mode": "active"})
    assert [(kind, data["rule"], data["engine"]) for kind, data in refused] == [
        ("rule.refused", "overheat", 1),
        ("rule.refused", "new", 1),
        ("rule.refused", "far", 1),
        ("rule.refused", "flow", 1),
    ]
    assert [data["faults"][0] for _, data in refused[:3]] == [
        {"path": "when.property_range", "reason": "needs min or max"},
        {"path": "engine", "reason": "needs engine 99, and this is engine 1: update it first"},
        {"path": "placement", "reason": "is cloud: this is a gateway"},
    ]
    assert refused[3][1]["faults"][0]["path"] == "do[0].start_workflow.workflow"
    assert gateway.rules.rule("overheat")["refused"]["version"] == "1.1.0"


def test_what_is_not_in_the_set_goes(gateway):
    gateway.deploy(rule("a"), rule("b"))
    gateway.hear(Rules({"b": "1.0.0"}))

    gateway.take(reading(1, 0, t=90))

    assert [one["rule"] for one in gateway.firings] == ["b"]
    assert gateway.rules.rule("a") is None


def test_in_shadow_a_rule_is_recorded_and_does_nothing(gateway):
    gateway.deploy(rule(), mode="shadow")

    taken = gateway.take(reading(1, 0, t=90))

    (told,) = gateway.events("rule.fired")
    assert (told.data["mode"], told.data["effects"][0]["withheld"]) == ("shadow", "the rule is in shadow")
    assert (gateway.effects, taken.answers) == ([], [])
    assert gateway.rules.status()["effects"] == [{"kind": "command", "status": "withheld", "count": 1}]


def test_a_rule_is_for_the_devices_that_the_cloud_lists_or_that_say_so(gateway):
    gateway.deploy(rule("listed", devices={"group": "pumps"}), devices=["dev-1"])
    gateway.deploy(
        rule("typed", devices={"type": "pump", "tags": {"floor": "2"}}), rule("none", devices={"group": "g"})
    )
    assert words(gateway)[-1][1]["faults"][0]["path"] == "devices.group"
    gateway.take(reading(1, 0, t=90))
    gateway.take(reading(1, 0, t=90), device="dev-2")

    told = json.dumps({"request_id": "r", "device": {"type": "pump", "tags": {"floor": "2"}}}).encode()
    gateway.store.take([Arrival("dev-2", topics.DISCOVERY, told, topics.device("dev-2", topics.DISCOVERY))], NOW)
    gateway.take(reading(2, 1, t=90), device="dev-2")

    assert [(one["rule"], one["device"]) for one in gateway.firings] == [("listed", "dev-1"), ("typed", "dev-2")]


def test_a_site_without_a_cloud_has_its_rules_in_a_folder(gateway):
    path = gateway.folder / folder.RULES / "overheat.yaml"
    path.parent.mkdir()
    path.write_text(json.dumps(rule()))
    assert gateway.rules.use_folder(folder.rules_of(gateway.folder)) == {}
    gateway.deploy(rule())  # which is the folder's by now
    path.write_text("id: overheat\nwhen: [")
    (path.parent / "other.yaml").write_text(json.dumps(rule("another")))

    refused = gateway.rules.use_folder(folder.rules_of(gateway.folder))
    gateway.take(reading(1, 0, t=90))

    assert words(gateway)[0][1]["faults"] == [{"path": "id", "reason": "a rule of this id has come from the folder"}]
    assert {name: str(found[0])[:24] for name, found in refused.items()} == {
        "other": "id: is another, not othe",
        "overheat": "the file: line 2: expect",
    }
    assert [one["rule"] for one in gateway.firings] == ["overheat"], "the last good one"
    path.unlink()
    gateway.rules.use_folder(folder.rules_of(gateway.folder))
    assert [one["id"] for one in gateway.rules.rules()] == ["other"]


# --- what follows -----------------------------------------------------------------------------------------------------


def actions(gateway):
    return [(one.data["kind"], one.data["status"], one.data["error"]) for one in gateway.events("rule.action")]


def result(seq, command, status, **told):
    return {"seq": seq, "ts": NOW + seq, "id": command, "status": status, **told}


def test_a_command_is_sent_with_its_effects_id_and_its_answer_is_told(gateway):
    gateway.deploy(rule())

    (message,) = gateway.take(reading(1, 0, t=90)).answers

    told = json.loads(message.payload)
    assert (message.device, message.verb) == ("dev-1", topics.COMMAND)
    assert told == {"id": told["id"], "type": "cooling", "parameters": {"from": 90}, "expires": NOW + 300_000}
    assert told["id"] == gateway.events("rule.fired")[0].data["effects"][0]["id"]
    assert gateway.store.down.commands("dev-1") == [message.payload]
    gateway.take(result(1, told["id"], "succeeded"), device="dev-2", verb="command/result")
    assert actions(gateway) == [], "another device says nothing of it"
    gateway.take(result(2, told["id"], "accepted"), verb="command/result")
    gateway.take(result(3, told["id"], "succeeded", result={"fan": 3}), verb="command/result")
    assert actions(gateway) == [("command", "done", None)]
    assert gateway.rules.rule("overheat")["effects"][0]["result"] == {"status": "succeeded", "result": {"fan": 3}}


def test_a_command_that_is_not_answered_or_refused_has_failed(gateway):
    gateway.deploy(rule())
    for seq in (1, 2):
        gateway.take(reading(seq, seq, t=90))
    second = gateway.effects[1][0]

    gateway.take(result(3, second, "rejected", error="no fan"), verb="command/result")
    gateway.store.down.expire(NOW + 300_000)

    assert actions(gateway) == [
        ("command", "failed", "rejected: no fan"),
        ("command", "failed", "expired: the device has not answered in time"),
    ]
    assert [one["result"]["status"] for one in gateway.rules.rule("overheat")["effects"]] == ["rejected", "expired"]


def test_a_commands_answer_is_waited_for_over_a_kill_and_wins_over_its_expiry(gateway):
    gateway.deploy(rule())
    gateway.take(reading(1, 0, t=90))
    (command,) = (one[0] for one in gateway.effects)

    gateway.kill()
    gateway.store.down.expire(NOW + 300_000)
    gateway.kill()
    gateway.take(result(2, command, "succeeded"), verb="command/result")
    gateway.take(result(3, command, "failed", error="again"), verb="command/result")

    assert [(status, error) for *_, status, error in gateway.effects] == [("done", None)]
    assert [status for _, status, _ in actions(gateway)] == ["failed", "done"]


def test_what_is_over_is_forgotten_after_its_days_and_what_waits_is_kept(gateway):
    gateway.deploy(rule(do=[COOL, {"raise_alarm": {"alarm": "hot"}}, {"log": {"message": "hot"}}]))
    gateway.take(reading(1, 0, t=90))
    day_ms = 86_400_000
    gateway.rules.look_at_the_clock(NOW)

    gateway.rules.look_at_the_clock(NOW + 89 * day_ms)
    assert len(gateway.firings) == 1
    gateway.rules.look_at_the_clock(NOW + 91 * day_ms)

    assert gateway.firings == []
    assert [(kind, status) for _, _, kind, _, status, _ in gateway.effects] == [("command", "sent")]


def test_of_firings_the_newest_are_kept(gateway, monkeypatch):
    monkeypatch.setattr(firings, "KEPT", 4)
    monkeypatch.setattr(firings, "AT_A_TIME", 3)
    gateway.kill()
    gateway.deploy(rule())
    for seq in range(1, 13):
        gateway.take(reading(seq, seq, t=90))

    kept = [one["at"] - NOW for one in gateway.firings]
    newest = gateway.rules.rule("overheat")["firings"]
    assert kept == [seq * 1000 for seq in range(13 - len(kept), 13)]
    assert 4 <= len(kept) < 4 + 3
    assert [one["at"] for one in newest] == [one["at"] for one in reversed(gateway.firings)]


def test_of_what_a_rule_has_asked_for_the_newest_is_shown(gateway, monkeypatch):
    """A rule that has long done nothing has nothing to show, and nobody looks through all that others did for it."""
    monkeypatch.setattr(effects, "KEPT", 3)
    gateway.deploy(rule("once", when={"property_range": {"property": "t", "min": 95}}), rule())
    gateway.take(reading(1, 1, t=99))
    shown = gateway.rules.rule("once")["effects"]
    for seq in range(2, 5):
        gateway.take(reading(seq, seq, t=90))

    assert len(shown) == 1
    assert gateway.rules.rule("once")["effects"] == []
    assert [one["asked"] for one in gateway.rules.rule("overheat")["effects"]] == [NOW] * 3


@pytest.mark.parametrize(
    ("action", "error"),
    [
        ({"command": {"device_id": "Über", "type": "a"}}, "device: "),
        ({"command": {"type": "a", "parameters": "{{ data.text }}"}}, "parameters: "),
        ({"command": {"type": "a", "parameters": {"x": "{{ data.long }}"}}}, "payload: "),
        ({"set_twin": {"desired": "{{ data.text }}"}}, "desired: must be an object"),
        ({"set_twin": {"desired": {"x": "{{ data.long }}"}}}, "no device would take this: "),
        ({"raise_alarm": {"alarm": "{{ data.long }}"}}, "alarm: must be a text of 1 to 64 characters"),
        ({"latest": {"metric": "unheard"}}, "no value of unheard of dev-1 has come"),
    ],
)
def test_an_action_that_can_not_be_done_is_told_and_does_not_stop_the_others(gateway, action, error):
    gateway.deploy(rule(do=[action, {"raise_alarm": {"alarm": "hot"}}]))

    gateway.take(reading(1, 0, t=90, text="fan", long="x" * 5000))

    (failed, done) = actions(gateway)
    assert failed[:2] == (next(iter(action)), "failed")
    assert failed[2].startswith(error)
    assert done == ("raise_alarm", "done", None)
    assert gateway.alarms == [("dev-1", "hot", 0)]


def test_a_twin_is_patched_once_its_device_is_told_and_the_rule_knows_what_came_of_it(gateway):
    gateway.deploy(rule(do=[{"set_twin": {"desired": {"led": "{{ data.t }}"}}}]))
    state = json.dumps({"online": True, "boot": 7, "session": "s", "twin": 0}).encode()
    gateway.store.take([Arrival("dev-1", topics.STATE, state, topics.device("dev-1", topics.STATE))], NOW)
    own = OwnMap()
    gateway.store.twins.share(own)

    gateway.take(reading(1, 0, t=90))
    asked = [status for *_, status, _ in gateway.effects]
    (behind,) = decide(gateway.store, own, NOW)
    gateway.hear(TwinPatch("dev-1", 0, {}, gateway.effects[0][0], {"led": 1}))
    decide(gateway.store, own, NOW)

    assert (behind.device, json.loads(behind.payload)) == ("dev-1", {"version": 1, "values": {"led": 90}})
    assert own.desired("dev-1").values == {"led": 90}, "the id of the effect is known"
    assert asked == ["sent"]
    assert actions(gateway) == [("set_twin", "done", None)]
    assert gateway.rules.rule("overheat")["effects"][0]["result"] == {"version": 1}


def test_a_twin_that_becomes_too_long_fails_the_action_that_made_it_so(gateway):
    gateway.deploy(rule(do=[{"set_twin": {"desired": {"note": "{{ data.note }}"}}}]))
    own = OwnMap()
    gateway.store.twins.share(own)
    gateway.hear(TwinPatch("dev-1", 0, {}, "p-1", {"long": "x" * 3000}))

    gateway.take(reading(1, 0, t=90, note="y" * 2000))
    decide(gateway.store, own, NOW)

    ((kind, status, error),) = actions(gateway)
    assert (kind, status) == ("set_twin", "failed")
    assert error.startswith("no device would take this: payload: has 5")
    assert list(own.desired("dev-1").values) == ["long"]


def test_the_newest_value_of_a_metric_that_a_rule_asks_for_is_known(gateway):
    gateway.deploy(rule(do=[{"latest": {"metric": "h"}}]))
    gateway.take(reading(1, 0, h=40, t=1), reading(2, 1, h=41), reading(3, 2, t=90))

    (told,) = gateway.events("rule.action")
    assert told.data["result"] == {"ts": NOW + 1000, "value": 41}
    assert gateway.db.execute("SELECT metric FROM latest").fetchall() == [("h",)], "no other costs a write"


def test_presence_is_an_event_where_it_changes(gateway):
    changes = ({"event_type": f"device.{kind}"} for kind in ("online", "offline"))
    gateway.deploy(rule("there", {"or": list(changes)}, do=[{"log": {"message": "{{ event.type }}"}}]))

    for online, session in ((True, "s"), (True, "s"), (False, "s"), (True, "t")):
        gateway.now += 1000
        state = json.dumps({"online": online, "boot": 7, "session": session}).encode()
        gateway.store.take([Arrival("dev-1", topics.STATE, state, topics.device("dev-1", topics.STATE))], gateway.now)

    told = [json.loads(parameters)["message"] for *_, parameters, _, _ in gateway.effects]
    assert told == ["device.online", "device.offline", "device.online"]


# --- late -------------------------------------------------------------------------------------------------------------


def test_what_an_outage_has_held_back_puts_alarms_right_and_commands_nothing(gateway):
    do = [{"raise_alarm": {"alarm": "hot", "severity": "major"}}, COOL]
    gateway.deploy(rule(fire="on_change", do=do, otherwise=[{"clear_alarm": {"alarm": "hot"}}]))
    gateway.now += 3 * 3_600_000

    taken = gateway.take(*(reading(seq, seq * 60, t=t) for seq, t in enumerate((70, 90, 70, 91), 1)))

    assert taken.answers == []
    assert gateway.store.down.commands("dev-1") == []
    told = gateway.events("alarm.raised", "alarm.cleared")
    assert [(one.type, one.ts - NOW) for one in told] == [
        ("alarm.raised", 120_000),
        ("alarm.cleared", 180_000),
        ("alarm.raised", 240_000),
    ]
    first = told[0].data
    assert first == {
        "alarm": "hot",
        "rule": "overheat",
        "severity": "major",
        "message": "",
        "raised_at": NOW + 120_000,
        "effect": first["effect"],
    }
    assert gateway.alarms == [("dev-1", "hot", 240_000)]
    assert {one["withheld"] for body in gateway.firings for one in body["effects"] if one["kind"] == "command"} == {
        "it is late: what is over is not acted on"
    }


def test_an_alarm_that_began_earlier_is_withdrawn_and_raised_anew(gateway):
    do = [{"raise_alarm": {"alarm": "hot"}}]
    gateway.deploy(rule(fire="on_change", do=do, otherwise=[{"clear_alarm": {"alarm": "hot"}}]))
    gateway.take(reading(1, 0, t=70), reading(3, 20, t=90))
    assert gateway.alarms == [("dev-1", "hot", 20_000)]

    gateway.take(reading(2, 10, t=90))

    assert gateway.alarms == [("dev-1", "hot", 10_000)]
    raised, withdrawn, again = gateway.events("alarm.raised", "alarm.amended")
    assert withdrawn.data["withdrawn"] == raised.data["effect"]
    assert again.data["raised_at"] == NOW + 10_000


def test_an_alarm_that_is_raised_again_and_again_keeps_its_beginning_and_few_marks(gateway):
    burning = {"property_range": {"property": "t", "min": 198}}
    gateway.deploy(
        rule(do=[{"raise_alarm": {"alarm": "hot", "severity": "minor"}}]),
        rule("burning", burning, do=[{"raise_alarm": {"alarm": "hot", "severity": "critical"}}]),
    )

    gateway.take(*(reading(seq, seq, t=seq) for seq in range(1, 200)))

    (alarm,) = gateway.rules.alarms.all()
    assert (alarm["raised_at"], alarm["last"], alarm["severity"]) == (NOW + 80_000, NOW + 199_000, "critical")
    assert gateway.db.execute("SELECT count(*) FROM alarm_mark").fetchone()[0] < 70


# --- what is done after the commit ------------------------------------------------------------------------------------


class Doing:
    """What a performer works on: a gateway's effects, with a handler that answers as it is told."""

    def __init__(self, gateway, answers):
        self.gateway, self.answers, self.done = gateway, answers, []
        self.performer = Performer({"http": self.handle}, self.due, self.settle)

    async def due(self, limit):
        return self.gateway.rules.effects.due(["http"], self.gateway.now, limit)

    async def settle(self, one, outcome):
        effects = self.gateway.rules.effects
        take = effects.postpone if isinstance(outcome, Again) else effects.settle
        self.gateway.store.commit(take, one, outcome, self.gateway.now)
        return True

    async def handle(self, one):
        self.done.append(one.id)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def turn(self):
        for one in await self.due(10):
            await self.performer.perform(one)


async def test_an_effect_is_tried_again_with_growing_pauses_and_told_once(gateway):
    gateway.deploy(rule(do=[{"http": {"url": "https://example.com"}}]))
    gateway.take(reading(1, 0, t=90))
    doing = Doing(
        gateway, [NotPerformed("503", again=True), NotPerformed("429", again=True, after_s=60), {"status": 200}]
    )

    await doing.turn()
    await doing.turn()
    assert len(doing.done) == 1, "not before its pause is over"
    for pause in (5_000, 60_000):
        gateway.kill()
        gateway.now += pause
        await doing.turn()

    assert len(set(doing.done)) == 1
    assert actions(gateway) == [("http", "done", None)]
    assert await doing.due(10) == []


async def test_an_effect_that_no_try_helps_or_that_is_too_old_is_given_up(gateway):
    gateway.deploy(rule(do=[{"http": {"url": "https://example.com"}}]))
    gateway.take(reading(1, 0, t=90), reading(2, 1, t=90))
    gateway.take(reading(3, 2, t=90))
    doing = Doing(gateway, [NotPerformed("404", again=False), KeyError("a fault"), NotPerformed("503", again=True)])
    await doing.turn()

    gateway.now += 86_400_001
    gateway.rules.look_at_the_clock(gateway.now)

    assert actions(gateway) == [
        ("http", "failed", "404"),
        ("http", "failed", "its handler failed: KeyError('a fault')"),
        ("http", "failed", "it could not be done for a day"),
    ]


@pytest.mark.parametrize(
    ("topic", "again"), [("fl/v1/d/dev-1/command", False), ("$SYS/x", False), ("site/+", False), ("site/x", True)]
)
async def test_a_rule_publishes_under_no_name_of_others(gateway, topic, again):
    gateway.deploy(rule(do=[{"publish": {"topic": topic, "payload": {"t": "{{ data.t }}"}}}]))
    gateway.take(reading(1, 0, t=90))
    (due,) = gateway.rules.effects.due(["publish"], NOW, 10)

    async def away(_topic, _payload):
        return False

    with pytest.raises(NotPerformed) as told:
        await Publishing(away).publish(due)

    assert told.value.again == again


def test_a_rule_is_explained_with_what_it_remembers(gateway):
    gateway.deploy(rule(fire="on_change"))
    gateway.take(reading(1, 0, t=90))

    told = gateway.rules.explain("overheat", Judged("asked", TELEMETRY, "dev-1", NOW + 5000, {"t": 95}))

    assert (told["fires"], told["reason"]) == (False, "it held before")
    assert told["condition"]["parts"][1]["values"] == {"t": 95}
