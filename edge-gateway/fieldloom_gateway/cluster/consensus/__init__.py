"""An order of commands that the gateways of a site agree on. (D1, ADR 48)

PySyncObj 0.3.17 puts a function of Windows in place of `socket.inet_ntop` on every system; here it is put back.
"""

import _socket
import socket

import pysyncobj.win_inet_pton  # noqa: F401 - so that nothing puts it there later

socket.inet_ntop = _socket.inet_ntop
