"""The demo's gateways and boards as the cloud knows them: registered once, certificates issued from requests. (P2)"""

from pathlib import Path

import httpx2
from cryptography.hazmat.primitives.asymmetric import ec

from fieldloom_build.personal import Identity
from fieldloom_cloud.pki.authority import new_request, write_key


class Identities:
    """Identities in a folder each; what is there already is not issued again."""

    def __init__(self, folder: Path, api: httpx2.Client) -> None:
        self._folder = folder
        self._api = api

    def gateway(self, name: str) -> Identity:
        """Return a gateway's, registered and with a certificate that is good for a server on loopback."""
        return self._enrolled("gateways", name, ["127.0.0.1", "localhost"])

    def device(self, name: str) -> Identity:
        """Return a board's."""
        return self._enrolled("devices", name, [])

    def _enrolled(self, kind: str, name: str, hosts: list[str]) -> Identity:
        folder = (self._folder / kind / name).resolve()
        identity = Identity(name, folder / "cert.pem", folder / "key.pem", folder / "ca.pem")
        if identity.ca.exists():
            return identity
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        write_key(identity.key, key)
        registered = self._api.post(f"/api/v1/{kind}", json={"id": name})
        if registered.status_code != httpx2.codes.CONFLICT:  # an earlier start was ended just here
            registered.raise_for_status()
        body = {"csr": new_request(name, key), **({"hosts": hosts} if hosts else {})}
        issued = self._api.post("/api/v1/certificates", json=body).raise_for_status().json()
        identity.cert.write_text(issued["certificate"])
        identity.ca.write_text(issued["ca"])
        return identity
