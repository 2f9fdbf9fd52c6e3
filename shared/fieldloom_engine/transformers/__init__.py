"""Chains of transformers: what becomes of a reading between a device and the uplink. Pure. (T1, T2, T3)"""
