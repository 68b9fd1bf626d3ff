"""Make the kernel's random generator use fresh bytes at once; refuses fewer than 32 of them.

Reads hexadecimal digits on standard input: ``python3 -I -S reseed.py [/dev/urandom]``.
"""

import fcntl
import struct
import sys

# linux/random.h: _IOW('R', 0x03, int[2]) and _IO('R', 0x07).
RNDADDENTROPY = 0x40085203
RNDRESEEDCRNG = 0x5207


def reseed(seed: bytes, device: str) -> None:
    """Add ``seed`` to the pool with full credit, and let the generator take it up."""
    with open(device, "r+b", buffering=0) as pool:  # noqa: PTH123 - importing pathlib doubles the start-up time
        fcntl.ioctl(pool, RNDADDENTROPY, struct.pack("ii", 8 * len(seed), len(seed)) + seed)
        fcntl.ioctl(pool, RNDRESEEDCRNG, 0)


def main(arguments: list[str]) -> int:
    """Run the program. Returns 1 when the kernel refuses, 2 when the input is no seed."""
    try:
        seed = bytes.fromhex(sys.stdin.read().strip())
    except ValueError:
        seed = b""
    if len(seed) < 32:
        sys.stderr.write("reseed: standard input is not at least 64 hexadecimal digits\n")
        return 2
    try:
        reseed(seed, arguments[0] if arguments else "/dev/urandom")
    except OSError as error:
        sys.stderr.write(f"reseed: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
