"""What is in a release, as a bill of materials in CycloneDX 1.5 (https://cyclonedx.org/docs/1.5/json/). (A17)"""

import hashlib
import json
from typing import Any

from fieldloom_build import umqtt
from fieldloom_contract.release import Entry, Head, release_id, shown

SPECIFICATION = "1.5"
LICENCE = [{"license": {"id": "Apache-2.0"}}]


def make(head: Head, entries: list[Entry], micropython: str) -> bytes:
    """Return the document; `micropython` names the build that the board runs. The same release makes the same bytes."""
    name, number = release_id(head), shown(head.version)
    files = [_file(entry) for entry in entries]
    told: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "version": 1,
        "serialNumber": f"urn:uuid:{_uuid(name, entries)}",
        "metadata": {
            "component": {"type": "firmware", "bom-ref": name, "name": f"fieldloom-firmware-{head.board}"}
            | {"version": number, "licenses": LICENCE}
        },
        "components": [_umqtt(), _platform(micropython, head.mpy), *files],
        "dependencies": [{"ref": name, "dependsOn": ["umqtt", "micropython", *(file["bom-ref"] for file in files)]}],
    }
    return (json.dumps(told, indent=2) + "\n").encode()


def _file(entry: Entry) -> dict[str, Any]:
    digest = [{"alg": "SHA-256", "content": entry.sha256}]
    return {"type": "file", "bom-ref": f"file:{entry.path}", "name": entry.path, "hashes": digest}


def _umqtt() -> dict[str, Any]:
    name, _, number = umqtt.REQUIREMENT.partition("==")
    return {
        "type": "library",
        "bom-ref": "umqtt",
        "name": name,
        "version": number,
        "purl": f"pkg:pypi/{name.lower()}@{number}",
        "hashes": [{"alg": "SHA-256", "content": umqtt.SHA256}],
        "licenses": [{"license": {"id": "MIT"}}],
    }


def _platform(build: str, mpy: str) -> dict[str, Any]:
    """MicroPython is on the board already and no part of a release; which one, the board tells."""
    return {
        "type": "platform",
        "bom-ref": "micropython",
        "name": "micropython",
        "version": "1.22 or later",
        "description": f"{build}, which takes .mpy {mpy}; on the board already, with its mbedTLS and lwIP",
        "scope": "excluded",
        "licenses": [{"license": {"id": "MIT"}}],
    }


def _uuid(name: str, entries: list[Entry]) -> str:
    """Return a UUID of version 8 (RFC 9562) of what the release holds."""
    digest = hashlib.sha256(name.encode() + b"".join(entry.sha256.encode() for entry in entries)).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
