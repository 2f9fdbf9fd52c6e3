"""Who may do what over HTTP: every route with the least role that may. A route without a row fails. (A2)

A row is added with its route; `OPEN` is for what needs no token.
"""

import re

import pytest

from cloud.conftest import Cloud

OPEN, VIEWER, OPERATOR, ADMIN = "open", "viewer", "operator", "admin"
ROLES = (VIEWER, OPERATOR, ADMIN)

RIGHTS = {
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/metrics"): OPEN,  # the API listens on loopback alone
    ("GET", "/api/v1/devices"): VIEWER,
    ("POST", "/api/v1/devices"): OPERATOR,
    ("POST", "/api/v1/devices/import"): OPERATOR,
    ("GET", "/api/v1/devices/export"): VIEWER,
    ("GET", "/api/v1/devices/{device_id}"): VIEWER,
    ("PATCH", "/api/v1/devices/{device_id}"): OPERATOR,
    ("DELETE", "/api/v1/devices/{device_id}"): OPERATOR,
    ("GET", "/api/v1/devices/{device_id}/latest"): VIEWER,
    ("GET", "/api/v1/devices/{device_id}/twin"): VIEWER,
    ("PATCH", "/api/v1/devices/{device_id}/twin"): OPERATOR,
    ("GET", "/api/v1/devices/{device_id}/commands"): VIEWER,
    ("POST", "/api/v1/devices/{device_id}/commands"): OPERATOR,
    ("GET", "/api/v1/commands/{command_id}"): VIEWER,
    ("GET", "/api/v1/devices/{device_id}/holds"): VIEWER,
    ("POST", "/api/v1/devices/{device_id}/holds"): OPERATOR,
    ("DELETE", "/api/v1/devices/{device_id}/holds/{actuator}"): OPERATOR,
    ("GET", "/api/v1/groups"): VIEWER,
    ("POST", "/api/v1/groups"): OPERATOR,
    ("GET", "/api/v1/groups/{group_id}"): VIEWER,
    ("PATCH", "/api/v1/groups/{group_id}"): OPERATOR,
    ("DELETE", "/api/v1/groups/{group_id}"): OPERATOR,
    ("GET", "/api/v1/groups/{group_id}/devices"): VIEWER,
    ("PUT", "/api/v1/groups/{group_id}/devices/{device_id}"): OPERATOR,
    ("DELETE", "/api/v1/groups/{group_id}/devices/{device_id}"): OPERATOR,
    ("POST", "/api/v1/groups/{group_id}/commands"): OPERATOR,
    ("PATCH", "/api/v1/groups/{group_id}/twin"): OPERATOR,
    ("GET", "/api/v1/rules"): VIEWER,
    ("GET", "/api/v1/rules/schema"): VIEWER,
    ("POST", "/api/v1/rules/validate"): VIEWER,
    ("POST", "/api/v1/rules/explain"): VIEWER,
    ("POST", "/api/v1/rules/backtest"): VIEWER,
    ("GET", "/api/v1/rules/{rule_id}"): VIEWER,
    ("PUT", "/api/v1/rules/{rule_id}"): OPERATOR,
    ("DELETE", "/api/v1/rules/{rule_id}"): OPERATOR,
    ("POST", "/api/v1/rules/{rule_id}/activate"): OPERATOR,
    ("GET", "/api/v1/rules/{rule_id}/firings"): VIEWER,
    ("GET", "/api/v1/workflows"): VIEWER,
    ("GET", "/api/v1/workflows/schema"): VIEWER,
    ("POST", "/api/v1/workflows/validate"): VIEWER,
    ("GET", "/api/v1/workflows/{workflow_id}"): VIEWER,
    ("GET", "/api/v1/workflows/{workflow_id}/graph"): VIEWER,
    ("PUT", "/api/v1/workflows/{workflow_id}"): OPERATOR,
    ("DELETE", "/api/v1/workflows/{workflow_id}"): OPERATOR,
    ("POST", "/api/v1/workflows/{workflow_id}/start"): OPERATOR,
    ("POST", "/api/v1/workflows/{workflow_id}/check"): VIEWER,
    ("GET", "/api/v1/instances"): VIEWER,
    ("GET", "/api/v1/instances/{instance_id}"): VIEWER,
    ("POST", "/api/v1/instances/{instance_id}/terminate"): OPERATOR,
    ("POST", "/api/v1/instances/{instance_id}/signal"): OPERATOR,
    ("POST", "/api/v1/instances/{instance_id}/retry"): OPERATOR,
    ("GET", "/api/v1/timeseries/rules"): VIEWER,
    ("GET", "/api/v1/timeseries/rules/{rule_id}"): VIEWER,
    ("PUT", "/api/v1/timeseries/rules/{rule_id}"): ADMIN,
    ("DELETE", "/api/v1/timeseries/rules/{rule_id}"): ADMIN,
    ("GET", "/api/v1/timeseries/retention"): VIEWER,
    ("PUT", "/api/v1/timeseries/retention"): ADMIN,
    ("GET", "/api/v1/types"): VIEWER,
    ("GET", "/api/v1/types/{type_id}"): VIEWER,
    ("PUT", "/api/v1/types/{type_id}"): OPERATOR,
    ("DELETE", "/api/v1/types/{type_id}"): OPERATOR,
    ("GET", "/api/v1/devices/{device_id}/misfits"): VIEWER,
    ("GET", "/api/v1/sites"): VIEWER,
    ("POST", "/api/v1/sites"): OPERATOR,
    ("PATCH", "/api/v1/sites/{site_id}"): ADMIN,
    ("GET", "/api/v1/sites/{site_id}/cluster"): VIEWER,
    ("GET", "/api/v1/alarms"): VIEWER,
    ("GET", "/api/v1/alarms/counts"): VIEWER,
    ("GET", "/api/v1/alarms/{alarm_id}"): VIEWER,
    ("POST", "/api/v1/alarms/{alarm_id}/acknowledge"): OPERATOR,
    ("POST", "/api/v1/alarms/{alarm_id}/clear"): OPERATOR,
    ("GET", "/api/v1/mutes"): VIEWER,
    ("POST", "/api/v1/mutes"): OPERATOR,
    ("DELETE", "/api/v1/mutes/{mute_id}"): OPERATOR,
    ("GET", "/api/v1/escalations"): VIEWER,
    ("PUT", "/api/v1/escalations/{escalation_id}"): ADMIN,
    ("DELETE", "/api/v1/escalations/{escalation_id}"): ADMIN,
    ("GET", "/api/v1/discoveries"): VIEWER,
    ("POST", "/api/v1/discoveries/{device_id}/approve"): OPERATOR,
    ("POST", "/api/v1/discoveries/{device_id}/dismiss"): OPERATOR,
    ("GET", "/api/v1/gateways"): VIEWER,
    ("POST", "/api/v1/gateways"): OPERATOR,
    ("GET", "/api/v1/certificates"): VIEWER,
    ("POST", "/api/v1/certificates"): OPERATOR,
    ("GET", "/api/v1/certificates/{serial}"): VIEWER,
    ("POST", "/api/v1/certificates/{serial}/revoke"): OPERATOR,
    ("POST", "/api/v1/claims"): OPERATOR,
    ("GET", "/api/v1/credentials"): VIEWER,
    ("POST", "/api/v1/credentials"): OPERATOR,
    ("POST", "/api/v1/credentials/{credential_id}/revoke"): OPERATOR,
    ("GET", "/api/v1/releases"): VIEWER,
    ("POST", "/api/v1/releases"): OPERATOR,
    ("GET", "/api/v1/releases/{release_id}"): VIEWER,
    ("GET", "/api/v1/releases/{release_id}/sbom"): VIEWER,
    ("DELETE", "/api/v1/releases/{release_id}"): OPERATOR,
    ("GET", "/crl.pem"): OPEN,  # so that anybody can refuse who is on it
    ("GET", "/api/v1/completeness"): VIEWER,
    ("GET", "/api/v1/telemetry"): VIEWER,
    ("GET", "/api/v1/events"): VIEWER,
    ("GET", "/api/v1/dead-letters"): VIEWER,
    ("GET", "/api/v1/workers"): VIEWER,
    ("GET", "/api/v1/latest"): VIEWER,
    ("GET", "/api/v1/stream"): VIEWER,
    ("POST", "/api/v1/session"): OPEN,  # who has the secret of a link logs in by it
    ("GET", "/api/v1/session"): VIEWER,
    ("DELETE", "/api/v1/session"): VIEWER,
    ("POST", "/api/v1/login-links"): ADMIN,
    ("GET", "/api/v1/audit"): ADMIN,
    ("GET", "/api/v1/audit/verification"): ADMIN,
    ("GET", "/api/v1/tokens"): ADMIN,
    ("POST", "/api/v1/tokens"): ADMIN,
    ("DELETE", "/api/v1/tokens/{token_id}"): ADMIN,
}
# What FastAPI serves beside the routes that it describes; its own manuals are switched off.
UNDESCRIBED = {("GET", "/openapi.json"): OPEN}

ROWS = [pytest.param(*row, least, id=" ".join(row)) for row, least in (RIGHTS | UNDESCRIBED).items()]
GUARDED = [pytest.param(*row, least, id=" ".join(row)) for row, least in RIGHTS.items() if least != OPEN]
# Bodies that get past the schema, so that what answers is the right and not the content.
BODIES = {
    ("POST", "/api/v1/devices"): {"id": "dev-9"},
    ("POST", "/api/v1/devices/{device_id}/commands"): {"type": "read"},
    ("POST", "/api/v1/devices/{device_id}/holds"): {"type": "cooling"},
    ("POST", "/api/v1/groups"): {"id": "group-9"},
    ("PATCH", "/api/v1/groups/{group_id}"): {"name": "nine"},
    ("POST", "/api/v1/groups/{group_id}/commands"): {"type": "read"},
    ("PATCH", "/api/v1/groups/{group_id}/twin"): {"desired": {}},
    ("POST", "/api/v1/rules/validate"): {"document": {}},
    ("POST", "/api/v1/rules/explain"): {"document": {}, "event": {"data": {"t": 1}}},
    ("POST", "/api/v1/rules/backtest"): {"document": {}},
    ("PUT", "/api/v1/rules/{rule_id}"): {"document": {}},
    ("POST", "/api/v1/rules/{rule_id}/activate"): {"mode": "shadow"},
    ("POST", "/api/v1/workflows/validate"): {"document": {}},
    ("PUT", "/api/v1/workflows/{workflow_id}"): {"document": {}},
    ("POST", "/api/v1/workflows/{workflow_id}/start"): {},
    ("POST", "/api/v1/workflows/{workflow_id}/check"): {"document": {}},
    ("POST", "/api/v1/instances/{instance_id}/terminate"): {"reason": "a test"},
    ("POST", "/api/v1/instances/{instance_id}/signal"): {"type": "go"},
    ("POST", "/api/v1/instances/{instance_id}/retry"): {},
    ("PUT", "/api/v1/timeseries/rules/{rule_id}"): {
        "source": "t",
        "aggregate": "sum",
        "window": "1h",
        "target": "t_1h",
        "look_back": "1d",
    },
    ("PUT", "/api/v1/timeseries/retention"): {"raw": None, "rolled": None},
    ("PUT", "/api/v1/types/{type_id}"): {},
    ("POST", "/api/v1/sites"): {"id": "site-9"},
    ("PATCH", "/api/v1/sites/{site_id}"): {"automatic_entry": True},
    ("POST", "/api/v1/gateways"): {"id": "gw.nine"},
    ("POST", "/api/v1/certificates"): {"csr": "none"},
    ("POST", "/api/v1/certificates/{serial}/revoke"): {},
    ("POST", "/api/v1/claims"): {"id": "nobody"},
    ("POST", "/api/v1/credentials"): {"device": "nobody", "kind": "http"},
    ("POST", "/api/v1/credentials/{credential_id}/revoke"): {},
    ("POST", "/api/v1/tokens"): {"name": "nine"},
    ("POST", "/api/v1/login-links"): {"role": "viewer"},
    ("POST", "/api/v1/session"): {"secret": "guessed"},
    ("PATCH", "/api/v1/devices/{device_id}"): {"name": "nine"},
    ("PATCH", "/api/v1/devices/{device_id}/twin"): {"desired": {}},
}


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    """A cloud and the secrets by role, with one that was revoked."""
    cloud = Cloud(tmp_path_factory.mktemp("doors")).start()
    secrets = {}
    with cloud.client(cloud.token) as api:
        for role in (*ROLES, "revoked"):
            made = api.post("/api/v1/tokens", json={"name": role, "role": role if role in ROLES else ADMIN}).json()
            secrets[role] = made["token"]
        assert api.delete(f"/api/v1/tokens/{made['id']}").status_code == 204
    yield cloud, secrets
    cloud.process.stop()


def knock(doors, method, path, authorization=None):
    cloud, _ = doors
    place = re.sub(r"\{\w+\}", "nobody", path)
    headers = {"Authorization": authorization} if authorization else {}
    body = BODIES.get((method, path))
    with cloud.client() as client, client.stream(method, place, headers=headers, json=body) as answer:
        if not answer.headers.get("Content-Type", "").startswith("text/event-stream"):  # which has no end
            answer.read()
        return answer


def test_every_route_has_its_row_and_every_row_its_route(doors):
    described = knock(doors, "GET", "/openapi.json").json()["paths"]

    routes = {(method.upper(), path) for path, operations in described.items() for method in operations}
    assert routes == set(RIGHTS)


@pytest.mark.parametrize(("method", "path", "least"), GUARDED)
def test_without_a_token_that_holds_nobody_enters(doors, method, path, least):
    _, secrets = doors
    admin = secrets[ADMIN]
    wrong = [None, "Bearer", "Bearer fl_wrong", f"Bearer {admin}x", f"Bearer {admin[:-1]}", f"Bearer x{admin}"]
    wrong += [f"Basic {admin}", admin, f"Bearer {secrets['revoked']}", "Bearer \u00e9", f"Bearer {admin},{admin}"]

    for authorization in wrong:
        encoded = authorization.encode("latin-1") if authorization else None
        answer = knock(doors, method, path, encoded)
        assert answer.status_code == 401, authorization
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(("method", "path", "least"), GUARDED)
def test_the_least_role_enters_and_no_lesser_one(doors, method, path, least):
    _, secrets = doors

    answers = {role: knock(doors, method, path, f"Bearer {secrets[role]}").status_code for role in ROLES}

    lesser = ROLES[: ROLES.index(least)]
    assert {role for role, status in answers.items() if status == 403} == set(lesser)
    assert 401 not in answers.values()
    assert max(answers.values()) < 500


@pytest.mark.parametrize(("method", "path", "least"), [row for row in ROWS if row.values[2] == OPEN])
def test_what_is_open_tells_no_secret(doors, method, path, least):
    cloud, secrets = doors

    answer = knock(doors, method, path)

    assert answer.status_code in ((200, 503) if method == "GET" else (401,))
    assert not [secret for secret in (*secrets.values(), cloud.token) if secret in answer.text]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/api/v1", "/api/v1/", "/api/v1/../tokens", "//api/v1/tokens"])
def test_there_is_no_other_door(doors, path):
    assert knock(doors, "GET", path).status_code == 404
