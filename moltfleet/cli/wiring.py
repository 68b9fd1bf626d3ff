"""Where operations meet adapters: the only module that knows both."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from moltfleet.adapters import hostinfo
from moltfleet.adapters.chronicle import ChronicleFile, chronicle_path
from moltfleet.adapters.clock import SystemClock
from moltfleet.adapters.earlyoom import recent_kills
from moltfleet.adapters.keys import LocalKeys
from moltfleet.adapters.libvirt.domains import LibvirtHypervisor
from moltfleet.adapters.libvirt.gate import Gate
from moltfleet.adapters.libvirt.host import LocalMachine, is_local
from moltfleet.adapters.libvirt.meter import RemoteMeter
from moltfleet.adapters.libvirt.networks import LibvirtNetworks
from moltfleet.adapters.libvirt.storage import LibvirtStorage
from moltfleet.adapters.locks import FileLocks
from moltfleet.adapters.meter import LocalMeter
from moltfleet.adapters.nights import NightFiles, nights_path
from moltfleet.adapters.notifier import CommandNotifier
from moltfleet.adapters.openssh import SshClient, known_hosts_path, write_known_hosts
from moltfleet.adapters.reservations import LockReservations
from moltfleet.adapters.resources import BootstrapFiles
from moltfleet.adapters.run import hand_over
from moltfleet.adapters.ssh import SshGuests
from moltfleet.adapters.sshjump import dial_for, proxy_command, way_to_host
from moltfleet.adapters.volumelocks import NoLocks, VolumeLocks
from moltfleet.cli.late import late
from moltfleet.operations.fleet import Fleet

if TYPE_CHECKING:
    from moltfleet.adapters.images import ImageFiles
    from moltfleet.adapters.profiles import ProfileFiles
    from moltfleet.adapters.rescue.branches import LocalBranches
    from moltfleet.adapters.rescue.store import RescueFiles
    from moltfleet.adapters.samples import SqliteSamples
    from moltfleet.adapters.seed import NoCloudSeeds
    from moltfleet.adapters.textfile import PrometheusText
    from moltfleet.adapters.userlogins import UserLogins
    from moltfleet.config import Config
    from moltfleet.model.domain import Endpoint
    from moltfleet.model.nightly import Night
    from moltfleet.model.ports import Clock, Locks, Progress

# Our own network's name, whatever network the config prefers for new clones.
_OWN_NETWORK = "moltfleet"


def build_fleet(config: Config, uri: str, progress: Progress) -> Fleet:
    """Join the ports of one run; libvirt itself is only connected when it is first needed."""
    clock = SystemClock()
    gate = Gate(uri, timeout_s=config.timeouts.libvirt_call)
    locks = _locks(config, uri, gate, clock)
    measure_space = hostinfo.free_space if is_local(uri) else None
    storage = LibvirtStorage(gate, locks, pool=config.pool, path=str(config.pool_path), measure_space=measure_space)
    keys = LocalKeys(config.authorized_keys)
    return Fleet(
        config=config,
        hypervisor=LibvirtHypervisor(gate, storage, _machine(uri), config.virt_type),
        meter=LocalMeter() if is_local(uri) else RemoteMeter(gate),
        storage=storage,
        networks=LibvirtNetworks(gate, locks, name=_OWN_NETWORK, subnets=config.subnets),
        locks=locks,
        reservations=LockReservations(locks, clock),
        guests=SshGuests(keys.fleet_private_key, dial=dial_for(uri)),
        keys=keys,
        seeds=late(_seeds),
        images=late(lambda: _images(config, progress)),
        bootstrap=BootstrapFiles(),
        profiles=late(_profiles),
        samples=late(lambda: _samples(uri, clock)),
        notifier=CommandNotifier(config.notify),
        chronicle=ChronicleFile(chronicle_path(uri)),
        nights=NightFiles(nights_path(uri), keep=config.nightly.keep),
        rescues=late(lambda: _rescues(config)),
        host_logins=late(lambda: _host_logins(config)),
        clock=clock,
        progress=progress,
    )


def _seeds() -> NoCloudSeeds:
    from moltfleet.adapters.seed import NoCloudSeeds

    return NoCloudSeeds()


def _images(config: Config, progress: Progress) -> ImageFiles:
    from moltfleet.adapters.images import ImageFiles

    return ImageFiles(progress, catalogue=config.catalogue)


def _profiles() -> ProfileFiles:
    from moltfleet.adapters.profiles import ProfileFiles

    return ProfileFiles()


def _samples(uri: str, clock: Clock) -> SqliteSamples:
    from moltfleet.adapters.samples import SqliteSamples, samples_path

    return SqliteSamples(samples_path(uri), clock, boot=hostinfo.boot_id())


def _rescues(config: Config) -> RescueFiles:
    from moltfleet.adapters.rescue.store import RescueFiles

    wanted = config.rescue
    default = platformdirs.user_data_path("moltfleet") / "rescued"
    root = Path(wanted.directory).expanduser() if wanted.directory else default
    return RescueFiles(root, per_clone=wanted.per_clone, total=wanted.total)


def _host_logins(config: Config) -> UserLogins:
    from moltfleet.adapters.userlogins import UserLogins

    named = config.logins.signing_key
    key = Path(named).expanduser() if named else None
    return UserLogins(Path.home(), platformdirs.user_data_path("moltfleet") / "logins", signing_key=key)


def _locks(config: Config, uri: str, gate: Gate, clock: Clock) -> Locks:
    """Locks where every user of that libvirt sees them: files on this machine, else volumes in the pool."""
    if is_local(uri):
        return FileLocks.for_uri(uri, clock, os.environ)
    return VolumeLocks(LibvirtStorage(gate, NoLocks(), pool=config.pool, path=str(config.pool_path)), clock)


def _machine(uri: str) -> LocalMachine | None:
    if not is_local(uri):
        return None
    return LocalMachine(
        memory=hostinfo.memory().total,
        cpus=hostinfo.cpu_count(),
        has_virtualization_flag=hostinfo.has_hardware_virtualization(),
        kernel=platform.release(),
        boot_id=hostinfo.boot_id(),
    )


def post_to(address: str) -> Callable[[Night], None]:
    """What tells an address on the web of a night."""
    from moltfleet.adapters.webhook import Webhook

    return Webhook(address).post


def metrics_text() -> PrometheusText:
    """What writes metrics for Prometheus."""
    from moltfleet.adapters.textfile import PrometheusText

    return PrometheusText()


def count_earlyoom_kills(config: Config) -> Callable[[], int | None]:
    """What counts the kills of earlyoom on the host; of another machine's nobody knows."""
    return recent_kills if is_local(config.uri) else lambda: None


def ssh_arguments(config: Config, where: Endpoint, words: Sequence[str], *, terminal: bool | None = None) -> list[str]:
    """Return the OpenSSH client's arguments for a shell, or for the command ``words``.

    ``terminal`` True asks for one, False refuses one, None leaves that to ssh.
    """
    key = LocalKeys(config.authorized_keys).fleet_key_path
    way = way_to_host(config.uri)
    proxy = proxy_command(way) if way else None
    client = SshClient(key=key, known_hosts=known_hosts_path(config.uri), proxy=proxy)
    return client.argv(where, words, terminal=terminal)


def open_ssh(config: Config, arguments: Sequence[str], known: Iterable[Endpoint]) -> int:
    """Give the terminal to the OpenSSH client, which checks against the keys of ``known``; returns its status."""
    write_known_hosts(known_hosts_path(config.uri), known)
    return hand_over(arguments)


def open_program(arguments: Sequence[str]) -> int:
    """Give the terminal to a program of this machine; returns its status. Raises: ToolFailed."""
    return hand_over(arguments)


def local_branches(repository: Path) -> LocalBranches:
    """What takes branches of guests into a repository of this machine."""
    from moltfleet.adapters.rescue.branches import LocalBranches

    return LocalBranches(repository)
