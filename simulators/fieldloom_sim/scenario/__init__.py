"""Scenarios: what a virtual fleet measures and what happens to it, the same for the same seed. (F7)"""
