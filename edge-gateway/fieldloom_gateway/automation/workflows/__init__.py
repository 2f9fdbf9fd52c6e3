"""Workflows at work in a gateway. (W4, W6, W7, W8; ADR 57)

Two stores take part: the gateway's database, which takes what devices send, and the map that the gateways of a site
share, which has the instances. `service` is the side of the database: in the transactions of what happens it puts into
the `inbox` what concerns workflows; `definitions`, `clock`, `recorded` are its tables. `runtime` goes on with the
instances (`world`), commits each step to the map (`checkpoints`) and only then hands over to the database what follows
from it, and forgets what the step has taken. A kill in between repeats what ids make harmless.
"""
