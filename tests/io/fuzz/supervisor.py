"""Reads thousands of damaged files in a worker that is started again when it crashes or hangs.

    python tests/io/fuzz/supervisor.py FOLDER [FILES] [SEED]

Prints one line of JSON: how many were read, refused, and what went wrong. Files that went wrong
stay in FOLDER. The same seed gives the same files.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import seeds

SECONDS = 15.0
START_SECONDS = 120.0
WORKER = Path(__file__).with_name("worker.py")


class Worker:
    """A process that reads files from one index on, and the lines that it prints."""

    def __init__(self, folder: Path, seed: int, start: int, count: int) -> None:
        numbers = [str(one) for one in (seed, start, count)]
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), str(folder), *numbers], stdout=subprocess.PIPE, text=True
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def next_line(self, seconds: float) -> dict[str, Any] | None:
        """Return what it told, or None if it ended or told nothing for some time."""
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            return None
        return json.loads(line) if line else None

    def stop(self) -> int | None:
        """End it; return with which status it had ended before, if it had."""
        status = self.process.poll()
        self.process.kill()
        self.process.wait()
        return status

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.process.wait()
        self.lines.put("")


def run(folder: Path, files: int, seed: int) -> dict[str, Any]:
    """Return counts, the slowest, the largest, and what went wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    undamaged = folder / "seeds"
    if not undamaged.exists():
        undamaged.mkdir()
        places = seeds.make(undamaged)
        relative = {name: str(path.relative_to(undamaged)) for name, path in places.items()}
        (undamaged / "seeds.json").write_text(json.dumps(relative))
    found: dict[str, Any] = {"read": 0, "refused": 0, "seconds": 0.0, "grown": 0, "problems": []}
    found["seeds"] = {}
    at = 0
    while at < files:
        at = _one_worker(Worker(undamaged, seed, at, files - at), found, at, files)
    return found


def _one_worker(worker: Worker, found: dict[str, Any], at: int, files: int) -> int:
    """Listen to a worker until it ends; return the index of the next file."""
    facts: dict[str, Any] | None = worker.next_line(START_SECONDS)
    while facts is not None:
        at = facts["index"]
        if "result" in facts:
            _enter(found, facts)
            at += 1
            if at == files:
                break
        facts = worker.next_line(SECONDS)
    status = worker.stop()
    if at < files:
        how = "hung" if status is None else f"ended with the status {status}"
        found["problems"].append({"index": at, "problem": f"the reader {how}"})
        at += 1
    return at


def _enter(found: dict[str, Any], facts: dict[str, Any]) -> None:
    kind = "read" if facts["result"] == "read" else "refused"
    found[kind] += 1
    counts = found["seeds"].setdefault(facts["seed"], {"read": 0, "refused": 0})
    counts[kind] += 1
    found["seconds"] = max(found["seconds"], facts["seconds"])
    found["grown"] = max(found["grown"], facts["grown"])
    if facts["problem"]:
        found["problems"].append(facts)


def main() -> None:
    files = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    print(json.dumps(run(Path(sys.argv[1]), files, seed)))  # noqa: T201 - its result


if __name__ == "__main__":
    main()
