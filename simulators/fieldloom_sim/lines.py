"""A process of ours that is asked and answers by a line of JSON each, and that ends when its input ends. (F7)"""

import json
import subprocess
from pathlib import Path
from typing import Any


class ServantFailed(Exception):  # noqa: N818 - it reads as what happened
    """The process has ended."""


class Servant:
    """The process of `command`, from its start on. Used from one thread."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self._name = name
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return its answer. Raises ServantFailed."""
        if self._process.stdin is None or self._process.stdout is None:
            raise ServantFailed(f"the {self._name} was started without pipes")
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ServantFailed(f"the {self._name} has ended ({error})") from None
        line = self._process.stdout.readline()
        if not line:
            raise ServantFailed(f"the {self._name} has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """End it."""
        if self._process.stdin and self._process.stdout:
            self._process.stdin.close()
            self._process.wait(10)
            self._process.stdout.close()
