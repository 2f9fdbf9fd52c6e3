"""Rules that remember events over time, in a cluster: judged at the owner of a device's partition. (D4, E8, ADR 66)

Each gateway has both sides. As the receiver it keeps in `rows` what such rules are to hear, with the record that it
came of, and hands it over (`handing`), also to itself, until a checkpoint covers it. As the owner it judges what it is
handed (`homes`, in a transaction of its own), and writes checkpoints into the map that the site's gateways share
(`checkpoints`); `runtime` is the tenant of its partitions. `service` is what rules know of both.
"""
