"""Commands: checked, executed once, answered; a repeated id is answered with what happened. (F3)"""

from fieldloom_contract.device import parse_command
from fieldloom_contract.errors import Rejected

PENDING = "pending"  # what an action returns whose result is known after the next start only


class Commands:
    """Executes by a table of actions, `action(parameters)` to a result or None; it raises Rejected before any effect.

    `report(id, status, result, error)` puts a result into the stream; `now()` is Unix ms or None.
    """

    def __init__(self, journal, actions, report, now):
        self._journal = journal
        self._actions = actions
        self._report = report
        self._now = now

    def resume(self):
        """Answer what a reset has interrupted: only a reboot has succeeded by it."""
        for entry in self._journal.interrupted:
            if entry["type"] == "reboot":
                self._end(entry, "succeeded", None, None)
            else:
                self._end(entry, "failed", None, "interrupted")
        self._journal.interrupted = []

    def take(self, payload):
        """Execute a command unless its id is known. Raises Rejected for what is no command at all."""
        command = parse_command(payload)
        entry = self._journal.find(command["id"])
        if entry:
            if entry["status"]:
                self._report(entry["id"], entry["status"], entry["result"], entry["error"])
            return
        now = self._now()
        if now is not None and command["expires"] <= now:
            self._report(command["id"], "expired", None, None)
            return
        self._execute(command)

    def _execute(self, command):
        action = self._actions.get(command["type"])
        if action is None:
            self._report(command["id"], "rejected", None, "type: " + command["type"] + " is not known to this board")
            return
        entry = self._journal.begin(command)
        self._report(command["id"], "accepted", None, None)
        try:
            result = action(command["parameters"])
            if result is not PENDING:
                self._end(entry, "succeeded", result, None)
        except Rejected as error:
            self._end(entry, "rejected", None, str(error))
        except Exception as error:  # a driver's fault is the command's result, not the board's end
            self._end(entry, "failed", None, repr(error))

    def _end(self, entry, status, result, error):
        self._journal.end(entry, status, result, error)
        self._report(entry["id"], status, result, error)
