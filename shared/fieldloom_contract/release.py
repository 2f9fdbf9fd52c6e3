"""What a release of the firmware tells of itself: manifest, release key and root, each a text of short lines. (F5)

The offline root signs the release key, the release key signs the manifest, the manifest names every file by its
SHA-256. Nothing of a document is to be believed before its signature was found right. Here is all of it; a board has
no memory for that, and imports the parts.
"""

from fieldloom_contract.entries import (
    CONTENT,
    DOCUMENTS,
    KEY,
    KEY_SIGNATURE,
    MANIFEST,
    MANIFEST_BYTES,
    MANIFEST_SIGNATURE,
    MAX_FILE_BYTES,
    MAX_PATH,
    Entry,
    path,
    read_entry,
)
from fieldloom_contract.manifest import Head, board_name, parse_id, read_head, release_id, shown, version
from fieldloom_contract.signing import EXPONENT, KEY_BYTES, SIGNATURE_BYTES, Key, is_signed, parse_key, parse_root

__all__ = [
    "CONTENT",
    "DOCUMENTS",
    "EXPONENT",
    "KEY",
    "KEY_BYTES",
    "KEY_SIGNATURE",
    "MANIFEST",
    "MANIFEST_BYTES",
    "MANIFEST_SIGNATURE",
    "MAX_FILE_BYTES",
    "MAX_PATH",
    "SIGNATURE_BYTES",
    "Entry",
    "Head",
    "Key",
    "board_name",
    "is_signed",
    "parse_id",
    "parse_key",
    "parse_root",
    "path",
    "read_entry",
    "read_head",
    "release_id",
    "shown",
    "version",
]
