"""Metrics as text for Prometheus, and as a file for node-exporter. The only importer of prometheus-client.

The file is replaced in one step under a name that the collector does not read until then; it has no timestamps, as the
collector refuses them and tells the file's own time.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from moltfleet.adapters.localfile import write_atomically
from moltfleet.model.errors import InvalidInput, NotFound, ToolFailed

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from moltfleet.model.metrics import Family

# The collector reads no other names.
_SUFFIX = ".prom"
# A writer needs milliseconds; what is older than this was left by one that was killed.
_LEFTOVER_S = 3600.0


class PrometheusText:
    """The port of ``moltfleet metrics``."""

    def render(self, families: Iterable[Family]) -> bytes:
        """Return the text exposition format. Raises: ToolFailed without the client."""
        try:
            from prometheus_client import CollectorRegistry, generate_latest
        except ImportError as error:
            raise ToolFailed(
                "Metrics as text need prometheus-client",
                details=str(error),
                hint="Install it: pip install 'moltfleet[metrics]'. Or take --json.",
            ) from error
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected(tuple(families)))
        return bytes(generate_latest(registry))

    def check_place(self, path: Path) -> None:
        """Refuse a file that no collector would find. Raises: InvalidInput, NotFound."""
        if path.suffix != _SUFFIX:
            raise InvalidInput(f"File {str(path)!r} does not end with {_SUFFIX}", hint="node-exporter reads no others.")
        if not path.parent.is_dir():
            raise NotFound(
                f"Directory {str(path.parent)!r} does not exist",
                hint="It is what node-exporter has as --collector.textfile.directory.",
            )

    def write(self, path: Path, content: bytes) -> None:
        """Replace the file, readable for the collector's user. Raises: ToolFailed."""
        try:
            self._drop_leftovers(path)
            write_atomically(path, content, mode=0o644)
        except OSError as error:
            raise ToolFailed(f"File {path} cannot be written: {error.strerror}") from error

    @staticmethod
    def _drop_leftovers(path: Path) -> None:
        # As adapters/localfile.py names them.
        for leftover in path.parent.glob(f".{path.name[:60]}.????????"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - leftover.stat().st_mtime > _LEFTOVER_S:
                    leftover.unlink()


class _Collected:
    """A collector as the client wants it."""

    def __init__(self, families: tuple[Family, ...]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Yield each family in the client's form."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        kinds = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily}
        for family in self._families:
            metric = kinds[family.kind](family.name, family.help, labels=family.labels)
            for point in family.points:
                metric.add_metric(list(point.labels), point.value)
            yield metric
