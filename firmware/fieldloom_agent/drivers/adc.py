"""A voltage, or what a sensor tells by one: soil moisture, light, a battery behind a divider."""

from machine import ADC, Pin

# By the attenuation in dB, whole: the constants of machine.ADC. Up to 0.95, 1.25, 1.75 and 2.45 V on an ESP32.
_ATTENUATIONS = {0: 0, 2.5: 1, 6: 2, 11: 3}


class Driver:
    """Configuration: `name`, the metric; `pin`; `attenuation` (11) in dB: 0, 2.5, 6 or 11; `samples` (8), averaged.

    The value is volts * `scale` (1) + `offset` (0). Volts are what the chip's own calibration makes of the raw value.
    """

    measures = True

    def __init__(self, entry):
        self._name = entry.get("name", "adc")
        self._adc = ADC(Pin(entry["pin"]), atten=_ATTENUATIONS[entry.get("attenuation", 11)])
        self._scale = entry.get("scale", 1)
        self._offset = entry.get("offset", 0)
        self._samples = entry.get("samples", 8)

    def read(self):
        """Return the value."""
        total = 0
        for _ in range(self._samples):
            total += self._adc.read_uv()
        return {self._name: round(total / self._samples / 1e6 * self._scale + self._offset, 4)}
