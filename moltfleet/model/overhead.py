"""What QEMU itself takes for a guest, beside the guest's memory: an estimate that is rather too high."""

from __future__ import annotations

from moltfleet.model.size import Size

# KubeVirt's GetMemoryOverhead, without its own daemons: page tables, QEMU, vCPUs, I/O thread, video.
_PAGE_TABLE_SHARE = 512
_QEMU = Size.of_mib(30)
_PER_VCPU = Size.of_mib(8)
_IO_THREAD = Size.of_mib(8)
_VIDEO = Size.of_mib(32)
# That estimate was found too low at times (kubevirt#4560), so no guest is counted with less.
_LEAST = Size.of_mib(256)
# QEMU 7.2 without KVM: 1.3 MiB of resident memory for each MiB of translation cache between 64 and 512 MiB; our
# definitions give it 256 MiB (docs/adr/0007), and 1.5 stays on the safe side.
_TRANSLATION = Size.of_mib(384)


def overhead(memory: Size, *, vcpus: int, emulated: bool) -> Size:
    """Estimate QEMU's own memory for a guest: max(256 MiB, memory/512 + 30 + 8 per vCPU + 8 + 32 MiB).

    An emulated guest also has the translations of its code, 384 MiB, in that sum.
    """
    parts = memory.bytes // _PAGE_TABLE_SHARE + _QEMU.bytes + vcpus * _PER_VCPU.bytes + _IO_THREAD.bytes + _VIDEO.bytes
    return max(_LEAST, Size(parts + (_TRANSLATION.bytes if emulated else 0)))


def footprint(memory: Size, *, vcpus: int, emulated: bool) -> Size:
    """Return what a guest may come to take from the host: its memory and QEMU's own."""
    return memory + overhead(memory, vcpus=vcpus, emulated=emulated)


def largest_memory(room: Size, *, vcpus: int, emulated: bool) -> Size:
    """Return the largest guest memory, in whole MiB, whose footprint fits into ``room``; zero when none does."""
    low, high = 0, room.mib
    while low < high:
        middle = (low + high + 1) // 2
        fits = footprint(Size.of_mib(middle), vcpus=vcpus, emulated=emulated) <= room
        low, high = (middle, high) if fits else (low, middle - 1)
    return Size.of_mib(low)
