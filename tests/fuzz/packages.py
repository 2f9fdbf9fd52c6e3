"""Releases as they are uploaded, a .zip with its documents. (F5)"""

import datetime
import io
import zipfile

from fieldloom_cloud.errors import BadContent
from fieldloom_cloud.releases import package
from fixtures import releases
from fuzz.target import Target

NOW = datetime.datetime.now(datetime.UTC)


def parse(data: bytes) -> object:
    return package.opened(data, None, NOW)


def _zipped(members: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, body in members.items():
            packed.writestr(name, body)
    return archive.getvalue()


RELEASE = releases.release(files={"boot.py": b"import main\n", "lib/main.mpy": b"M" * 300})
TARGET = Target(parse, [_zipped(RELEASE), _zipped({})], (BadContent,))
