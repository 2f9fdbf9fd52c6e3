"""What a typed decoder raises over bytes that are not what it decodes: more than its own errors."""

import msgspec

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
