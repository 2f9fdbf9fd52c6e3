"""Code that is needed now and then is loaded for the call and let go after it: a board has no memory for all of it."""

import gc
import sys

PACKAGE = "fieldloom_agent"
OURS = "fieldloom_"  # the contract's modules too


def call(module, function, *arguments):
    """Return what a function of one of the agent's modules returns; what was loaded for it is forgotten afterwards."""
    before = list(sys.modules)
    gc.collect()
    try:
        return getattr(__import__(PACKAGE + "." + module, None, None, (function,)), function)(*arguments)
    finally:
        for name in list(sys.modules):
            if name not in before and name.startswith(OURS):
                del sys.modules[name]
                package, _, name = name.partition(".")
                if hasattr(sys.modules[package], name):
                    delattr(sys.modules[package], name)
        del before
        gc.collect()
