"""A map that all gateways of a site hold and change in one order. (D2, ADR 51)"""
