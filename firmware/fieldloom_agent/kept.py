"""What commands have changed since the configuration came, /settings.json, and that configuration, /config.json."""

import json

CHANGES = "/settings.json"


def configuration():
    """Return the configuration as it was flashed. Raises OSError."""
    with open("/config.json", "rb") as file:
        return file.read()


def changes():
    """Return what was changed."""
    try:
        with open(CHANGES) as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def change(name, value, **others):
    """Keep a changed setting over the next start, and others in the same write."""
    changed = changes()
    changed[name] = value
    changed.update(others)
    with open(CHANGES, "w") as file:
        json.dump(changed, file)


def prefer(settings, gateway):
    """Put a gateway first and say whether it is known."""
    for entry in settings.gateways:
        if entry["id"] == gateway:
            settings.gateways.remove(entry)
            settings.gateways.insert(0, entry)
            return True
    return False
