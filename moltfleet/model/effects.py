"""Every change that an operation makes, by name: what the log tells, and what the crash tests kill after."""

from __future__ import annotations

import logging
from enum import StrEnum

_LOG = logging.getLogger("moltfleet.effects")


class Effect(StrEnum):
    """One durable change. An interrupted command stops between two of these."""

    CREATE_DEFINED = "create.defined"
    CREATE_SEEDED = "create.seeded"
    CREATE_OVERLAID = "create.overlaid"
    CREATE_STARTED = "create.started"
    CREATE_READIED = "create.readied"
    CREATE_RECORDED = "create.recorded"

    CLEAN_JOURNALLED = "clean.journalled"
    CLEAN_OVERLAID = "clean.overlaid"
    CLEAN_SAVED = "clean.saved"
    CLEAN_FROZEN = "clean.frozen"
    CLEAN_SHUT_DOWN = "clean.shut-down"
    CLEAN_REDEFINED = "clean.redefined"
    CLEAN_RESUMED = "clean.resumed"
    CLEAN_RECORDED = "clean.recorded"

    MOLT_JOURNALLED = "molt.journalled"
    MOLT_OVERLAID = "molt.overlaid"
    MOLT_DESTROYED = "molt.destroyed"
    MOLT_REDEFINED = "molt.redefined"
    MOLT_STARTED = "molt.started"
    MOLT_READIED = "molt.readied"
    MOLT_RECORDED = "molt.recorded"
    MOLT_SHED = "molt.shed"

    UNDO_JOURNALLED = "undo.journalled"
    UNDO_DESTROYED = "undo.destroyed"
    UNDO_REDEFINED = "undo.redefined"
    UNDO_STARTED = "undo.started"
    UNDO_RECORDED = "undo.recorded"

    KEPT_FORGOTTEN = "kept.forgotten"

    LOGINS_NOTED = "logins.noted"
    LOGINS_PULLED = "logins.pulled"
    LOGINS_PUSHED = "logins.pushed"

    DELETE_JOURNALLED = "delete.journalled"
    DELETE_DESTROYED = "delete.destroyed"
    DELETE_VOLUMES_DELETED = "delete.volumes-deleted"
    DELETE_UNDEFINED = "delete.undefined"

    BUILD_DEFINED = "build.defined"
    BUILD_UPLOADED = "build.uploaded"
    BUILD_SEEDED = "build.seeded"
    BUILD_OVERLAID = "build.overlaid"
    BUILD_STARTED = "build.started"
    BUILD_STAGED = "build.staged"
    BUILD_PROVISIONED = "build.provisioned"
    BUILD_SEALED = "build.sealed"
    BUILD_COPIED = "build.copied"
    BUILD_VERIFIED = "build.verified"
    BUILD_PUBLISHED = "build.published"
    BUILD_CLEANED = "build.cleaned"

    ADOPT_TAKEN = "adopt.taken"
    ADOPT_PINNED = "adopt.pinned"
    ADOPT_RETURNED = "adopt.returned"


def record(effect: Effect, subject: str) -> None:
    """Tell the log that ``effect`` has happened to ``subject``; to be called right after the change."""
    _LOG.info("%s %s", effect, subject, extra={"effect": effect, "subject": subject})
