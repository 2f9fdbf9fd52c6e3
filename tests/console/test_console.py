"""The console in a real browser, on a real system: logging in, the fleet, a device, its commands, dead letters. (A5)

Alarms and mutes too. (E7)
"""

import json
import re
import time

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from console.conftest import BOARDS, changes
from e2e.test_boards import execute, wait_for
from e2e.test_discovery import forget
from fixtures.commands import fieldloom
from fixtures.strangers import publish, publish_garbage


def test_a_link_lets_one_in_once_and_logging_out_ends_it(visitor):
    first, second = visitor(), visitor()
    link = first.link()

    first.page.goto(link)
    expect(first.row("board-1")).to_be_visible()
    assert "#" not in first.page.url
    second.page.goto(link)
    expect(second.page.get_by_role("heading", name="This link does not work any more")).to_be_visible()
    expect(second.page.get_by_text("fieldloom cloud login-link")).to_be_visible()
    second.forgive("401", "/api/v1/session")

    first.page.reload()
    expect(first.row("board-1")).to_be_visible()
    first.page.get_by_role("button", name="Admin").click()
    first.page.get_by_role("menuitem", name="Log out").click()
    expect(first.page.get_by_role("heading", name="Log in")).to_be_visible()
    first.page.goto("/devices/board-1")
    expect(first.page.get_by_role("heading", name="Log in")).to_be_visible()
    first.forgive("401", "/api/v1/session")


def test_the_fleet_shows_live_who_is_there_and_what_it_measures(visitor, system):
    one = visitor().log_in()
    for board in BOARDS:
        expect(one.row(board).get_by_text("Online")).to_be_visible()
    changes(one.row("board-1").locator("[data-metric=temperature] b"))

    system.fleet.off("board-2")
    expect(one.row("board-2").get_by_text("Offline")).to_be_visible()
    one.page.get_by_text("Offline", exact=True).first.click()
    expect(one.page).to_have_url(re.compile(r"status=offline"))
    expect(one.page.locator("tr[data-device]")).to_have_count(1)
    system.fleet.on("board-2")
    expect(one.page.get_by_text("No device matches")).to_be_visible()
    one.page.get_by_role("button", name="Clear the search").click()
    expect(one.row("board-2").get_by_text("Online")).to_be_visible()


def test_a_search_is_in_the_address_and_survives_a_reload(visitor):
    one = visitor().log_in()

    one.page.get_by_label("Search devices").fill("board-3")
    expect(one.page.locator("tr[data-device]")).to_have_count(1)
    expect(one.page).to_have_url(re.compile(r"q=board-3"))
    one.page.reload()
    expect(one.page.locator("tr[data-device]")).to_have_count(1)
    expect(one.page.get_by_label("Search devices")).to_have_value("board-3")


def test_a_new_device_appears_by_itself(visitor, system):
    one = visitor().log_in()
    expect(one.row("board-1")).to_be_visible()

    with system.api() as api:
        api.post("/api/v1/devices", json={"id": "fresh-1"}).raise_for_status()

    expect(one.row("fresh-1").get_by_text("Unknown")).to_be_visible()
    with system.api() as api:
        api.delete("/api/v1/devices/fresh-1").raise_for_status()


def test_a_device_page_draws_what_comes_and_shows_it_as_a_table(visitor):
    one = visitor().log_in()
    one.row("board-1").get_by_role("link").press("Enter")
    chart = one.page.locator("figure[data-metric=temperature]")
    expect(chart.locator("canvas")).to_be_visible()
    before = int(chart.get_attribute("data-points"))

    expect(chart).to_have_attribute("data-points", str(before + 4), timeout=30_000)
    expect(one.page.locator("[data-completeness=open]")).to_have_text(re.compile(r"Complete"))  # (T8)
    expect(chart.get_by_role("img")).to_have_attribute("aria-label", re.compile(r"temperature: [\d.]+ to [\d.]+"))
    changes(one.page.locator("li[data-metric=temperature]").nth(0))
    one.page.get_by_role("button", name="Show as table").click()
    rows = one.page.get_by_role("region", name="Telemetry").locator("tbody tr")
    expect(rows.nth(3)).to_be_visible()
    changes(rows.nth(0))
    one.page.get_by_role("button", name="Show as chart").click()
    for name in ("15 min", "1 h", "24 h"):
        one.page.get_by_role("radiogroup", name="Range").get_by_text(name, exact=True).click()
        expect(chart.locator("canvas")).to_be_visible()


def test_a_command_goes_its_way_before_the_eyes_of_who_sent_it(visitor):
    one = visitor().log_in("operator")
    page = one.open("/devices/board-1")
    kind = page.get_by_role("combobox", name="Command")

    page.get_by_role("button", name="Send command").click()
    read = page.locator("li[data-command=read]").first
    expect(read).to_have_attribute("data-status", "succeeded")
    expect(read).to_contain_text("temperature")

    kind.click()
    page.get_by_role("option", name="Write a value").click()
    page.get_by_role("combobox", name="Metric").fill("relay")
    page.get_by_role("textbox", name="Value").fill("7")
    page.get_by_role("button", name="Send command").click()
    rejected = page.locator("li[data-command=write]").first
    expect(rejected).to_have_attribute("data-status", "rejected")
    expect(rejected).to_contain_text("value: must be true or false")

    page.get_by_role("textbox", name="Value").fill("x" * 5000)
    page.get_by_role("button", name="Send command").click()
    expect(page.get_by_role("alert")).to_contain_text("No device would take this")
    expect(page.get_by_role("alert")).to_contain_text("4096")
    one.forgive("422", "/commands")
    expect(page.get_by_role("row").filter(has_text="command.result").first).to_be_visible()


def test_an_actuator_is_held_and_released_before_the_eyes_of_who_does_it(visitor):
    one = visitor().log_in("operator")
    page = one.open("/devices/board-2")
    holds = page.get_by_role("region", name="Who holds what")
    expect(holds).to_contain_text("Nobody holds an actuator")

    holds.get_by_role("textbox", name="Actuator").fill("relay")
    holds.get_by_role("textbox", name="Set to").fill("true")
    holds.get_by_role("textbox", name="Why").fill("a new lining")
    holds.get_by_text("Until released").click()
    holds.get_by_role("button", name="Hold", exact=True).click()
    held = holds.locator("[data-actuator=relay] [data-priority=person]")
    expect(held).to_contain_text("a new lining")
    expect(held).to_contain_text("Acts")
    expect(holds.locator("[data-actuator=relay] [data-set-by]")).to_contain_text("true")

    held.get_by_role("button", name="Release relay").click()
    expect(held).to_have_count(0)
    expect(holds).to_contain_text("Nobody holds an actuator")
    expect(holds.locator("[data-actuator=relay] [data-set-by]")).to_contain_text("Set last by")


def test_a_twin_shows_what_is_wanted_and_what_the_board_makes_of_it(visitor, system):
    one = visitor().log_in("viewer")
    page = one.open("/devices/board-3")
    twin = page.get_by_role("region", name="Twin")
    expect(twin).to_contain_text("Nothing is wanted of this device")

    with system.api() as api:
        wanted = {"interval": 400, "led": 99, "drivers": {"climate": {"humidity": 50}}}
        api.patch("/api/v1/devices/board-3/twin", json={"desired": wanted}).raise_for_status()

    expect(twin.locator("[data-setting=interval]")).to_have_attribute("data-missing", "false")
    expect(twin.locator("[data-setting='drivers.climate.humidity']")).to_contain_text("5050")
    expect(twin.locator("[data-setting=led]")).to_contain_text("must be from 0 to 48")
    expect(twin).to_contain_text("Reported, version 1")


def test_what_is_wanted_is_changed_as_json_unless_somebody_else_did(visitor, system):
    one = visitor().log_in("operator")
    page = one.open("/devices/board-2")
    twin = page.get_by_role("region", name="Twin")

    twin.get_by_role("button", name="Change").click()
    wanted = twin.get_by_label("What is wanted, as JSON")
    wanted.fill("[1]")
    expect(twin.get_by_text("This is no JSON object")).to_be_visible()
    expect(twin.get_by_role("button", name="Save")).to_be_disabled()
    wanted.fill('{"interval": 450, "drivers": {"climate": {"humidity": 40}}}')
    twin.get_by_role("button", name="Save").click()
    expect(twin.locator("[data-setting=interval]")).to_have_attribute("data-missing", "false")

    twin.get_by_role("button", name="Change").click()
    expect(wanted).to_have_value(re.compile("450"))
    with system.api() as api:
        other = {"desired": {"led": 1}}
        api.patch("/api/v1/devices/board-2/twin", json=other).raise_for_status()
    wanted.fill('{"interval": 460}')
    twin.get_by_role("button", name="Save").click()
    expect(twin.get_by_role("alert")).to_contain_text("read it again")
    one.forgive("412", "/twin")
    twin.get_by_role("button", name="Try again").click()
    expect(wanted).to_have_value(re.compile('"led": 1'))
    wanted.fill('{"interval": 460}')
    twin.get_by_role("button", name="Save").click()
    expect(twin.locator("[data-setting='drivers.climate.humidity']")).to_have_count(0)
    expect(twin.locator("[data-setting=interval]")).to_contain_text("460460")


def test_a_viewer_sees_commands_and_sends_none(visitor):
    page = visitor().log_in("viewer").open("/devices/board-1")

    expect(page.get_by_text("Operators can send commands")).to_be_visible()
    expect(page.get_by_role("button", name="Send command")).to_have_count(0)


def test_a_dead_letter_shows_at_once_with_its_reason(visitor, system):
    one = visitor().log_in()
    page = one.open("/dead-letters")
    letter = page.locator("tr[data-letter]").filter(has_text="stranger-1")
    expect(letter).to_have_count(0)

    publish_garbage(system, "stranger-1", b'{"boot": 1, "seq": 1, "ts": "soon", "values": {}}')

    expect(letter.first).to_contain_text("ts")
    letter.first.get_by_text("Content").click()
    expect(letter.first.locator("pre")).to_contain_text("payload")
    letter.first.get_by_role("link", name="stranger-1").click()
    expect(page).to_have_url(re.compile("device=stranger-1"))
    page = one.open("/devices/stranger-1")
    expect(page.get_by_role("region", name="Dead letters").locator("tr[data-letter]").first).to_be_visible()


def test_what_happens_during_the_first_reading_is_shown(visitor, system):
    one, done = visitor().log_in("operator"), []

    def answer_late(route):
        before = route.fetch()
        with system.api() as api:
            done.append(execute(api, "board-1", "identify", seconds=60, duration=10)["id"])
        time.sleep(1)  # the browser is told of it, and reads nothing anew while the first reading is under way
        route.fulfill(response=before)

    one.page.route("**/api/v1/devices/board-1/commands*", answer_late, times=1)
    page = one.open("/devices/board-1")

    expect(page.locator("li[data-command=identify]").first).to_have_attribute("data-status", "succeeded")
    assert len(done) == 1


def test_a_group_is_filled_sent_to_and_deleted(visitor):
    one = visitor().log_in("operator")
    page = one.open("/groups")
    page.get_by_label("Id", exact=True).fill("night")
    page.get_by_role("button", name="Create").click()
    expect(page).to_have_url(re.compile("/groups/night$"))

    for device in ("board-1", "nobody"):
        page.get_by_role("combobox", name="Id of a device").fill(device)
        page.get_by_role("button", name="Add").click()
        expect(page.get_by_role("combobox", name="Id of a device")).to_have_value(
            "" if device == "board-1" else "nobody"
        )
    expect(page.get_by_role("alert")).to_contain_text("there is no device nobody")
    one.forgive("404", "/groups/night/devices/nobody")
    expect(one.row("board-1").get_by_text("Online")).to_be_visible()
    page.get_by_role("button", name="Send command").click()
    expect(page.get_by_text("Devices that get it: 1")).to_be_visible()
    page.locator("[data-sent=board-1]").get_by_role("link").click()
    expect(page.locator("li[data-command=read]").first).to_have_attribute("data-status", "succeeded")

    page = one.open("/groups/night")
    page.get_by_role("button", name="Take board-1 out").click()
    expect(page.get_by_text("No device is listed yet")).to_be_visible()
    page.get_by_role("button", name="Delete group").click()
    page.get_by_role("button", name="Delete it for good?").click()
    expect(page).to_have_url(re.compile("/groups$"))
    expect(page.locator("[data-group=night]")).to_have_count(0)


def test_a_search_becomes_a_group(visitor):
    one = visitor().log_in("operator")
    page = one.open("/?q=board-")

    page.get_by_role("link", name="Make this a group").click()
    page.get_by_label("Id", exact=True).fill("boards")
    page.get_by_role("button", name="Create").click()

    expect(page.get_by_text("q=board-")).to_be_visible()
    for board in BOARDS:
        expect(one.row(board)).to_be_visible()


LEVEL = {"type": "integer", "title": "Level", "minimum": 0, "maximum": 3}
TYPE = {
    "name": "Fans",
    "metrics": {"temperature": {"unit": "°C", "range": {"max": -100}, "period": "1s"}, "humidity": {"unit": "%"}},
    "commands": {
        "set_level": {
            "description": "Set the level",
            "parameters": {
                "properties": {"level": LEVEL, "mode": {"enum": ["eco", "full"]}},
                "required": ["level"],
                "additionalProperties": False,
            },
        }
    },
}


def test_a_type_shows_its_versions_its_devices_and_what_does_not_fit(visitor, system):
    one = visitor().log_in("operator")
    page = one.open("/types")
    with system.api() as api:
        api.put("/api/v1/types/blower", json={"name": "Old fans"}).raise_for_status()
        api.put("/api/v1/types/blower", json=TYPE).raise_for_status()
        api.patch("/api/v1/devices/board-2", json={"type": "blower"}).raise_for_status()

    page.locator("[data-type=blower]").get_by_role("link").click()
    expect(page.get_by_role("region", name="Metrics").locator("[data-metric=temperature]")).to_contain_text("… -100")
    expect(page.locator("[data-command=set_level]")).to_contain_text("Set the level")
    expect(one.row("board-2").locator("[data-misfit=temperature]")).to_contain_text("must be at most -100")
    page.get_by_role("combobox", name="Version").click()
    page.get_by_role("option", name="Version 1").click()
    expect(page).to_have_url(re.compile("version=1"))
    expect(page.get_by_text("Old fans")).to_be_visible()

    page = one.open("/devices/board-2")
    page.get_by_role("combobox", name="Command").click()
    page.get_by_role("option", name="Set the level").click()
    page.get_by_label("Level").fill("7")
    page.get_by_role("combobox", name="mode").click()
    page.get_by_role("option", name="eco").click()
    page.get_by_role("button", name="Send command").click()
    expect(page.get_by_role("alert")).to_contain_text("parameters.level")
    one.forgive("422", "/commands")
    page.get_by_label("Level").fill("2")
    page.get_by_role("button", name="Send command").click()
    expect(page.locator("li[data-command=set_level]").first).to_contain_text('level=2  mode="eco"')


def test_a_type_that_nobody_has_described_says_so(visitor, system):
    one = visitor().log_in("viewer")
    with system.api() as api:
        api.patch("/api/v1/devices/board-3", json={"type": "riddle"}).raise_for_status()

    page = one.open("/types/riddle")

    expect(page.get_by_text("Nobody has described this type")).to_be_visible()
    expect(one.row("board-3")).to_be_visible()


def test_a_found_board_is_dismissed_and_approved_with_its_name(visitor, system):
    identity = system.enrol_device("found-1")
    forget(system, "found-1")
    one = visitor().log_in("operator")
    page = one.open("/discoveries")
    system.fleet.add(identity, system.gateways, interval=500)
    try:
        wait_for(lambda: system.fleet.acknowledged("found-1"), 60, "the gateway's acknowledgement")
        fieldloom("gateway", "discover", "--data", system.folder / "gateway-1", "--seconds", 4)
        found = page.locator("[data-found=found-1]")
        expect(found).to_contain_text("climate")
        found.get_by_role("button", name="Dismiss").click()
        expect(found).to_have_count(0)
        page.get_by_text("Dismissed", exact=True).click()
        found.get_by_role("button", name="Approve").click()
        page.get_by_label("Name").fill("North pump")
        page.get_by_role("button", name="Register").click()
        expect(found).to_have_count(0)
        page.get_by_role("link", name="Fleet").click()
        expect(one.row("found-1")).to_contain_text("North pump")
    finally:
        system.fleet.off("found-1")


def report(system, device, effect, kind="alarm.raised", **word):
    """Let an enrolled device report of its alarm `overheat`."""
    data = {"alarm": "overheat", "effect": effect, "severity": "major", "message": "81 degrees", "rule": "hot", **word}
    publish(system, device, "event", json.dumps({"type": kind, "data": data}).encode())


def now_ms():
    return time.time_ns() // 1_000_000


def test_an_alarm_is_cared_for_and_ends_before_the_eyes_of_who_watches(visitor, system):
    system.enrol_device("boiler-1")
    one = visitor(reduced_motion="reduce").log_in("operator")  # colours that still change have no contrast
    page = one.open("/devices/board-1")
    badge, alarm = page.locator("[data-unacknowledged]"), page.locator("[data-alarm]")
    expect(page.get_by_role("region", name="Alarms").get_by_text("No open alarms")).to_be_visible()
    expect(badge).to_have_count(0)

    report(system, "boiler-1", "e1", raised_at=now_ms())
    expect(badge).to_have_attribute("data-unacknowledged", "1")  # on the page of another device
    page.get_by_role("link", name="Alarms not acknowledged: 1").click()
    expect(alarm).to_contain_text("81 degrees")
    expect(alarm).to_contain_text("Major")
    report(system, "boiler-1", "e2", raised_at=now_ms(), severity="critical")
    expect(alarm).to_contain_text("Critical")

    alarm.get_by_role("button", name="Details").click()
    page.get_by_label("Note").fill("on my way")
    page.get_by_role("button", name="Acknowledge").click()
    expect(alarm).to_contain_text("Acknowledged")
    expect(page.locator("[data-what=acknowledged]")).to_contain_text("on my way")
    expect(badge).to_have_count(0)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert faults(page) == [], scheme

    alarm.get_by_role("link", name="boiler-1").click()
    region = page.get_by_role("region", name="Alarms")
    reading = {"boot": 1, "seq": 1, "ts": now_ms(), "values": {"pressure": 2.1}}
    publish(system, "boiler-1", "telemetry", json.dumps(reading).encode())
    expect(page.locator("figure[data-metric=pressure]")).to_have_attribute("data-marks", "1")
    region.get_by_role("button", name="Details").click()
    region.get_by_role("button", name="Clear", exact=True).click()
    expect(region.get_by_text("No open alarms")).to_be_visible()
    region.get_by_role("link", name="All its alarms").click()
    expect(alarm).to_contain_text("Cleared")


def test_a_device_is_muted_and_what_comes_meanwhile_is_marked(visitor, system):
    system.enrol_device("press-1")
    one = visitor().log_in("operator")
    page = one.open("/alarms?severity=minor")
    report(system, "press-1", "e1", raised_at=now_ms())
    alarm = page.locator("[data-alarm]").filter(has_text="press-1")
    alarm.get_by_role("button", name="Details").click()

    page.get_by_label("Reason to mute it").fill("painting")
    page.get_by_text("2 h", exact=True).click()
    page.get_by_role("button", name="Mute press-1").click()
    muted = page.get_by_role("region", name="Muted").locator("[data-mute]")
    expect(muted).to_contain_text("painting")
    report(system, "press-1", "e2", alarm="leak", raised_at=now_ms())
    expect(alarm.filter(has_text="leak")).to_contain_text("muted")
    report(system, "press-1", "e3", alarm="dust", severity="info", raised_at=now_ms())
    report(system, "press-1", "e4", kind="alarm.cleared", cleared_at=now_ms())
    expect(alarm.filter(has_text="overheat")).to_have_count(0)
    expect(alarm).to_have_count(1)
    page.get_by_role("combobox", name="Least severity").click()
    page.get_by_role("option", name="Any severity").click()
    expect(alarm.filter(has_text="dust")).to_be_visible()
    page.get_by_text("All", exact=True).click()
    expect(page).to_have_url(re.compile("which=all"))
    expect(alarm.filter(has_text="overheat")).to_contain_text("Cleared")
    muted.get_by_role("button", name="End").click()
    expect(muted).to_have_count(0)


def test_both_languages_and_the_choice_is_remembered(visitor):
    one = visitor().log_in()
    expect(one.page.locator("html")).to_have_attribute("lang", "en")

    one.page.get_by_text("中文").click()
    expect(one.page.get_by_role("heading", name="设备群")).to_be_visible()
    page = one.open("/devices/board-1")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.get_by_role("button", name="发送命令")).to_be_visible()


def test_it_says_that_it_lost_the_cloud_and_catches_up(visitor, system):
    one = visitor().log_in()
    page = one.open("/devices/board-2")
    cloud = system.processes["cloud"]

    cloud.kill()
    expect(page.locator("[data-live=reconnecting]")).to_be_visible()
    cloud.start()
    expect(page.locator("[data-live=live]")).to_be_visible(timeout=30_000)
    changes(page.locator("li[data-metric=temperature]").nth(0), 30)
    one.forgive("ERR_")


def test_an_address_that_is_none_says_so(visitor):
    one = visitor().log_in()

    page = one.open("/devices/nobody")
    # While the page does not know yet, its parts may complain too; then it has nothing but this to say.
    expect(page.get_by_role("alert")).to_have_count(1)
    expect(page.get_by_role("alert")).to_contain_text("there is no device nobody")
    for part in ("/latest", "/commands", "/holds", ""):
        one.forgive("404", f"nobody{part}")


@pytest.fixture(scope="module")
def described(system):
    """A group, a type, an alarm and a mute, for the pages that show one."""
    system.enrol_device("kiln-1")
    report(system, "kiln-1", "e1", raised_at=now_ms())
    with system.api() as api:
        api.post("/api/v1/groups", json={"id": "all", "query": {"q": "board-"}}).raise_for_status()
        api.put("/api/v1/types/fan", json=TYPE).raise_for_status()
        mute = {"device": "kiln-1", "ends": "2099-01-01T00:00:00Z", "reason": "A new lining"}
        api.post("/api/v1/mutes", json=mute).raise_for_status()


PAGES = ("/devices/board-1", "/devices/board-1?view=table", "/dead-letters", "/groups", "/groups/all")
PAGES += ("/types", "/types/fan", "/discoveries", "/alarms?which=all")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_every_page(visitor, described, scheme):
    one = visitor(color_scheme=scheme)
    one.page.goto("/login")
    expect(one.page.get_by_role("heading", name="Log in")).to_be_visible()
    one.forgive("401", "/api/v1/session")
    assert faults(one.page) == []
    one.log_in()

    expect(one.row("board-1").get_by_text("Online")).to_be_visible()
    assert faults(one.page) == []
    for path in (*PAGES, "/?q=nothing-like-it"):
        page = one.open(path)
        page.wait_for_load_state("load")
        expect(page.locator(".mantine-Skeleton-root")).to_have_count(0)
        assert faults(page) == [], path


def faults(page):
    found = Axe().run(page).response["violations"]
    return [(fault["id"], [node["target"] for node in fault["nodes"]][:3]) for fault in found]


def test_it_fits_on_a_phone(visitor, described):
    one = visitor(viewport={"width": 360, "height": 740}).log_in()

    for path in ("/", *PAGES):
        page = one.open(path)
        expect(page.locator(".mantine-Skeleton-root")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_logging_out_ends_it_in_every_tab(visitor):
    """Logged out in one tab, the other one notices within seconds."""
    one = visitor().log_in()
    other = one.context.new_page()
    other.goto("/dead-letters")
    expect(other.locator("[data-live=live]")).to_be_visible()

    one.page.get_by_role("button", name="Admin").click()
    one.page.get_by_role("menuitem", name="Log out").click()
    expect(one.page.get_by_role("heading", name="Log in")).to_be_visible()
    one.forgive("401", "/api/v1/session")

    expect(other.get_by_role("heading", name="Log in")).to_be_visible()


def test_the_gateways_of_a_site_come_and_go(visitor, system):
    """(A5, D3)"""
    one = visitor(reduced_motion="reduce").log_in("viewer")
    page = one.open("/gateways")
    gateway = page.locator("[data-gateway='gw.site1']")
    expect(gateway).to_contain_text("Online")
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        assert faults(page) == [], scheme
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360

    system.processes["gateway-1"].kill()
    expect(gateway).to_contain_text("Offline")
    system.processes["gateway-1"].start()
    expect(gateway).to_contain_text("Online")
