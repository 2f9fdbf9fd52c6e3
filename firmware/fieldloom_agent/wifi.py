"""The station in the Wi-Fi, where the configuration names one: {"ssid", "key"}."""


def _station():
    import network

    return network.WLAN(network.STA_IF)


def connect(wifi):
    """Begin to join the network unless the board is in it; the link's own attempts wait for it."""
    if wifi:
        station = _station()
        station.active(True)
        if not station.isconnected():
            station.connect(wifi["ssid"], wifi.get("key"))


def rssi(wifi):
    """Return the signal in dBm, None without Wi-Fi."""
    return _station().status("rssi") if wifi and _station().isconnected() else None
