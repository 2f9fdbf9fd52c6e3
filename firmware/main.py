"""Starts the agent; a release on trial that ends in an exception has failed. Never updated over the air."""

import json
import sys

import machine

try:
    from fieldloom_agent.agent import main

    main()
except Exception as error:
    sys.print_exception(error)
    try:
        with open("/slots.json") as file:
            state = json.load(file)
    except (OSError, ValueError):
        state = {}
    if "tried" in state and "failed" not in state:
        state["failed"] = repr(error)[:128]
        with open("/slots.json", "w") as file:
            json.dump(state, file)
        machine.reset()
