"""Who holds the site's actuators. (E9; ADR 61)

Two stores take part. The slots are in the map that the gateways of a site share (`kept`). The gateway's database has
what is asked of them and what was told of them (`service`, with the transactions that commands pass through). `runtime`
takes what is asked into the map, lets expire what has lived its time, and only then hands over to the database what
follows: commands to devices, words to the cloud. A kill in between repeats what ids and versions make harmless.
"""
