"""The cluster of a demo's gateways: all are known before the first starts, so that none has to be let in. (D3)"""

import json
import secrets
import shutil
from pathlib import Path

from fieldloom_gateway.cluster.node import FOLDER
from fieldloom_gateway.settings import ClusterSettings
from fieldloom_runtime import files
from fieldloom_sim.demo.ports import Ports

SECRET_BYTES = 32


class Cluster:
    """What the gateways of a site, by the names of their folders, are told of each other."""

    def __init__(self, data: Path, ports: Ports, gateways: dict[str, str]) -> None:
        """`gateways` are their ids by the names of their folders."""
        self._ports = ports
        self._secret = data / "cluster.secret"
        self._addresses = {name: f"127.0.0.1:{ports.get(f'{folder}-cluster')}" for folder, name in gateways.items()}
        self._ids = gateways
        if len(gateways) > 1:
            self._begin(data)

    def settings(self, folder: str) -> ClusterSettings | None:
        """Return a gateway's place, None where it is the only one."""
        if len(self._ids) == 1:
            return None
        return ClusterSettings(
            address=self._addresses[self._ids[folder]],
            admission_port=self._ports.get(f"{folder}-admission"),
            members=self._addresses,
            secret=self._secret,
        )

    def _begin(self, data: Path) -> None:
        """Begin the cluster anew where it has other members, or other addresses, than at the last start."""
        known, told = data / "cluster.json", json.dumps(self._addresses)
        if known.exists() and known.read_text() == told:
            return
        for folder in self._ids:
            shutil.rmtree(data / folder / FOLDER, ignore_errors=True)
        files.write(self._secret, secrets.token_hex(SECRET_BYTES) + "\n")
        files.write(known, told)
