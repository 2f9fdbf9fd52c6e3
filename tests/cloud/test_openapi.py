"""The whole OpenAPI document against a running cloud, by schemathesis: good and bad data, every check. (A1)

`positive_data_acceptance` is left out: whether a site exists or a cursor is ours, no schema can say.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cloud.conftest import Cloud
from fixtures.processes import mosquitto, wait_for_port

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
SEED = 20261126
REVOKES = "/api/v1/tokens/{token_id}"  # tried last, since it may meet the token of the run itself

ENDLESS = "/api/v1/stream"  # an answer that has no end, which no client of a schema waits for


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    cloud = Cloud(tmp_path_factory.mktemp("served"))
    broker = mosquitto(cloud.data / "broker" / "mosquitto.conf", cloud.folder / "broker.log").start()
    try:
        wait_for_port(cloud.mqtt_port)
        cloud.start()
        with cloud.client(cloud.token) as api:
            api.post("/api/v1/devices", json={"id": "dev-1"}).raise_for_status()
        yield cloud
    finally:
        cloud.process.stop()
        broker.stop()


def attack(cloud, *options):
    command = [
        SCHEMATHESIS,
        "--config-file",
        CONFIGURATION,
        "run",
        f"http://127.0.0.1:{cloud.port}/openapi.json",
        "--no-color",
        "--mode",
        "all",
    ]
    command += ["--header", f"Authorization: Bearer {cloud.token}", "--exclude-checks", "positive_data_acceptance"]
    command += ["--seed", SEED, "--generation-database", "none", "--continue-on-failure", *options]
    command += ["--exclude-path", ENDLESS]
    # In a folder of its own: it keeps a cache where it runs.
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
        cwd=cloud.folder,
        env=os.environ | {"SCHEMATHESIS_HOOKS": str(Path(__file__).with_name("archives.py"))},
    )
    (cloud.folder / "schemathesis.txt").write_text(done.stdout + done.stderr)
    failures = [block[:2000] for block in re.split(r"\n_{9,}", done.stdout)[1:]]
    assert done.returncode == 0, "\n".join(
        [*failures, done.stderr[-2000:], f"all of it: {cloud.folder}/schemathesis.txt"]
    )
    assert cloud.process.popen.poll() is None
    return done.stdout


@pytest.mark.parametrize("phase", ["coverage", "fuzzing"])
def test_a_slice_of_all_requests_finds_no_fault(served, phase):
    attack(served, "--phases", phase, "--max-examples", "3", "--exclude-path", REVOKES)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_many_requests_find_no_fault(served):
    attack(served, "--max-examples", "300", "--exclude-path", REVOKES)
    attack(served, "--max-examples", "100", "--include-path", REVOKES)
