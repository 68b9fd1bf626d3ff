"""The profiles of ``cloud-init/``: an index per profile, and the fragments it names; refuses a broken index."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from moltfleet.adapters.resources import find_directory
from moltfleet.model.errors import InvalidInput
from moltfleet.model.names import not_found
from moltfleet.model.recipe import CloudConfig, Profile


class _Index(BaseModel):
    """``profiles/NAME.yaml``. Fragments are names below ``fragments/``, without the ending."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    description: str
    fragments: list[str]
    required_commands: list[str]
    required_services: list[str]
    desktop: bool


class ProfileFiles:
    """The port ``Profiles`` over a directory."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory

    def names(self) -> tuple[str, ...]:
        """Return the names of all profiles, sorted."""
        return tuple(sorted(path.stem for path in (self._root() / "profiles").glob("*.yaml")))

    def get(self, name: str) -> Profile:
        """Read one profile with its fragments. Raises: NotFound, InvalidInput when one of its files is broken."""
        # The name comes from a user: it is looked up, never made into a path.
        if name not in self.names():
            raise not_found("profile", name, self.names())
        index = _read_index(self._root() / "profiles" / f"{name}.yaml")
        return Profile(
            name=name,
            fragments=tuple(self._fragment(fragment) for fragment in index.fragments),
            required_commands=tuple(index.required_commands),
            required_services=tuple(index.required_services),
            desktop=index.desktop,
            description=index.description,
        )

    def _root(self) -> Path:
        return self._directory or find_directory("cloud-init")

    def _fragment(self, name: str) -> CloudConfig:
        path = self._root() / "fragments" / f"{name}.yaml"
        try:
            return CloudConfig(origin=f"cloud-init/fragments/{path.name}", text=path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InvalidInput(f"Fragment {name!r} cannot be read", details=str(error)) from error


def _read_index(path: Path) -> _Index:
    import yaml

    try:
        return _Index.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise InvalidInput(f"Index {path.name} of a profile cannot be read", details=str(error)) from error
