"""`adapters.yaml`, as an operator writes it. (C6)"""

import tempfile
from pathlib import Path

from fieldloom_gateway.adapters import factory
from fieldloom_runtime.errors import StartFailed
from fuzz.target import Target

_folder = tempfile.TemporaryDirectory()


def parse(data: bytes) -> object:
    path = Path(_folder.name) / factory.FILE
    path.write_bytes(data)
    return factory.load(path.parent)


TARGET = Target(
    parse,
    [
        b"adapters:\n  - protocol: mqtt\n    host: broker\n    port: 8883\n    client_id: gw\n    ca: /dev/null\n",
        b"adapters: [{protocol: coap, name: field}, {protocol: http, port: 8443}]\n",
        b"adapters:\n  - {protocol: amqp, host: 127.0.0.1, tls: false, password_file: secret}\n",
    ],
    (StartFailed,),
    [
        b"adapters:\n - " + b"[" * 3000,
        b"adapters: [{a: 2026-99-99}]",
        b"adapters: [{a: !!bool red}]",
        b"adapters: [{a: !!timestamp now}]",
        b"adapters: [{a: !!int ''}]",
        b"adapters: [{protocol: 0x" + b"f" * 9000 + b"}]",
    ],
)
