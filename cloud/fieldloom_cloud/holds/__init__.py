"""Who holds the actuators of devices, as their gateways tell. (E9)"""
