"""Has asyncio be its core: the package around it holds each name of the core once more, in 1.1 KB. (F1)"""

import sys
from asyncio import core


def _beside(name):
    """Return what asyncio has beside its core, as its package does. Raises AttributeError."""
    for module in ("funcs", "event", "lock", "stream"):
        found = __import__("asyncio." + module, None, None, (module,))
        if hasattr(found, name):
            return getattr(found, name)
    raise AttributeError(name)


core.core = core
core.__path__ = sys.modules["asyncio"].__path__
core.__getattr__ = _beside
sys.modules["asyncio"] = core
