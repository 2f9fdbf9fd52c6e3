"""An order of commands that the gateways of a site agree on. (D1, ADR 48)"""
