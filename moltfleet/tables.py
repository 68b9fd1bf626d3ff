"""The tables of moltfleet.toml: what may stand in each, what it means, and what it is when it does not stand there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from moltfleet.model.catalogue import CatalogueEntry
from moltfleet.model.errors import InvalidInput
from moltfleet.model.size import Size

if TYPE_CHECKING:
    from moltfleet.model.logins import LoginEntry
    from moltfleet.model.policy import Policy


def _parse_size(value: object) -> object:
    """Read what TOML has for a size: text, or a bare number of MiB."""
    if isinstance(value, Size):
        return value
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("is not a size such as 12G")
    try:
        return Size.parse(str(value))
    except InvalidInput as error:
        raise ValueError(error.brief) from error


Amount = Annotated[Size, BeforeValidator(_parse_size)]
Seconds = Annotated[float, Field(gt=0, le=86_400, strict=True)]
# In a guest; "~/" is its user's home.
GuestPath = Annotated[str, Field(pattern=r"^(~|)/[^\x00-\x1f]+$", max_length=1000)]


def _check_home_path(path: str) -> str:
    parts = path.removeprefix("~/").split("/")
    if not path.startswith("~/") or not path.isprintable() or {"", ".", ".."} & set(parts):
        raise ValueError(f"{path!r} is not a file below the home, such as ~/.tool/auth.json")
    return path


HomePath = Annotated[str, Field(max_length=300), AfterValidator(_check_home_path)]
LoginName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


class Section(BaseModel):
    """A table: frozen, and without keys that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Defaults(Section):
    """`[defaults]`: what a clone or golden gets when neither the command nor the golden says."""

    memory: Amount = Field(default=Size.of_gib(16), description="Memory of a clone; a bare number is MiB.")
    vcpus: int = Field(default=4, ge=1, le=512, strict=True, description="Virtual CPUs of a clone.")
    disk: Amount = Field(
        default=Size.of_gib(50), description="Disk size of a golden; what is not written takes no space."
    )
    user: str = Field(
        default="agent", pattern=r"^[a-z_][a-z0-9_-]{0,31}$", description="The guest user that is logged in as."
    )
    profile: Literal["none", "minimal", "agent", "desktop"] = Field(
        default="agent", description="Profile of a golden build."
    )
    golden: str = Field(default="", description="Golden of `create` when none is named.")


class Timeouts(Section):
    """`[timeouts]`: the deadline of each wait, in seconds, before the factor for emulated guests."""

    domain: Seconds = Field(default=30, description="A started domain runs.")
    address: Seconds = Field(default=120, description="A guest has an address.")
    ssh: Seconds = Field(default=180, description="Its SSH server answers.")
    login: Seconds = Field(default=60, description="It accepts the key.")
    cloud_init: Seconds = Field(default=1800, description="cloud-init is done, or a build's script has run.")
    tools: Seconds = Field(default=300, description="The guest tools are installed and verified.")
    shutdown: Seconds = Field(default=90, description="A guest that was asked to power off is off.")
    libvirt_call: Seconds = Field(
        default=60, description="One libvirt call answers (saving and uploading have their own)."
    )

    def scaled(self, factor: float) -> Timeouts:
        """Return every deadline multiplied, as emulated guests need it."""
        return Timeouts.model_construct(**{name: getattr(self, name) * factor for name in Timeouts.model_fields})


class Nightly(Section):
    """`[nightly]`: what `moltfleet nightly` does, and until when."""

    molt: Literal["leaking", "all", "none"] = Field(
        default="leaking", description="Which clones a night molts; who works in one is never disturbed by `all`."
    )
    most: int | None = Field(default=None, ge=0, strict=True, description="How many at most; none named: all of those.")
    warm: bool = Field(default=True, strict=True, description="Make RAM of clean points anew that became stale.")
    # The lock of a remote libvirt ends after six hours (adapters/volumelocks.py).
    hours: float = Field(
        default=4, gt=0, le=5, strict=True, description="Hours after which a night begins nothing more."
    )
    keep: int = Field(default=30, ge=1, le=1000, strict=True, description="Nights whose journals and reports are kept.")
    webhook: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="An address that gets a JSON document by POST when a night did not go well.",
    )


class Rescue(Section):
    """`[rescue]`: what is taken out of a clone before its state is thrown away, and how much of it is kept."""

    directory: str = Field(
        default="", pattern=r"^(|~?/.+)$", description="Where it is kept; empty: `~/.local/share/moltfleet/rescued`."
    )
    roots: tuple[GuestPath, ...] = Field(
        default=("~/work/repos",), description="Where git repositories are looked for."
    )
    paths: tuple[GuestPath, ...] = Field(
        default=("~/work/artifacts",),
        description="Files and directories that are taken whole; repositories in them, too.",
    )
    per_clone: Amount = Field(default=Size.of_gib(2), description="What all rescues of one clone may take together.")
    total: Amount = Field(default=Size.of_gib(20), description="What all rescues may take together.")
    largest_file: Amount = Field(
        default=Size.of_mib(100), description="A larger file stays in the guest, and is named."
    )
    seconds: Seconds = Field(default=600, description="Seconds for one clone, before the factor for emulated guests.")
    before_molt: bool = Field(default=False, strict=True, description="Rescue before every `molt`, as with `--rescue`.")


class LoginTool(Section):
    """`[logins.more.NAME]`: a login that moltfleet does not know by itself."""

    files: tuple[HomePath, ...] = Field(min_length=1, max_length=20, description="Its files, in every home the same.")
    rotates: bool = Field(default=False, strict=True, description="Clones renew it, so that it has to come back.")
    newest_by: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_.-]*$",
        description="Dotted key of a moment in its JSON that tells which version is newer; else the last change does.",
    )


class Logins(Section):
    """`[logins]`: what `sync-auth` may give to clones. Nothing, as long as nothing is named."""

    allow: tuple[str, ...] = Field(
        default=(),
        description='Such as `["claude", "git"]`. Known: claude, codex, gemini, gh, git (name and address), signing.',
    )
    signing_key: str = Field(
        default="",
        pattern=r"^(|~?/.+)$",
        description="SSH private key without a passphrase, for clones to sign commits with; its file here.",
    )
    more: Mapping[LoginName, LoginTool] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_names(self) -> Logins:
        entries = self.entries()
        for name in self.allow:
            if name not in entries:
                raise ValueError(f"there is no login {name!r}, only {', '.join(sorted(entries))}")
        return self

    def entries(self) -> Mapping[str, LoginEntry]:
        """Return all that there are, by name; one's own wins over a known one."""
        from moltfleet.model.logins import KNOWN, LoginEntry

        own = {
            name: LoginEntry(name, tuple(file[2:] for file in tool.files), tool.rotates, tool.newest_by)
            for name, tool in self.more.items()
        }
        return {**KNOWN, **own}


class LeakPolicy(Section):
    """`[policy]`: when a clone counts as leaking, and what stands against molting it by itself."""

    horizon_minutes: float = Field(
        default=120, gt=0, le=1440, strict=True, description="It leaks when its memory is used up within so long."
    )
    critical_minutes: float = Field(default=15, gt=0, le=1440, strict=True, description="And is critical within.")
    leaking_percent: float = Field(
        default=85, gt=0, le=100, strict=True, description="It leaks when so much is in use, whatever the forecast."
    )
    critical_percent: float = Field(default=95, gt=0, le=100, strict=True, description="And is critical from.")
    cooldown_minutes: float = Field(
        default=60, ge=0, le=1440, strict=True, description="After a molt it is not molted by itself for so long."
    )
    quiet_hours: tuple[str, ...] = Field(
        default=(), description='Local hours in which only what is critical is molted, such as ["09:00-18:00"].'
    )
    busy_percent: float = Field(
        default=5, ge=0, le=6400, strict=True, description="It is busy when its agents use so much of one processor."
    )
    busy_minutes: float = Field(default=5, gt=0, le=120, strict=True, description="Over so long.")
    pool_percent: float = Field(
        default=5, ge=0, le=50, strict=True, description="The clone that fills the pool is paused when no more is free."
    )
    restart: bool = Field(default=True, strict=True, description="Start clones that went down by themselves.")
    guest_seconds: float = Field(
        default=10, gt=0, le=600, strict=True, description="How long a survey waits for a guest (longer if emulated)."
    )

    @field_validator("quiet_hours")
    @classmethod
    def _check_hours(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        from moltfleet.model.policy import Hours

        try:
            return tuple(str(Hours.parse(text)) for text in texts)
        except InvalidInput as error:
            raise ValueError(error.brief) from error

    @model_validator(mode="after")
    def _check_order(self) -> LeakPolicy:
        if self.critical_minutes > self.horizon_minutes:
            raise ValueError("critical_minutes is more than horizon_minutes")
        if self.critical_percent < self.leaking_percent:
            raise ValueError("critical_percent is less than leaking_percent")
        return self

    def rules(self) -> Policy:
        """Return it as decisions are made by."""
        from moltfleet.model.policy import Hours, Policy

        return Policy(
            horizon_s=self.horizon_minutes * 60,
            critical_s=self.critical_minutes * 60,
            leaking_share=self.leaking_percent / 100,
            critical_share=self.critical_percent / 100,
            cooldown_s=self.cooldown_minutes * 60,
            quiet=tuple(Hours.parse(text) for text in self.quiet_hours),
            busy_share=self.busy_percent / 100,
            busy_s=self.busy_minutes * 60,
            pool_share=self.pool_percent / 100,
            restart=self.restart,
            guest_s=self.guest_seconds,
        )


class ImageEntry(Section):
    """`[images.NAME]`: a base image that `golden build --image NAME` knows."""

    url: str = Field(pattern=r"^(https?|file)://", description="Where the image is.")
    checksums_url: str | None = Field(default=None, description="A SHA256SUMS or SHA512SUMS file that lists it.")
    sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-fA-F]{64}$", description="Its SHA-256, instead of a list."
    )
    keyring: str | None = Field(default=None, description="Path of the OpenPGP keyring that signs the list.")
    signature_url: str | None = Field(default=None, description='The signature; by default checksums_url + ".gpg".')

    def entry(self) -> CatalogueEntry:
        """Return it as the catalogue has it."""
        return CatalogueEntry(**self.model_dump())
