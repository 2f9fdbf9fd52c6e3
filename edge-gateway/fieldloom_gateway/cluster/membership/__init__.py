"""Which gateways are a site's, and in what state. (D3, D6, ADR 51)"""
