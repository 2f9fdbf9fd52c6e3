"""Takes the pictures of the README from a running system: `make screenshots`. No test of `make test`."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import expect

from console.conftest import Visitor
from console.test_console import now_ms, report
from e2e.test_boards import wait_for
from e2e.test_discovery import forget
from fixtures.commands import fieldloom

IMAGES = Path(__file__).parents[2] / "docs" / "img"
ROOMS = ("Cold store", "Loading dock", "Greenhouse 1", "Greenhouse 2", "Pump house", "Boiler room", "Roof", "Archive")
MOST_BYTES = 200_000
READINGS = 160
CLIMATE = {
    "name": "Room climate",
    "metrics": {
        "temperature": {"unit": "°C", "range": {"min": -20, "max": 60}, "period": "1s"},
        "humidity": {"unit": "%", "range": {"min": 0, "max": 100}, "period": "1s"},
    },
    "commands": {
        "calibrate": {
            "description": "Calibrate a sensor",
            "parameters": {
                "properties": {"offset": {"type": "number", "minimum": -5, "maximum": 5}},
                "required": ["offset"],
            },
        }
    },
}


def test_pictures(system, chromium):
    with system.api() as api:
        for number, room in enumerate(ROOMS, start=1):
            name = f"climate-{number}"
            system.fleet.add(system.enrol_device(name), system.gateways, interval=1000)
            told = {"name": room, "type": "climate", "tags": {"floor": str(number % 3)}}
            api.patch(f"/api/v1/devices/{name}", json=told).raise_for_status()
        for board in system.fleet.names():
            if board.startswith("board-"):
                system.fleet.off(board)
                api.delete(f"/api/v1/devices/{board}").raise_for_status()
    IMAGES.mkdir(exist_ok=True)
    one = Visitor(system, chromium, viewport={"width": 1280, "height": 800})
    page = one.log_in().page
    page.goto("/devices/climate-3")
    send(page, "Read values")
    send(page, "Write a value", Metric="relay", Value="7")
    send(page, "Write a value", Metric="relay", Value="true")
    chart = page.locator("figure[data-metric=temperature]")
    while int(chart.get_attribute("data-points")) < READINGS:
        page.wait_for_timeout(500)
    page.screenshot(path=IMAGES / "device.png")
    system.fleet.off("climate-7")
    page.goto("/")
    expect(one.row("climate-7").get_by_text("Offline")).to_be_visible()
    page.wait_for_timeout(3000)
    page.screenshot(path=IMAGES / "fleet.png", clip={"x": 0, "y": 0, "width": 1280, "height": 640})
    pictures_of_registry(system, one)
    picture_of_rules(system, one)
    picture_of_alarms(system, one)
    picture_of_workflows(system, one)
    picture_of_holds(system, one)
    one.context.close()

    assert all(image.stat().st_size < MOST_BYTES for image in IMAGES.glob("*.png"))


def pictures_of_registry(system, one):
    """Groups, a type and what was found."""
    found = system.enrol_device("climate-9")
    with system.api() as api:
        api.put("/api/v1/types/climate", json=CLIMATE).raise_for_status()
        api.post("/api/v1/groups", json={"id": "floor-1", "name": "Floor 1", "query": {"tag": ["floor:1"]}})
        api.post("/api/v1/groups", json={"id": "night-shift", "name": "Night shift"}).raise_for_status()
        for device in ("climate-2", "climate-3", "climate-8"):
            api.put(f"/api/v1/groups/night-shift/devices/{device}").raise_for_status()
    forget(system, "climate-9")
    system.fleet.add(found, system.gateways, interval=1000)
    wait_for(lambda: system.fleet.acknowledged("climate-9"), 60, "the gateway's acknowledgement")
    fieldloom("gateway", "discover", "--data", system.folder / "gateway-1", "--seconds", 4)
    page = one.open("/groups/night-shift")
    page.get_by_role("button", name="Send command").click()
    expect(page.get_by_text("Devices that get it: 3")).to_be_visible()
    take(page, "group", 520)
    one.open("/types/climate")
    expect(page.locator("tr[data-device=climate-1]")).to_be_visible()
    take(page, "type", 800)
    one.open("/discoveries")
    page.get_by_role("button", name="Approve").click()
    page.get_by_label("Name").fill("Vestibule")
    take(page, "discoveries", 300)


def picture_of_rules(system, one):
    """A backtest of a rule that is usually met, beside a version that asks for more."""
    with system.api() as api:
        asked = {"device": "climate-3", "metric": "temperature"}
        points = api.get("/api/v1/telemetry", params=asked).raise_for_status().json()["series"][0]["points"]
        values = sorted(value for _, value in points)
        for version, share in (("1.0.0", 0.6), ("1.1.0", 0.85)):
            least = {"property": "temperature", "min": round(values[int(len(values) * share)], 1)}
            told = {
                "id": "too-warm",
                "version": version,
                "description": "A room is too warm",
                "devices": {"type": "climate"},
                "fire": "on_change",
                "when": {"and": [{"event_type": "device.telemetry"}, {"property_range": least}]},
                "do": [{"raise_alarm": {"alarm": "too-warm"}}, {"command": {"type": "cooling"}}],
                "otherwise": [{"clear_alarm": {"alarm": "too-warm"}}],
            }
            body = {"document": told, "mode": "shadow"}
            api.put("/api/v1/rules/too-warm", json=body).raise_for_status()
    page = one.open("/rules/too-warm?view=backtest")
    choose(page, "The last", "From … to")
    now = datetime.now().astimezone()
    page.get_by_label("From").fill((now - timedelta(minutes=4)).strftime("%Y-%m-%dT%H:%M"))
    page.get_by_label("To", exact=True).fill((now + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M"))
    choose(page, "Against", "1.0.0")
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("[data-backtest=done]")).to_be_visible()
    expect(page.locator("figure[data-metric=temperature] canvas")).to_be_visible()
    take(page, "rules", 900)


def choose(page, name, option):
    page.get_by_role("combobox", name=name).click()
    page.get_by_role("option", name=option, exact=True).click()


ALARMS = (
    ("boiler-1", "pressure", "minor", "2.1 bar, usually from 1.2 to 1.8"),
    ("freezer-2", "defrost", "info", "The evaporator defrosts"),
    ("pump-3", "vibration", "warning", "4.6 mm/s for ten minutes"),
    ("freezer-1", "warm", "major", "-9 degrees"),
)


def picture_of_alarms(system, one):
    """Alarms of several severities, one of them open, and a device that is muted."""
    for device in sorted({device for device, *_ in ALARMS}):
        system.enrol_device(device)
    with system.api() as api:
        ends = datetime.now(UTC) + timedelta(hours=2)
        mute = {"device": "pump-3", "ends": ends.isoformat(), "reason": "New bearings"}
        api.post("/api/v1/mutes", json=mute).raise_for_status()
    page = one.open("/alarms")
    for device, alarm, severity, message in ALARMS:
        report(system, device, f"{alarm}-1", alarm=alarm, severity=severity, message=message, raised_at=now_ms())
    warm = {"alarm": "warm", "message": "-4 degrees"}
    report(system, "freezer-1", "warm-2", severity="critical", raised_at=now_ms(), **warm)
    row = page.locator("[data-alarm]").filter(has_text="freezer-1")
    expect(row).to_contain_text("Critical")
    row.get_by_role("button", name="Details").click()
    page.get_by_label("Note").fill("I close the door")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("[data-what=acknowledged]")).to_be_visible()
    take(page, "alarms", 600)


AIRING = {
    "id": "air-out",
    "name": "Air out a room",
    "version": "1.0.0",
    "triggers": [{"schedule": {"cron": "0 6 * * *", "timezone": "Europe/Berlin"}}, {"api": {}}],
    "variables": [{"name": "device_id", "type": "string"}],
    "initial_state": "open",
    "states": {
        "open": {
            "type": "task",
            "actions": [{"command": {"type": "write", "parameters": {"name": "relay", "value": True}}}],
            "transitions": [{"target": "air"}],
        },
        "air": {
            "type": "wait",
            "event": {"type": "air.good"},
            "transitions": [{"target": "close"}],
        },
        "close": {
            "type": "task",
            "actions": [{"command": {"type": "write", "parameters": {"name": "relay", "value": False}}}],
            "transitions": [{"target": "done"}],
        },
        "done": {"type": "succeed"},
    },
}


def picture_of_workflows(system, one):
    """An instance that has opened a window, and waits."""
    with system.api() as api:
        api.put("/api/v1/workflows/air-out", json={"document": AIRING}).raise_for_status()
        body = {"variables": {"device_id": "climate-4"}}
        begun = api.post("/api/v1/workflows/air-out/start", json=body).raise_for_status().json()["id"]
    page = one.open(f"/instances/{begun}")
    expect(page.locator("[data-node=air][data-here=true]")).to_be_visible()
    take(page, "workflows", 800)


def picture_of_holds(system, one):
    """Somebody holds a relay for works; the safety slot is above, and acts."""
    wish = {"parameters": {"name": "relay", "value": False}}
    with system.api() as api:
        ann = api.post("/api/v1/tokens", json={"name": "Ann", "role": "operator"}).raise_for_status().json()["token"]
        for reason, priority, token in (
            ("New bearings", "person", ann),
            ("Door is open", "safety", system.cloud.token),
        ):
            headers = {"Authorization": f"Bearer {token}"}
            body = {**wish, "reason": reason, "priority": priority}
            api.post("/api/v1/devices/climate-5/holds", json=body, headers=headers).raise_for_status()
            wait_for(lambda slot=priority: slot in slots_of(api), 60, f"the slot {priority}")
    page = one.open("/devices/climate-5")
    holds = page.get_by_role("region", name="Who holds what")
    expect(holds.locator("[data-set-by]")).to_be_visible()
    holds.evaluate("region => scrollTo(0, region.getBoundingClientRect().top - 90)")
    take(page, "holds", 560)


def slots_of(api):
    items = api.get("/api/v1/devices/climate-5/holds").json()["items"]
    return [hold["priority"] for one in items for hold in one["holds"]]


def take(page, name, height):
    page.wait_for_timeout(500)
    page.screenshot(path=IMAGES / f"{name}.png", clip={"x": 0, "y": 0, "width": 1280, "height": height})


def send(page, name, **fields):
    page.get_by_role("combobox", name="Command").click()
    page.get_by_role("option", name=name).click()
    for label, text in fields.items():
        page.get_by_role("textbox", name=label).or_(page.get_by_role("combobox", name=label)).fill(text)
    page.get_by_role("button", name="Send command").click()
    expect(page.locator("li[data-command]").first).not_to_have_attribute("data-status", "pending")
    page.wait_for_timeout(1000)
