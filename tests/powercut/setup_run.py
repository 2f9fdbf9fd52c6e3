"""`fieldloom cloud init`, to be recorded: settings, CA, database, the broker's configuration, a token.

python setup_run.py DATA
"""

import sys
from binascii import crc32
from pathlib import Path

from fieldloom_cloud import setup
from fieldloom_cloud.settings import DATABASE, Settings
from powercut.trace import mark


def init(data: Path) -> None:
    setup.init(data, Settings(), "default")


def written(data: Path) -> int:
    """Return a fingerprint of all files but the database's."""
    paths = sorted(path for path in data.rglob("*") if path.is_file() and not path.name.startswith(DATABASE))
    return crc32(b"\n".join(path.name.encode() + path.read_bytes() for path in paths if path.suffix != ".new"))


if __name__ == "__main__":
    init(Path(sys.argv[1]))
    mark("prepared", written(Path(sys.argv[1])))
