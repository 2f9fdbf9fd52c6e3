"""How much the replicated map holds: each gateway of a site has all of it in memory and on its disk. (D2)

They are a part of the state machine: all members must agree on what is refused, so they change only together with the
version of the commands.
"""

KEY_BYTES = 512
VALUE_BYTES = 64 * 1024
ENTRIES = 200_000
TOTAL_BYTES = 64 * 1024 * 1024
"""Of keys and values together."""
PARTS = 128
"""Compares, and operations, of a transaction."""
TRANSACTION_BYTES = 1_000_000
"""Of the keys and values of a transaction: with all around them they fit a command of the consensus."""
TTL_MAX_MS = 366 * 24 * 3_600_000
SESSIONS = 1000
OUTCOMES = 256
"""A session's, that its client has not taken note of."""
