"""Workflows in the console, in a real browser: written, started, followed, ended, begun again. (A5, W3, W5, W7)"""

import re

import pytest
from playwright.sync_api import expect

from console.test_console import faults
from e2e.test_boards import wait_for

FILL = """id: fill
name: Fill the tank
version: 1.0.0
description: Fills what somebody has approved
triggers:
  - api: {}
variables:
  - {name: litres, type: number, default: 3}
initial_state: ask
states:
  ask: {type: wait, event: {type: approved, any_source: true}, transitions: [{target: pour}]}
  pour:
    type: task
    actions: [{log: {message: "{{ litres }} l"}}]
    transitions:
      - {target: done, condition: {property_range: {property: litres, max: 5}}}
      - {target: spilt}
  done: {type: succeed}
  spilt: {type: fail, error: spilt, message: "{{ litres }} l are too much"}
"""
VIEWS = ("picture", "instances", "document", "versions")


def write(page, text):
    """Type a text in place of what is in the editor."""
    page.get_by_role("textbox", name="Workflow as YAML").click()
    for key in ("ControlOrMeta+A", "Delete"):
        page.keyboard.press(key)
    page.keyboard.insert_text(text)


def node(page, name):
    return page.locator(f"[data-node={name}]")


@pytest.fixture
def in_chinese(visitor):
    return visitor(locale="zh-CN", reduced_motion="reduce")


def test_a_workflow_is_written_started_followed_and_begun_again(visitor, system):
    one = visitor().log_in("operator")
    page = one.open("/workflows")
    expect(page.get_by_text("No workflows yet")).to_be_visible()
    page.get_by_role("button", name="New workflow").click()
    expect(page.locator("[data-verdict=valid]")).to_be_visible()
    expect(node(page, "closing")).to_be_visible()
    write(page, FILL.replace("target: pour", "target: poor"))
    expect(page.locator("[data-fault='document.states.ask.transitions[0].target']")).to_contain_text("no state poor")
    expect(page.get_by_role("button", name="Deploy")).to_be_disabled()
    write(page, FILL)
    expect(node(page, "spilt")).to_be_visible()
    page.get_by_role("button", name="Deploy").click()
    expect(page).to_have_url(re.compile("/workflows/fill$"))

    page.get_by_label("litres").fill("9")
    page.get_by_role("button", name="Start an instance").click()
    expect(node(page, "ask")).to_contain_text("1")
    started = page.locator("[data-started]").get_attribute("data-started")
    page.locator("[data-started] a").click()
    expect(page.locator("[data-awaits=approved]")).to_be_visible()
    expect(node(page, "ask")).to_have_attribute("data-here", "true")
    expect(page.locator("[data-variable=litres]")).to_contain_text("9")
    with system.api() as api:  # by somebody else: the page is told of it
        told = {"type": "approved", "data": {"by": "Ann"}}
        api.post(f"/api/v1/instances/{started}/signal", json=told).raise_for_status()
    expect(page.locator("[data-failure=spilt]")).to_contain_text("9 l are too much")
    expect(node(page, "pour")).to_have_attribute("data-left", "succeeded")
    expect(page.locator("[data-action=log]")).to_have_attribute("data-succeeded", "true")
    page.get_by_role("combobox", name="From the state").click()
    page.get_by_role("option", name="pour").click()
    page.get_by_label("Variables that shall be otherwise").fill('{"litres": 4}')
    page.get_by_role("button", name="Begin again").click()
    expect(page.locator("h1 ~ [data-status=succeeded]")).to_be_visible()
    expect(page.locator("[data-kind=replayed]")).to_be_visible()

    end_one_and_deploy_the_next_version(page)


def end_one_and_deploy_the_next_version(page):
    """Start another instance, which the next version would break; it is terminated, and the workflow undeployed."""
    page.get_by_role("link", name="fill 1.0.0").click()
    page.get_by_role("button", name="Start an instance").click()
    expect(node(page, "ask")).to_contain_text("1")
    started = page.locator("[data-started]").get_attribute("data-started")
    page.get_by_role("tab", name="Document").click()
    expect(page.locator("[data-breaks='0']")).to_contain_text("Running instances: 1.")
    write(page, FILL.replace("initial_state: ask", "initial_state: query").replace("  ask:", "  query:"))
    page.get_by_role("button", name="Raise it").click()
    expect(page.locator("[data-breaks='1']")).to_contain_text(started)
    page.get_by_role("button", name="Deploy", exact=True).click()
    page.get_by_role("tab", name="Versions").click()
    expect(page.locator("[data-version='1.0.1']")).to_contain_text("starts instances")
    expect(page.get_by_label("Version 1.0.1")).to_contain_text("query:")
    page.get_by_role("button", name="Put 1.0.0 to work").click()
    expect(page.locator("[data-version='1.0.0']")).to_contain_text("starts instances")
    page.get_by_role("tab", name="Instances").click()
    page.locator(f"[data-instance='{started}']").get_by_role("link").first.click()
    page.get_by_role("textbox", name="Reason").fill("the tank is full")
    page.get_by_role("button", name="Terminate").click()
    expect(page.locator("h1 ~ [data-status=terminated]")).to_be_visible()
    expect(page.locator("[data-kind=ended]")).to_contain_text("the tank is full")
    page.get_by_role("link", name="fill 1.0.0").click()
    page.get_by_role("button", name="Undeploy").click()
    page.get_by_role("button", name="Really undeploy?").click()
    expect(page.get_by_text("No workflows yet")).to_be_visible()


def test_a_viewer_looks_at_all_of_a_workflow_and_changes_nothing(visitor, in_chinese, system):
    wait = {"type": "wait", "event": {"type": "go", "any_source": True}}
    each = {"type": "map", "items": "rooms", "iterator": {"initial_state": "in", "states": {"in": wait}}}
    states = {"both": {"type": "parallel", "branches": [{"initial_state": "each", "states": {"each": each}}]}}
    rooms = [{"name": "rooms", "type": "array", "default": [1, 2]}]
    document = {"id": "rounds", "variables": rooms, "initial_state": "both", "states": states}
    with system.api() as api:
        for version in ("1.0.0", "1.1.0"):
            told = {"document": {**document, "version": version}}
            api.put("/api/v1/workflows/rounds", json=told).raise_for_status()
        begun = api.post("/api/v1/workflows/rounds/start", json={}).raise_for_status().json()["id"]
        wait_for(lambda: api.get(f"/api/v1/instances/{begun}").json()["awaits"], 60, "the instance's wait")
    one = visitor(reduced_motion="reduce").log_in("viewer")
    page = one.open("/instances?workflow=rounds&status=waiting")
    page.locator(f"[data-instance='{begun}']").get_by_role("link").first.click()

    expect(page.locator("[data-node='both/0/each/*/in']")).to_contain_text("2")
    paths = ["/instances", f"/instances/{begun}", "/workflows", *(f"/workflows/rounds?view={view}" for view in VIEWS)]
    for path in paths:
        one.open(path)
        expect(page.locator("main section").first).to_be_visible()
        for name in ("Start an instance", "Terminate", "Tell it of an event", "Deploy", "Undeploy", "New workflow"):
            expect(page.get_by_role("button", name=name)).to_have_count(0)
        # The pictures have colours of their own.
        for scheme in ("dark", "light") if path in (paths[1], paths[3]) else ("light",):
            page.emulate_media(color_scheme=scheme)
            assert faults(page) == [], (path, scheme)
        page.set_viewport_size({"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        page.set_viewport_size({"width": 1280, "height": 860})
    page = in_chinese.log_in("viewer").open(f"/instances/{begun}")
    expect(page.get_by_role("heading", name="历史")).to_be_visible()
    one.page.goto("about:blank")  # else it may read of what is deleted now
    with system.api() as api:
        api.post(f"/api/v1/instances/{begun}/terminate", json={"reason": "seen"}).raise_for_status()
        api.delete("/api/v1/workflows/rounds").raise_for_status()


def test_one_at_a_gateway_tells_who_carries_it_out_and_what_the_gateway_answered(visitor, system):
    """By the stream: nothing is read again by hand. (A5, W7, W8)"""
    asks = {"type": "wait", "event": {"type": "approved", "any_source": True}, "transitions": [{"target": "end"}]}
    document = {"id": "at-site", "version": "1.0.0", "placement": "edge", "initial_state": "ask"}
    document["states"] = {"ask": asks, "end": {"type": "succeed"}}
    with system.api() as api:
        api.put("/api/v1/workflows/at-site", json={"document": document}).raise_for_status()
    one = visitor(reduced_motion="reduce").log_in("operator")
    page = one.open("/workflows")
    expect(page.locator("[data-workflow=at-site]")).to_contain_text("Gateways")
    page.get_by_role("link", name="at-site").click()
    expect(page.locator("[data-gateway='gw.site1'][data-status=applied]")).to_be_visible()
    page.get_by_role("button", name="Start an instance").click()
    expect(page.locator("[data-started]")).to_contain_text("Sent to its gateway")
    started = page.locator("[data-started]").get_attribute("data-started")
    page.locator("[data-started] a").click()
    expect(page.locator("main dl").first).to_contain_text("gw.site1")
    expect(node(page, "ask")).to_have_attribute("data-here", "true")

    page.get_by_role("combobox", name="Event").fill("approved")
    page.get_by_role("button", name="Tell it of an event").click()
    expect(page.locator("[data-request=signal][data-status=done]")).to_contain_text("approved")
    expect(page.locator("h1 ~ [data-status=succeeded]")).to_be_visible()
    with system.api() as api:
        api.post(f"/api/v1/instances/{started}/retry", json={"state": "nowhere"}).raise_for_status()
    expect(page.locator("[data-request=retry][data-status=refused]")).to_contain_text("no state nowhere")
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        assert faults(page) == [], scheme
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.set_viewport_size({"width": 1280, "height": 860})
    one.open("/instances?workflow=at-site")
    expect(page.locator(f"[data-instance='{started}']")).to_contain_text("gw.site1")
    with system.api() as api:
        api.delete("/api/v1/workflows/at-site").raise_for_status()
