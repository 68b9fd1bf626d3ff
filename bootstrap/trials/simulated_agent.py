"""An agent as far as a guest can tell: takes memory, shared memory, disk and processes, then works until it is told.

    simulated_agent.py NUMBER FOLDER MEMORY_MIB SHM_MIB DISK_MIB PROCESSES

Says "ready" when it has everything, or "failed WHAT WHY" when the guest refuses something: memory, shm, disk,
processes, heap. Where there is a node, half of the memory is that of a JavaScript heap. Ends when its input does.
"""

import os
import random
import select
import shutil
import subprocess
import sys
from pathlib import Path

MIB = 1 << 20
HEAP = """
const want = Number(process.argv[1]) * 1048576, kept = [];
for (let size = 0; size < want; size += 1048576) kept.push(new Array(131072).fill(size + 0.5));
console.log("full");
process.stdin.resume(); process.stdin.on("end", () => process.exit(0));
setInterval(() => kept[Math.floor(Math.random() * kept.length)].fill(Math.random()), 50);
"""


class Refused(Exception):
    """The guest did not give something: what, and what it said."""


def start_processes(count: int) -> None:
    """Have so many processes in all; each waits until its parent is gone."""
    reader, writer = os.pipe()
    for _ in range(count - 1):
        try:
            child = os.fork()
        except OSError as error:
            raise Refused("processes", error.strerror) from error
        if child == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)


def fill(path: Path, mib: int, what: str) -> None:
    """Write a file of that size."""
    try:
        with path.open("wb") as file:
            for _ in range(mib):
                file.write(os.urandom(4096) * 256)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Refused(what, error.strerror) from error


def take_memory(mib: int) -> list[bytearray]:
    """Take memory, and touch all of it."""
    try:
        return [bytearray(os.urandom(4096) * 256) for _ in range(mib)]
    except MemoryError as error:
        raise Refused("memory", "it is refused") from error


def start_heap(node: str, mib: int, complaints: Path) -> "subprocess.Popen[bytes]":
    """Fill a JavaScript heap; its limit is V8's own, or what the guest sets."""
    with complaints.open("wb") as said:
        heap = subprocess.Popen(
            [node, "--eval", HEAP, "--", str(mib)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said
        )
    assert heap.stdout is not None
    if heap.stdout.readline().strip() != b"full":
        heap.wait()
        text = complaints.read_text(errors="replace")
        raise Refused("heap" if "heap" in text else "memory", text.strip().splitlines()[-1] if text.strip() else "")
    return heap


def work(kept: list[bytearray], heap: "subprocess.Popen[bytes] | None") -> None:
    """Touch memory now and then, until there is nobody to tell."""
    while not select.select([sys.stdin], [], [], 0.2)[0]:
        block = random.choice(kept)
        block[random.randrange(len(block))] ^= 1
        if heap is not None and heap.poll() is not None:
            raise Refused("heap", f"node ended with {heap.returncode}")
    if heap is not None and heap.stdin is not None:
        heap.stdin.close()
        heap.wait(20)


def main(arguments: list[str]) -> int:
    """Be an agent."""
    number, folder = arguments[0], Path(arguments[1])
    memory, shm, disk, processes = (int(word) for word in arguments[2:])
    node = shutil.which("node")
    try:
        start_processes(processes)
        fill(Path(f"/dev/shm/{folder.name}.{number}"), shm, "shm")
        fill(folder / f"file.{number}", disk, "disk")
        heap = start_heap(node, memory // 2, folder / f"heap.{number}") if node else None
        kept = take_memory(max(1, memory - memory // 2 if node else memory))
        print("ready", flush=True)
        work(kept, heap)
    except Refused as refused:
        print("failed", *refused.args, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
