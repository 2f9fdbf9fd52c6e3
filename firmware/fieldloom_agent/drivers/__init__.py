"""Sensors and actuators: a module each with a class `Driver`, chosen by the board's configuration. (F1)

A driver of one's own is a file put into this folder; the configuration names it as it names ours, by the file's name.
`Driver(entry)` takes its entry of the configuration and touches no bus: what is not plugged in yet may come later.

- `read()` returns {metric: value}; a sensor has `measures = True`, and its values go into the telemetry.
- `prepare()`, for a sensor that takes its time, begins a measurement and returns after how many ms `read` has it.
- `write(value)` makes it an actuator; it raises ValueError for what it can't take.
- `set(wanted)` takes what the twin wants of it under `drivers` and its name, at every start too; it raises ValueError.
- `run(agent)` is a coroutine that runs beside the agent, as for a contact that is told when it changes.

What raises in any of them is told once by the event `driver.failed`, and stops no other driver.
"""

import asyncio


def load(agent, entries):
    """Return the drivers of a configuration by their names, and [name, error] of each that can't start."""
    drivers, faults = {}, []
    for entry in entries:
        name = entry.get("name", entry["driver"])
        try:
            module = __import__("fieldloom_agent.drivers." + entry["driver"], None, None, ("Driver",))
            driver = module.Driver(entry)
        except Exception as error:
            faults.append((name, error))
            continue
        drivers[name] = driver
        if hasattr(driver, "run"):
            asyncio.create_task(_run(agent, name, driver))
    return drivers, faults


async def _run(agent, name, driver):
    try:
        await driver.run(agent)
    except Exception as error:
        agent.fail(name, error)
