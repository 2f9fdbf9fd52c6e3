"""Network settings on trial: what reaches no gateway is given up, whatever happens meanwhile. (F11)"""

import pytest

from e2e.renewing import flash
from e2e.test_boards import execute, wait_for
from fieldloom_build.personal import Identity


@pytest.fixture
def system(shared_system):
    return shared_system


@pytest.fixture
def fleet(shared_fleet):
    return shared_fleet


@pytest.fixture
def board(system, fleet, request):
    """A board of its own for each test, at the first gateway, that reports."""
    name = request.node.callspec.id if hasattr(request.node, "callspec") else request.node.name[5:30]
    name = name.replace(" ", "-")
    fleet.add(system.enrol_device(name), system.gateways[:1], interval=200)
    wait_for(lambda: max(fleet.acknowledged(name).values(), default=0) > 3, 40, "records")
    yield name
    fleet.off(name)


def listed(gateway, **changes):
    return {"id": gateway.id, "host": gateway.host, "port": gateway.port} | changes


def reports_on(fleet, board):
    before = sum(fleet.acknowledged(board).values())
    wait_for(lambda: sum(fleet.acknowledged(board).values()) > before + 3, 40, "records")


def test_settings_that_reach_a_gateway_stay_over_a_reset(system, fleet, board):
    wanted = {
        "wifi": {"ssid": "virtual-2", "key": "open sesame"},
        "address": {"ip": "10.0.0.9", "netmask": "255.255.255.0", "router": "10.0.0.1", "dns": "10.0.0.1"},
        "gateways": [listed(system.gateways[1])],
    }
    with system.api() as api:
        told = execute(api, board, "set_network", seconds=40, **wanted)
    assert (told["status"], told["result"]) == ("succeeded", {"gateway": "gw.site2"})

    printed = fleet.console(board).count("connected to gw.site2")
    fleet.reset(board)
    wait_for(lambda: fleet.console(board).count("connected to gw.site2") > printed, 30, "the new gateway after a reset")
    reports_on(fleet, board)


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param({"wifi": {"ssid": "nowhere"}}, id="no such network"),
        pytest.param(
            {"address": {"ip": "172.16.0.9", "netmask": "255.255.0.0", "router": "172.16.0.1", "dns": "172.16.0.1"}},
            id="a foreign address",
        ),
        pytest.param({"gateways": [{"id": "gw.gone", "host": "127.0.0.1", "port": 9}]}, id="no gateway there"),
        pytest.param(
            {"wifi": {"ssid": "nowhere"}, "gateways": [{"id": "gw.gone", "host": "gateway.example", "port": 8883}]},
            id="look-ups that block",
            marks=pytest.mark.chaos,
        ),
    ],
)
def test_settings_that_reach_no_gateway_are_given_up(system, fleet, board, wanted):
    with system.api() as api:
        told = execute(api, board, "set_network", seconds=60, timeout=5000, **wanted)

    assert (told["status"], told["error"]) == ("failed", "no gateway was reached with them in 5 s")
    reports_on(fleet, board)
    assert fleet.status()[board]["starts"] == 1


def test_a_reset_during_the_trial_brings_the_old_settings_back(system, fleet, board):
    with system.api() as api:
        command = {"type": "set_network", "parameters": {"wifi": {"ssid": "nowhere"}, "timeout": 600_000}}
        sent = api.post(f"/api/v1/devices/{board}/commands", json=command).json()
        wait_for(lambda: "OSError(113," in fleet.console(board), 30, "the trial")
        fleet.reset(board)
        told = wait_for(lambda: failed(api, sent["id"]), 60, "the result")

    assert told["error"] == "interrupted"
    reports_on(fleet, board)


def failed(api, command):
    told = api.get(f"/api/v1/commands/{command}").json()
    return told if told["status"] == "failed" else None


def test_a_board_that_is_flashed_with_other_settings_has_those(system, fleet, board):
    with system.api() as api:
        execute(api, board, "set_network", seconds=40, gateways=[listed(system.gateways[1])])
    fleet.off(board)
    assert b'"network"' in flash(fleet, board)["/settings.json"]

    printed = fleet.console(board).count("connected to gw.site1")
    folder = system.folder / board
    identity = Identity(board, folder / "cert.pem", folder / "key.pem", folder / "ca.pem")
    fleet.add(identity, system.gateways[:1], interval=201)

    wait_for(lambda: fleet.console(board).count("connected to gw.site1") > printed, 40, "the configured gateway")


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        pytest.param({}, "parameters: name none of wifi, address, gateways", id="nothing"),
        pytest.param({"gateways": []}, "gateways: must be a list of at least one", id="no gateways"),
        pytest.param({"wifi": {}, "colour": 1}, "colour: is not known", id="a colour"),
    ],
)
def test_settings_that_make_no_sense_are_rejected(system, board, wanted, error):
    with system.api() as api:
        told = execute(api, board, "set_network", **wanted)

    assert (told["status"], told["error"]) == ("rejected", error)
