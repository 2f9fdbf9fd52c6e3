"""Why a process does not start.

StartFailed    one line that says what is wrong and what to do about it
"""


class StartFailed(Exception):  # noqa: N818 - it reads as what happened
    """A process or one of its parts could not start; `what` is wrong, `way_out` says what to do. (V3)"""

    def __init__(self, what: str, way_out: str) -> None:
        super().__init__(f"{what}: {way_out}")
        self.what = what
        self.way_out = way_out
