"""A machine of a test, for as long as this runs: `unshare ... python machine_run.py SOCKET ADDRESS DISK BYTES`.

It gives its network interface to the test over the socket: what is read from it is what this machine sends, packet by
packet. Its disk is a memory disk of so many bytes, mounted where only this machine sees it.
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys

TUNSETIFF = 0x400454CA
TUN_WITHOUT_HEADER = 0x1001


def main() -> None:
    descriptor, address, disk, size = sys.argv[1:]
    interface = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(interface, TUNSETIFF, struct.pack("16sH22x", b"lan", TUN_WITHOUT_HEADER))
    for command in (
        f"ip address add {address}/24 dev lan",
        "ip link set lan up",
        "ip link set lo up",
        f"mount -t tmpfs -o size={size} disk {disk}",
    ):
        subprocess.run(command.split(), check=True)
    with socket.socket(fileno=int(descriptor)) as test:
        socket.send_fds(test, [b"."], [interface])
        test.recv(1)


main()
