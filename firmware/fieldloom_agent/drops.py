"""What was dropped and nobody was told of yet, on flash: [boot, from, to, reason] each. (F2)"""

import json
import os

from fieldloom_contract.board_topics import EVENT

STORE = "/dropped.json"


def stored():
    """Return what is kept."""
    try:
        with open(STORE) as file:
            return json.load(file)
    except (OSError, ValueError):
        return []


def store(drops):
    """Keep drops, in place of those before."""
    if drops:
        with open(STORE, "w") as file:
            json.dump(drops, file)
    else:
        try:
            os.remove(STORE)
        except OSError:
            pass


def report(buffer, stamp):
    """Tell in the stream what was dropped; `stamp()` dates the events."""
    for _ in range(len(buffer.dropped)):  # a report in a full log may push out more, for the next time
        boot, first, last, reason = buffer.dropped.pop(0)
        field, at = stamp()
        data = {"boot": boot, "from": first, "to": last, "reason": reason}
        buffer.append(EVENT, {field: at, "type": "records.dropped", "data": data})
    buffer.flush()
    store(buffer.dropped)
