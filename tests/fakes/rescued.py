"""A rescue as it was stored, and a result that led to it, for what shows them."""

from __future__ import annotations

from pathlib import Path

from moltfleet.model.rescue import (
    Manifest,
    Outcome,
    Part,
    PartState,
    Renamed,
    Repository,
    RescueResult,
    SavedRescue,
    StoredFile,
)
from moltfleet.model.size import Size

PARTS = (
    Part("staged", "repository-1/staged.patch", "/home/agent/work/repos/app", PartState.SOUND, "2 file(s); applies"),
    Part("commits", "repository-1/commits.bundle.bad", "/home/agent/work/repos/app", PartState.BAD, "it holds no pack"),
    Part("screen", "screen-1.txt", "tmux session work", PartState.KEPT),
    Part("tree", "", "/home/agent/work/artifacts: ./film.mp4", PartState.LEFT, "over 100 MiB"),
)
REPOSITORY = Repository(
    folder="repository-1",
    path="/home/agent/work/repos/app",
    head="2d7733727cb827ea02f3811971f0769a846f9257",
    branch="topic",
    remote="https://example.org/app.git",
    commits=2,
    stashes=1,
)
MANIFEST = Manifest(
    clone="base-1",
    golden="base",
    generation=1,
    user="agent",
    taken_at="2026-11-21T03:15:00Z",
    reason="molt",
    outcome=Outcome.PARTLY,
    details=("artifacts-1: latest: a link to figures",),
    repositories=(REPOSITORY,),
    parts=PARTS,
    renamed=(Renamed("artifacts-1/moltfleet-renamed-1", "two?lines"),),
    files=(StoredFile("repository-1/staged.patch", 1000, "00"), StoredFile("screen-1.txt", 200, "11")),
)
DIRECTORY = Path("/rescued/base-1/20261121T031500Z")
SAVED = SavedRescue("base-1", "20261121T031500Z", DIRECTORY, Size(1200), MANIFEST)
RESCUED = RescueResult("base-1", Outcome.RESCUED, DIRECTORY, Size(1200), 1, PARTS, MANIFEST.details, 3.21)
