"""The gateways of a site as one: consensus and what stands on it. (D1 to D7)"""
