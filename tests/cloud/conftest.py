"""A cloud process with its own data folder, and clients with tokens."""

import httpx2
import pytest

from fixtures.commands import fieldloom
from fixtures.processes import FIELDLOOM, Process, free_port, wait_for_port


class Cloud:
    """One cloud process, prepared by the command as a user would."""

    def __init__(self, folder, *options):
        self.folder = folder
        self.data = folder / "cloud"
        self.port = free_port()
        self.mqtt_port = free_port()
        self.local_port = free_port()
        self.est_port = free_port()
        ports = ("--port", self.port, "--mqtt-port", self.mqtt_port, "--local-port", self.local_port)
        fieldloom("cloud", "init", "--data", self.data, *ports, "--est-port", self.est_port, *options)
        self.process = Process([FIELDLOOM, "cloud", "serve", "--data", self.data], folder / "cloud.log")

    def start(self):
        self.process.start()
        wait_for_port(self.port)
        return self

    @property
    def token(self):
        return (self.data / "admin.token").read_text().strip()

    def client(self, token=None):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=20)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    cloud = Cloud(tmp_path_factory.mktemp("cloud")).start()
    yield cloud
    cloud.process.stop()


@pytest.fixture
def api(cloud):
    with cloud.client(cloud.token) as client:
        yield client
