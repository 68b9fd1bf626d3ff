"""Logging on standard error: effects with ``-v``, every libvirt call with ``-vv``; never a private key."""

from __future__ import annotations

import logging
import re
import sys

_PRIVATE = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


class _Formatter(logging.Formatter):
    """One line per record, private keys blanked whoever logged them, control characters out."""

    def format(self, record: logging.LogRecord) -> str:
        text = _PRIVATE.sub("(private key)", super().format(record))
        return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


def configure_logging(verbosity: int) -> None:
    """Send our log records to standard error; repeatable."""
    logger = logging.getLogger("moltfleet")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S"))
    logger.handlers = [handler] if verbosity else [logging.NullHandler()]
    logger.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
    logger.propagate = False
    # Without a handler Python writes other libraries' warnings to the terminal; ours say what matters.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    logging.getLogger("paramiko").propagate = False
