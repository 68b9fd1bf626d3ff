"""Let nights and surveys run by themselves: put that there, show what is there, take it away. Runs nothing itself."""

from __future__ import annotations

from moltfleet.model.errors import HostUnavailable, InvalidInput, NotFound, WrongState
from moltfleet.model.names import printable
from moltfleet.model.schedule import Account, Job, Kind, Schedule
from moltfleet.operations import schedule_cron, schedule_systemd
from moltfleet.operations.scheduling import GROUP, Scheduled, ScheduleRequest, Scheduling, require_root

_SYSTEMD = "/run/systemd/system"


def plan_install(scheduling: Scheduling, request: ScheduleRequest) -> tuple[str, ...]:
    """Say what would be written and run; changes nothing. Raises: as :func:`install`, but for want of root."""
    schedule = _checked(scheduling, request)
    if schedule.kind is Kind.CRON:
        return schedule_cron.plan(scheduling, schedule)
    return schedule_systemd.plan(scheduling, schedule, linger=request.linger)


def install(scheduling: Scheduling, request: ScheduleRequest) -> Scheduled:
    """Write it down and let it begin; repeating it replaces what an earlier one wrote.

    Raises: HostUnavailable (no systemd, no cron, not root), InvalidInput (a path that others can write, no user
    named), NotFound (no such user), WrongState (scheduled by another kind, files of other hands).
    """
    schedule = _checked(scheduling, request)
    if schedule.kind is Kind.CRON:
        schedule_cron.install(scheduling, schedule)
    else:
        schedule_systemd.install(scheduling, schedule, linger=request.linger)
    return show(scheduling)


def show(scheduling: Scheduling) -> Scheduled:
    """Look at what is scheduled by any kind; changes nothing."""
    mine = schedule_systemd.jobs(scheduling, Kind.USER)
    by_cron = schedule_cron.jobs(scheduling)
    notes = (*schedule_systemd.notes(scheduling, mine), *(schedule_cron.notes(scheduling) if by_cron else ()))
    lingering = schedule_systemd.is_lingering(scheduling, scheduling.accounts.me()) if mine else None
    return Scheduled((*schedule_systemd.jobs(scheduling, Kind.SYSTEM), *mine, *by_cron), lingering, notes)


def plan_remove(scheduling: Scheduling) -> tuple[str, ...]:
    """Say what would be taken away; changes nothing."""
    kinds = [kind for kind in (Kind.SYSTEM, Kind.USER) if schedule_systemd.is_there(scheduling, kind)]
    lines = [line for kind in kinds for line in schedule_systemd.plan_remove(scheduling, kind)]
    return (*lines, *schedule_cron.plan_remove(scheduling))


def remove(scheduling: Scheduling) -> tuple[Job, ...]:
    """Take everything away that was scheduled, and return it; a run that is under way goes on.

    Raises: HostUnavailable when the system's part can only be removed by root; nothing is removed then.
    """
    found = show(scheduling).jobs
    if schedule_systemd.is_there(scheduling, Kind.SYSTEM):
        require_root(scheduling)
    for kind in (Kind.SYSTEM, Kind.USER):
        if schedule_systemd.is_there(scheduling, kind):
            schedule_systemd.remove(scheduling, kind)
    schedule_cron.remove(scheduling)
    return found


def is_lingering_wanted(scheduling: Scheduling, request: ScheduleRequest) -> bool:
    """Whether a schedule of this request would stop with the user's logout, and nobody has decided about that."""
    if request.linger or choose_kind(scheduling, request.kind) is not Kind.USER:
        return False
    return not schedule_systemd.is_lingering(scheduling, scheduling.accounts.me())


def choose_kind(scheduling: Scheduling, asked: Kind | None) -> Kind:
    """Return what is asked for, else what this machine has. Raises: HostUnavailable when it has not that."""
    has_systemd = scheduling.machine.exists(_SYSTEMD)
    if asked in (Kind.USER, Kind.SYSTEM) and not has_systemd:
        raise HostUnavailable("This machine is not run by systemd", hint="Use its crontab: --cron.")
    if asked is not None:
        return asked
    if not has_systemd:
        return Kind.CRON
    return Kind.SYSTEM if scheduling.machine.is_root() else Kind.USER


def _checked(scheduling: Scheduling, request: ScheduleRequest) -> Schedule:
    kind = choose_kind(scheduling, request.kind)
    if request.run_as is not None and kind is not Kind.SYSTEM:
        raise InvalidInput("Only the system's timers run as somebody else", hint="Add --system.")
    _refuse_second(scheduling, kind)
    if request.textfile is not None and not request.textfile.startswith("/"):
        raise InvalidInput("The path of the metrics is not absolute")
    return Schedule(
        kind=kind,
        at=request.at,
        survey_every=request.survey_every,
        program=scheduling.program,
        night_hours=scheduling.config.nightly.hours,
        textfile=request.textfile,
        run_as=_checked_user(scheduling, request).name if kind is Kind.SYSTEM else None,
    )


def _refuse_second(scheduling: Scheduling, kind: Kind) -> None:
    """Two schedules would do everything twice. Raises: WrongState."""
    others = sorted({str(job.kind) for job in show(scheduling).jobs if job.kind is not kind})
    if others:
        raise WrongState(
            f"It is scheduled already, by another kind: {', '.join(others)}",
            hint="Take that away first: moltfleet schedule remove",
        )


def _checked_user(scheduling: Scheduling, request: ScheduleRequest) -> Account:
    """Who the system runs it as, and whether root may let that program be run. Raises: InvalidInput, NotFound."""
    name = request.run_as or scheduling.environment.get("SUDO_USER")
    if not name or name == "root" != request.run_as:
        raise InvalidInput("Nobody is named that it runs as", hint="A member of group libvirt: --run-as NAME.")
    account = scheduling.accounts.find(name)
    if account is None:
        raise NotFound(f"User {printable(name)!r} does not exist")
    if scheduling.config.is_session:
        raise InvalidInput(
            f"libvirt at {scheduling.config.uri} is a user's own, which the system's timers do not reach",
            hint="Use that user's timers: --user.",
        )
    if account.uid != 0 and not scheduling.accounts.is_member(name, GROUP):
        raise InvalidInput(
            f"User {name!r} is not in group {GROUP!r}", hint=f"sudo usermod --append --groups {GROUP} {name}"
        )
    for part in scheduling.parts:
        weak = scheduling.accounts.weak_spot(part)
        if weak is not None:
            raise InvalidInput(
                f"Others than root can write {weak}, and the system would run what they put there",
                hint="Install moltfleet where only root can write, such as /opt/moltfleet, and run it from there.",
            )
    return account
