"""Who offers what at a site, and whether it works. (D5, ADR 51)"""
