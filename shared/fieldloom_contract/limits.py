"""What the contract bounds. Sizes in bytes, times in milliseconds, instants in Unix milliseconds."""

from fieldloom_contract.compat import const

MAX_UP_BYTES = const(65536)
MAX_DOWN_BYTES = const(4096)
MAX_METRICS = const(256)
MAX_NAME = const(64)
MAX_DEPTH = const(16)  # of what a record holds
DEAD_LETTER_BYTES = const(4096)
# The broker takes more than the contract, so that the gateway sees and counts what is over the limit.
BROKER_PACKET_BYTES = const(262144)

WINDOW_RECORDS = const(64)
WINDOW_BYTES = const(16384)
RESEND_MS = const(2000)
RESEND_MAX_MS = const(60000)
DEAD_LINK_MS = const(30000)
ACK_DELAY_MS = const(250)

MAX_SLEEP_MS = 2678400000  # 31 days
COMMAND_IDS = const(64)
MAX_BOOT = 2**31 - 1
MAX_NUMBER = 2**53 - 1  # beyond it JSON readers disagree
MAX_WHOLE = 2**63 - 1  # of a reading: what stores keep as a whole number
BOOT_DRAWN_MIN = const(1048576)  # 2**20: above every counted boot, so a drawn one is never a counted one
BOOT_DRAWN_MAX = const(1073741823)  # 2**30 - 1

MIN_TS = 1577836800000  # 2020-01-01T00:00:00Z
MAX_AHEAD_MS = const(3600000)
