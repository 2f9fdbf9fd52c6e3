"""Rules in the console, in a real browser: written, deployed, watched, tried and explained. (A5, E5, E6, E10)"""

import json
import re

import pytest
from playwright.sync_api import expect

from console.test_console import faults, now_ms
from e2e.test_boards import wait_for
from fixtures.strangers import publish

HOT = """id: hot
description: A kiln is too hot
fire: on_change
when:
  and:
    - event_type: device.telemetry
    - property_range: {property: temperature, min: 80}
do:
  - log: {message: "hot: {{ data.temperature }}"}
"""
VIEWS = ("firings", "document", "versions", "backtest", "explain")


def write(page, text):
    """Type a text in place of what is in the editor."""
    page.get_by_role("textbox", name="Rule as YAML").click()
    for key in ("ControlOrMeta+A", "Delete"):
        page.keyboard.press(key)
    page.keyboard.insert_text(text)


def heat(system, *temperatures):
    """Let an enrolled device report temperatures, a second apart and the last one now."""
    begins = now_ms() - len(temperatures) * 1000
    told = [{"ts": begins + at * 1000, "values": {"temperature": one}} for at, one in enumerate(temperatures, start=1)]
    publish(system, "kiln-9", "telemetry", json.dumps(told).encode())


@pytest.fixture(scope="module")
def kiln(system):
    system.enrol_device("kiln-9")


def test_a_rule_is_written_deployed_and_tried_against_its_next_version(visitor, system, kiln):
    one = visitor().log_in("operator")
    page = one.open("/rules")
    expect(page.get_by_text("No rules yet")).to_be_visible()
    page.get_by_role("button", name="New rule").click()
    expect(page.locator("[data-verdict=valid]")).to_be_visible()
    write(page, HOT.replace("min: 80", "min: 80, max: 70"))
    fault = page.locator("[data-fault='document.when.and[1].property_range']")
    expect(fault).to_contain_text("min is above max")
    expect(page.get_by_role("button", name="Deploy")).to_be_disabled()
    write(page, "id: [")
    expect(page.get_by_text("This is no mapping in YAML")).to_be_visible()
    write(page, HOT)
    expect(page.locator("[data-verdict=valid]")).to_be_visible()
    page.get_by_role("button", name="Deploy").click()
    expect(page).to_have_url(re.compile("/rules/hot$"))

    expect(page.locator("[data-gateway='gw.site1']")).to_have_attribute("data-status", "applied", timeout=60_000)
    expect(page.get_by_text("It has not fired yet")).to_be_visible()
    heat(system, 75, 82, 86, 70, 84, 60)
    firing = page.locator("[data-firing=kiln-9]")
    expect(firing).to_have_count(2, timeout=60_000)
    expect(firing.first).to_contain_text("In shadow")
    page.get_by_role("button", name="Make it active").click()
    expect(page.locator("h1 ~ [data-mode=active]")).to_be_visible()
    firing.first.get_by_role("button", name="Explain").click()
    expect(page.locator("[data-fires=true]")).to_be_visible()
    expect(page.locator("[data-part=property_range][data-state=holds]")).to_contain_text("84")
    page.get_by_label("Data, as JSON").fill('{"temperature": 12}')
    page.get_by_role("button", name="Explain").click()
    expect(page.locator("[data-part=property_range][data-state=fails]")).to_contain_text("12")

    try_against_what_is_deployed(page)
    page.get_by_role("tab", name="Document").click()
    page.get_by_role("button", name="Deploy").click()
    page.get_by_role("tab", name="Versions").click()
    expect(page.locator("[data-version='1.0.1'] [data-mode=active]")).to_be_visible()
    expect(page.get_by_label("Version 1.0.1")).to_contain_text("min: 85")
    page.get_by_role("button", name="Roll back to 1.0.0").click()
    expect(page.locator("[data-version='1.0.0'] [data-mode=active]")).to_be_visible()
    page.get_by_role("button", name="Delete rule").click()
    page.get_by_role("button", name="Delete it for good?").click()
    expect(page.get_by_text("No rules yet")).to_be_visible()


def try_against_what_is_deployed(page):
    """Write another version, and run a backtest of it as it is typed."""
    page.get_by_role("tab", name="Document").click()
    expect(page.locator("[data-verdict=valid]")).to_be_visible()
    expect(page.get_by_role("button", name="Raise it")).to_have_count(0)
    write(page, HOT.replace("min: 80", "min: 85"))
    page.get_by_role("button", name="Raise it").click()
    page.get_by_role("tab", name="Backtest").click()
    expect(page.get_by_role("combobox", name="Version")).to_have_value("as typed")
    page.get_by_role("combobox", name="The last").click()
    page.get_by_role("option", name="1 hour").click()
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("[data-backtest=done]")).to_be_visible(timeout=60_000)
    for name, number in (("rule", 1), ("against", 2), ("only-rule", 1), ("only-against", 2)):
        expect(page.locator(f"[data-number={name}]")).to_have_text(str(number))
    chart = page.locator("figure[data-metric=temperature]")
    expect(chart).to_have_attribute("data-marks", "3")
    expect(chart.locator("canvas")).to_be_visible()
    page.get_by_text("Only as typed", exact=True).last.click()
    expect(page.locator("[data-fired]")).to_contain_text("86")
    try_what_is_found_at_once(page)


def try_what_is_found_at_once(page):
    """Findings that come in one piece with the end are shown as those that come one by one."""
    asked = []
    page.route("**/api/v1/rules/backtest", lambda route: asked.append(route))  # noqa: PLW0108 - no built-in is taken
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("[data-backtest=running]")).to_be_visible()
    while not asked:
        page.wait_for_timeout(20)
    fired = {"of": "rule", "version": "1.0.1", "device": "kiln-1", "at": "2026-11-27T10:00:00.000Z", "holds": True}
    fired |= {"values": {"temperature": 91}, "effects": []}
    count = {"rule": 1, "against": 0}
    summary = {"events": 1, "fired": count, "only": count, "complete": True, "error": None}
    lines = ({"kind": "firing", **fired}, {"kind": "summary", **summary})
    asked[0].fulfill(body="".join(f"{json.dumps(line)}\n" for line in lines), content_type="application/x-ndjson")
    expect(page.locator("[data-backtest=done]")).to_be_visible()
    expect(page.locator("[data-fired]")).to_contain_text("91")
    page.unroute("**/api/v1/rules/backtest")


def carries(rule, version):
    return any(one["applied"] == version for one in rule["gateways"])


def test_a_viewer_looks_at_all_of_a_rule_and_changes_nothing(visitor, system, kiln):
    document = {"id": "watched", "when": {"event_type": "kiln.opened"}, "do": [{"log": {"message": "open"}}]}
    with system.api() as api:
        for version in ("1.0.0", "1.1.0"):
            told = {"document": {**document, "version": version}}
            api.put("/api/v1/rules/watched", json=told).raise_for_status()
        wait_for(lambda: carries(api.get("/api/v1/rules/watched").json(), "1.1.0"), 60, "the gateway's word")
        publish(system, "kiln-9", "event", json.dumps({"type": "kiln.opened", "data": {"by": "hand"}}).encode())
        wait_for(lambda: api.get("/api/v1/rules/watched/firings").json()["items"], 60, "the firing")
    one = visitor(reduced_motion="reduce").log_in("viewer")
    page = one.open("/devices/kiln-9")
    page.get_by_role("link", name="rule.fired").first.click()

    expect(page.locator("[data-effect=log]")).to_have_attribute("data-status", "done")
    for name in ("Delete rule", "Take into shadow", "Roll back to 1.0.0", "Deploy", "Put 1.0.0 to work"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    for view in VIEWS:
        page.get_by_role("tab", name=view.capitalize()).click()
        expect(page.get_by_role("tabpanel").locator("section").first).to_be_visible()
        # The editors have colours of their own.
        for scheme in ("dark", "light") if view in ("document", "versions") else ("light",):
            page.emulate_media(color_scheme=scheme)
            assert faults(page) == [], (view, scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    for path in ("/rules", *(f"/rules/watched?view={view}" for view in VIEWS)):
        one.open(path)
        expect(page.locator("[data-rule], [role=tabpanel] section").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    with system.api() as api:
        api.delete("/api/v1/rules/watched").raise_for_status()
