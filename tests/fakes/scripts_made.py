"""Domains as virt-install and virt-clone of the shell scripts define them, for libvirt's test driver and for QEMU."""

from __future__ import annotations

GOLDEN = "ubuntu2404-agent"
CLONE = "moltdown-clone-ubuntu2404-agent-20250201-143052"
_UEFI = """\
    <loader readonly='yes' secure='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.ms.fd</loader>
    <nvram template='/usr/share/OVMF/OVMF_VARS_4M.ms.fd'>/var/lib/libvirt/qemu/nvram/{name}_VARS.fd</nvram>
"""
_TPM = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"
_AGENT = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
_DOMAIN = """\
<domain type='{type}'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <metadata>
    <libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0">
      <libosinfo:os id="http://ubuntu.com/ubuntu/24.04"/>
    </libosinfo:libosinfo>
  </metadata>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>4</vcpu>
  <os>
    <type{machine}>hvm</type>
{firmware}    <boot dev='hd'/>
  </os>
  <features><acpi/><apic/></features>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='{format}' discard='unmap'/>
      <source file='{disk}'/>
      <target dev='{target}' bus='{bus}'/>
    </disk>
    {cdrom}
    <interface type='network'>
      <mac address='{mac}'/><source network='default'/><model type='virtio'/>
    </interface>
    {screen}{agent}{tpm}{more}
  </devices>
</domain>
"""
_SCREEN = """\
<channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>
    <graphics type='spice' port='-1' autoport='yes'/>
    <video><model type='virtio'/></video>
    """
_CDROM = "<disk type='file' device='cdrom'><source file='{iso}'/><target dev='sda' bus='sata'/><readonly/></disk>"


def domain_xml(name: str, disk: str, *, number: int = 1, **changes: str) -> str:
    """What `virsh dumpxml` would show of one; ``changes`` replace its parts, ``iso`` is what its CD-ROM holds."""
    iso = changes.pop("iso", "")
    firmware = _UEFI.format(name=name) if changes.pop("uefi", "") else ""
    parts = {
        "type": "test",
        "memory": "64",
        "format": "qcow2",
        "target": "vda",
        "bus": "virtio",
        "firmware": firmware,
        "cdrom": _CDROM.format(iso=iso) if iso else "",
        "agent": _AGENT if changes.pop("has_agent", "") else "",
        "tpm": _TPM if changes.pop("has_tpm", "") else "",
        "more": "",
        "machine": "",
        "screen": _SCREEN,
        "mac": f"52:54:00:aa:bb:{number:02x}",
        "uuid": f"c7a5fdbd-edaf-9455-926a-d65c16db{number:04d}",
    }
    return _DOMAIN.format(**(parts | changes | {"name": name, "disk": disk}))
