"""The station in the Wi-Fi, where the configuration names one, and its address; and what the chip tells of itself."""


def _station():
    import network

    return network.WLAN(network.STA_IF)


def connect(wifi, address):
    """Begin to join the network unless the board is in it; the link's own attempts wait for it."""
    if wifi:
        station = _station()
        station.active(True)
        if not station.isconnected():
            if address:
                station.ifconfig((address["ip"], address["netmask"], address["router"], address["dns"]))
            station.connect(wifi["ssid"], wifi.get("key"))


def leave():
    """Leave the network for another one, with an address by DHCP unless one is given."""
    station = _station()
    station.active(True)
    station.disconnect()
    station.ifconfig("dhcp")


def facts(wifi):
    """Return {"rssi" (dBm, None without Wi-Fi), "cause" (of the last reset), "idf_free" (bytes outside our heap)}."""
    import esp32
    import machine

    regions = esp32.idf_heap_info(esp32.HEAP_DATA)
    return {
        "rssi": _station().status("rssi") if wifi and _station().isconnected() else None,
        "cause": machine.reset_cause(),
        "idf_free": sum([region[1] for region in regions]),
    }
