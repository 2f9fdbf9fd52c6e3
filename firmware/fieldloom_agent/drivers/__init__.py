"""Sensors and actuators: a module each with a class `Driver`, chosen by the board's configuration. (F1)

A driver takes its entry of the configuration. It has `read()`, which returns {metric: value}; a sensor has `measures =
True` and goes into the telemetry; an actuator has `write(value)`, which raises ValueError for what it can't take.
"""


def load(entries):
    """Return the drivers of a configuration by their names."""
    drivers = {}
    for entry in entries:
        module = __import__("fieldloom_agent.drivers." + entry["driver"], None, None, ("Driver",))
        drivers[entry.get("name", entry["driver"])] = module.Driver(entry)
    return drivers
