"""A device that is removed loses its rights in the transaction that removes it. (R1, P3, P8, C8, A3)"""

import pytest

from fieldloom_cli.identity import new_key_and_request
from fieldloom_cloud.credentials import service as credentials
from fieldloom_cloud.discoveries import service as discoveries
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.enrolment import service as enrolment
from fieldloom_cloud.errors import Unauthorized
from fieldloom_cloud.registry import service as registry
from fieldloom_runtime import down
from fieldloom_runtime.records import Discovered

GATEWAYS = {"gw.near": "default", "gw.far": "other"}


@pytest.fixture(scope="module", autouse=True)
def gateways(served):
    for gateway, site in GATEWAYS.items():
        served.within(lambda session, one=gateway, where=site: registry.add_gateway(session, one, where))


@pytest.fixture
def device(api, request):
    name = "gone-" + request.node.name.split("[")[0][-30:].replace("_", "-")
    api.post("/devices", json={"id": name, "site": "default", "type": "pump"}).raise_for_status()
    return name


def certified(api, device):
    made = api.post("/certificates", json={"csr": new_key_and_request(device)[1].decode()})
    assert made.status_code == 201, made.text
    return made.json()["serial"]


def waiting(served, gateway):
    """What goes down to a gateway, read as it does."""

    async def read(session):
        found = [one for one in await dispatch.waiting(session, lambda _: True) if one.gateway == gateway]
        return await credentials.told(session, served.app.state.authority.sealer, found)

    told = served.within(read)
    return [down.decode(body) for body in told if b'"kind":"command"' not in body.replace(b" ", b"")]


def remove(api, device, **headers):
    return api.delete(f"/devices/{device}", headers=headers)


def test_its_certificates_are_revoked_and_every_gateway_is_told(served, api, device):
    serials = {certified(api, device), certified(api, device)}

    assert remove(api, device).status_code == 204

    listed = api.get("/certificates", params={"subject": device}).json()["items"]
    assert {one["serial"] for one in listed} == serials
    assert all(one["revoked"] and one["reason"] == "cessation_of_operation" for one in listed)
    for gateway in GATEWAYS:
        held = [one.hold for one in waiting(served, gateway) if isinstance(one, down.Revoked)]
        assert device in held[-1], gateway


def test_its_credentials_are_revoked_and_the_gateways_of_its_site_are_told(served, api, device):
    for kind in ("http", "psk"):
        api.post("/credentials", json={"device": device, "kind": kind}).raise_for_status()

    remove(api, device).raise_for_status()

    listed = api.get("/credentials", params={"device": device}).json()["items"]
    assert [one["reason"] for one in listed] == ["cessation_of_operation"] * 2
    told = [one for one in waiting(served, "gw.near") if isinstance(one, down.Credential) and one.device == device]
    assert {one.id for one in told} == {one["id"] for one in listed}
    assert all((one.ends, one.secret) == (0, b"") for one in told)
    # A gateway that comes back with an old disk, of whatever site, hears it again.
    served.within(lambda session: credentials.restore(session, "gw.far"))
    assert device in {one.device for one in waiting(served, "gw.far") if isinstance(one, down.Credential)}


def test_its_claim_opens_nothing_even_if_it_is_registered_again(served, api, device):
    claim = api.post("/claims", json={"id": device}).json()["claim"]
    remove(api, device).raise_for_status()
    api.post("/devices", json={"id": device, "site": "default"}).raise_for_status()
    csr = new_key_and_request(device)[1].decode()

    with pytest.raises(Unauthorized):
        served.within(lambda session: enrolment.enrol(session, served.app.state.authority, device, claim, csr))


def test_its_commands_end_in_the_cloud_on_their_way_and_at_the_gateway(served, api, device):
    sent = api.post(f"/devices/{device}/commands", json={"type": "read"}).json()

    remove(api, device).raise_for_status()

    shown = api.get(f"/commands/{sent['id']}").json()
    assert (shown["status"], shown["error"]) == ("expired", "the device was removed")
    assert [type(one) for one in waiting(served, "gw.near")][-1] == down.Removed
    bodies = served.within(_bodies)
    assert not [body for body in bodies if sent["id"].encode() in body]


async def _bodies(session):
    return [one.body for one in await dispatch.waiting(session, lambda _: True)]


def test_no_site_enters_it_again_unless_somebody_approves_it(served, api, device):
    heard = [Discovered(device, 1, 2**41, adapter="broker", type="pump", firmware="2.0")]
    api.patch("/sites/default", json={"automatic_entry": True}).raise_for_status()
    remove(api, device).raise_for_status()

    served.within(lambda session: discoveries.meet(session, "gw.near", heard))
    api.patch("/sites/default", json={"automatic_entry": False}).raise_for_status()

    assert api.get(f"/devices/{device}").status_code == 404
    (kept,) = [
        one for one in api.get("/discoveries", params={"dismissed": True}).json()["items"] if one["device"] == device
    ]
    assert (kept["gateway"], kept["firmware"]) == ("gw.near", "2.0")
    assert api.post(f"/discoveries/{device}/approve").status_code == 201
    assert api.get(f"/devices/{device}").json()["firmware"] == "2.0"


def test_a_stale_version_takes_nothing_away(served, api, device):
    serial = certified(api, device)
    api.post("/credentials", json={"device": device, "kind": "http"}).raise_for_status()
    sent = api.post(f"/devices/{device}/commands", json={"type": "read"}).json()

    assert remove(api, device, **{"If-Match": '"7"'}).status_code == 412

    assert api.get(f"/certificates/{serial}").json()["revoked"] is None
    assert api.get("/credentials", params={"device": device}).json()["items"][0]["revoked"] is None
    assert api.get(f"/commands/{sent['id']}").json()["status"] == "pending"
    assert api.get(f"/devices/{device}").status_code == 200


def test_a_gateway_is_no_device(api):
    serial = certified(api, "gw.near")

    assert remove(api, "gw.near").status_code == 404
    assert api.get(f"/certificates/{serial}").json()["revoked"] is None
