"""Code that is needed now and then is loaded for the call and let go after it: a board has no memory for all of it."""

import gc
import sys

PACKAGE = "fieldloom_agent"
OURS = "fieldloom_"

_stay = ()  # what was loaded before the first call
_depth = 0


def call(module, function, *arguments):
    """Return what a function of one of the agent's modules returns.

    What was loaded for it, also by calls in it, is forgotten afterwards; that takes no memory, of which it may have
    taken the last.
    """
    global _stay, _depth
    _stay = _stay or tuple([name for name in sys.modules if name.startswith(OURS)])
    gc.collect()
    _depth += 1
    try:
        return getattr(__import__(PACKAGE + "." + module, None, None, (function,)), function)(*arguments)
    finally:
        _depth -= 1
        if not _depth:
            while _forget_one():
                pass
            gc.collect()


def _forget_one():
    for name in sys.modules:
        if name.startswith(OURS) and name not in _stay:
            del sys.modules[name]
            parent, _, name = name.rpartition(".")
            if parent in sys.modules and hasattr(sys.modules[parent], name):
                delattr(sys.modules[parent], name)
            return True
    return False
