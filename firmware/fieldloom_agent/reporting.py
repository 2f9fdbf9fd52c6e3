"""Report on change: which of the values just measured are worth a record. Pure; the time is an argument. (F4)

Rules go by metric, the rule of "*" holds for a metric that has none of its own, and without any it is always reported:

- `deadband`, in the metric's unit, or `deadband_percent`, of the value reported last: how much a change has to exceed;
- `min`, ms: it is not reported more often; a change that comes sooner waits until then;
- `max`, ms: it is reported at the latest after this time, as a sign of life.
"""

from fieldloom_contract.fields import is_finite


class Reporting:
    """What was reported last, by metric. Heap: about 100 bytes a metric."""

    def __init__(self, rules):
        self._rules = rules
        self._last = {}  # metric: (value, at)

    def due(self, values, now):
        """Return those of the values that are to be reported at `now` (ms), and count them as reported."""
        told = {}
        for metric, value in values.items():
            rule = self._rules.get(metric, self._rules.get("*"))
            if rule is None:
                told[metric] = value
            elif metric not in self._last or _is_due(rule, self._last[metric], value, now):
                told[metric] = value
                self._last[metric] = (value, now)
        return told


def load(rules):
    """Return a Reporting."""
    return Reporting(rules)


def _is_due(rule, last, value, now):
    reported, at = last
    if now - at < rule.get("min", 0):
        return False
    if "max" in rule and now - at >= rule["max"]:
        return True
    if not (_is_number(reported) and _is_number(value)):
        return _known(reported) != _known(value)
    percent = rule.get("deadband_percent")
    band = rule.get("deadband", 0) if percent is None else abs(reported) * percent / 100
    return abs(value - reported) > band


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and is_finite(value)


def _known(value):
    """Return the value, or None for what the encoder sends as null: NaN differs from itself."""
    return None if isinstance(value, float) and not is_finite(value) else value
