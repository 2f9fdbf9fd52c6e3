"""Workflows: what is done step by step when something starts them. Pure. (W1 to W4)"""
