"""What schemathesis sends as a .zip, loaded by itself (`SCHEMATHESIS_HOOKS`): real archives, spoilt ones and noise."""

import io
import zipfile

import schemathesis
from hypothesis import strategies as st

NAMES = st.sampled_from(["manifest", "manifest.sig", "key", "key.sig", "sbom.cdx.json", "files/main.py", "../evil"])


def _zipped(members):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, body in members.items():
            packed.writestr(name, body)
    return archive.getvalue()


archives = st.dictionaries(NAMES, st.binary(max_size=400)).map(_zipped)
spoilt = st.tuples(archives, st.integers(0, 400), st.binary(max_size=8)).map(
    lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + len(parts[2]) :]
)
schemathesis.openapi.media_type("application/zip", archives | spoilt | st.binary())


@schemathesis.serializer("application/zip")
def as_it_is(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode()
