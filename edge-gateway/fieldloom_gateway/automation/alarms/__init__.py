"""A site's alarms: `service` keeps what begins and ends them, `telling` tells it to the site's other gateways. (E7)"""
