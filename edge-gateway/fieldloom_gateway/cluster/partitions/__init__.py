"""Which gateway of a site acts for a device: partitions, leases and their fenced hand-over. (D4, ADR 55)"""
