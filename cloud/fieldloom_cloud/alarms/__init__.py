"""Alarms of devices: when each was active, who has acknowledged it, whom it must not wake, who is told next. (E7)"""
