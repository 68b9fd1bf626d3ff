"""A line on the terminal of whoever was ended, for the person who looks at it; no program is started for that."""

from __future__ import annotations

import os

# Leave the alternate screen, show the cursor, end mouse reports and bracketed paste: a killed program could not.
_RESET = "\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[0m"
# Documentation/admin-guide/devices.txt: pseudo-terminals, majors 136 to 143.
_FIRST_MAJOR, _LAST_MAJOR = 136, 143


def path_of(number: int) -> str | None:
    """Return the pseudo-terminal with a device number as in /proc/PID/stat, None when it is another one or none."""
    major = (number >> 8) & 0xFFF
    minor = (number & 0xFF) | ((number >> 12) & 0xFFF00)
    if not _FIRST_MAJOR <= major <= _LAST_MAJOR:
        return None
    return f"/dev/pts/{minor + 256 * (major - _FIRST_MAJOR)}"


def tell(number: int, message: str) -> bool:
    """Write a message to a terminal. Returns False when there is none, or when it does not take it at once."""
    path = path_of(number)
    if path is None:
        return False
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, f"{_RESET}\r\nmoltfleet: {message}\r\n".encode("ascii", "replace"))
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
