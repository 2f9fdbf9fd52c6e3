"""Rules at work in a gateway: the engine's ports at the edge. (E1 to E5, E8, E10; ADR 41)

`service` judges what goes up, inside the transaction that keeps it, and writes what follows with it: `memory` what the
engine remembers, `firings`, `effects`, `alarms`. `deeds` are the effects that are rows of the same database, done in
that transaction; `performing` does all others after it.
"""
