"""Commands that are sent at the same moment each get a number of their gateway's stream. (A3)"""

from concurrent.futures import ThreadPoolExecutor

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
