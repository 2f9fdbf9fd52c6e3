"""Commands of one moment each get a number of their gateway's stream; those that hold say how long. (A3, E9)"""

from concurrent.futures import ThreadPoolExecutor

import pytest

SENDERS = 8
COMMANDS = 24


def test_commands_of_many_senders_at_once_are_all_taken(api):
    assert api.post("/gateways", json={"id": "gw.busy", "site": "default"}).status_code == 201
    assert api.post("/devices", json={"id": "c-1", "site": "default"}).status_code == 201

    def send(_):
        return api.post("/devices/c-1/commands", json={"type": "read"}).status_code

    with ThreadPoolExecutor(SENDERS) as senders:
        answers = list(senders.map(send, range(COMMANDS)))

    assert answers == [202] * COMMANDS
    assert len(api.get("/devices/c-1/commands", params={"limit": 100}).json()["items"]) == COMMANDS


@pytest.mark.parametrize("path", ["holds", "commands"])
def test_a_hold_ends_when_it_says(api, path):
    device = f"held-{path}"
    api.post("/devices", json={"id": device, "site": "default"}).raise_for_status()
    moved = {"type": "write", "parameters": {"name": "relay", "value": True}}

    def asked(expires):
        hold = {"reason": "maintenance", "expires": expires}
        body = {**moved, **hold} if path == "holds" else {**moved, "hold": hold}
        return api.post(f"/devices/{device}/{path}", json=body)

    sent, late = asked("2100-01-01T00:00:00Z"), asked("2020-01-01T00:00:00Z")

    assert sent.status_code == 202
    (shown,) = api.get(f"/devices/{device}/commands").json()["items"]
    assert (shown["id"], shown["parameters"]) == (sent.json()["id"], moved["parameters"])
    assert late.json()["errors"] == [{"path": "hold.expires", "reason": "is over"}]


def test_what_is_sent_down_goes_once_it_is_committed_and_what_is_refused_wakes_nobody(served, api, monkeypatch):
    woken = []
    monkeypatch.setattr(served.app.state, "wake_downlink", lambda: woken.append(True))
    api.post("/devices", json={"id": "w-1", "site": "default"}).raise_for_status()

    api.post("/devices/w-1/commands", json={"type": "read"}).raise_for_status()
    refused = api.post("/devices/nobody/commands", json={"type": "read"})

    assert (refused.status_code, woken) == (404, [True])
