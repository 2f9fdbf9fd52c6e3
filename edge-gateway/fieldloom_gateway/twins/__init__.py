"""What is wanted of a device, one thing for all gateways of a site. (R4; decision 3; ADR 67)

Two stores take part. What is wanted is in the map that the gateways share (`kept`). A gateway's database has the
patches that wait here, and what devices have told here (`ingest.twins`). `runtime` takes patches into the map by
compare-and-set, as `deciding` says, and only then tells the cloud what came of them. What changes in the map, by
whichever gateway, it tells the devices that are here.
"""
