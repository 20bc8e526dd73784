"""Lease: what stands for a lock in an object store, which has none.

Whoever writes puts an object of its own name into a folder, puts it there again every few seconds, and removes it at
the end. Nobody writes while another one's object lies there. An object that has not changed for a minute, by the clock
of the one who looks, is that of a process that died; so is one of a process of this machine that is gone. Two that
begin in the same instant see each other, and both give way for a while: that needs no more of the store than that what
was put is listed.
"""

import contextlib
import json
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gato_tokenize.storage.durable import durable_file
from gato_tokenize.storage.store_path import StorePath

BEAT = 10.0  # seconds between two signs of life
EXPIRES = 60.0  # seconds without one after which a lease is a dead one's
_held: set[str] = set()  # the names of this process's leases; one that it could not remove is no claim any more
_PATIENCE = 3.0  # seconds that a process may take to end, and to withdraw its lease


class LeaseError(RuntimeError):
    """Another process holds the lease, or this one has lost it."""


class Lease:
    """The lease of this process in `folder`: `take` it, `check` it before what must be done once, `withdraw` it.

    on_wait: called with a text if there is a lease of which only waiting can tell whether it is a dead one's.
    """

    def __init__(self, folder: StorePath, on_wait: Callable[[str], None] = lambda text: None) -> None:
        self._folder, self._on_wait = folder, on_wait
        self._path = folder / f"{uuid.uuid4().hex}.json"
        self._claim = {"host": socket.gethostname(), "pid": os.getpid(), "machine": _machine(), "start": _start()}
        self._beat, self._renewed, self._lost = 0, 0.0, ""
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._renew, name="lease", daemon=True)

    def take(self) -> None:
        """Take the lease. Raises LeaseError, which names the one that holds it."""
        seen: dict[str, tuple[Any, float]] = {}  # {name: (its content, when it was first seen)}
        give_up = time.monotonic() + _PATIENCE
        while True:
            holder = self._holder(seen)
            if holder is None:
                self._put()
                holder = self._holder(seen)
                if holder is None:
                    self._thread.start()
                    return
                _held.discard(self._path.name)
                self._path.unlink(missing_ok=True)  # both give way, each for a time of its own
            if holder["alive"] and time.monotonic() > give_up:
                raise LeaseError(f"process {holder['pid']} on {holder['host']}")
            if not holder["alive"] and not holder["told"]:
                self._on_wait(
                    f"process {holder['pid']} on {holder['host']} was writing here: waiting up to {EXPIRES:g} s for a"
                    " sign of its life"
                )
            time.sleep(random.uniform(0.2, 0.6))

    def _holder(self, seen: dict[str, tuple[Any, float]]) -> dict[str, Any] | None:
        """Return the claim of another process, and whether it is known to be "alive", after removing dead ones'."""
        found = None
        for path in self._folder.iterdir():
            claim = None if path == self._path else _read(path)
            if claim is None:
                continue
            told = path.name in seen
            before, since = seen.setdefault(path.name, (claim, time.monotonic()))
            here = claim.get("machine") == _machine()
            alive = _lives(claim, path.name) if here else claim != before
            if not alive and (here or time.monotonic() - since > EXPIRES):
                path.unlink(missing_ok=True)
                continue
            if found is None or alive:
                found = {"pid": "?", "host": "?", **claim, "alive": alive, "told": told}
        return found

    def _put(self) -> None:
        self._beat += 1
        _held.add(self._path.name)
        with durable_file(self._path) as file:
            file.write(json.dumps({**self._claim, "beat": self._beat}).encode())
        self._renewed = time.monotonic()

    def _renew(self) -> None:
        while not self._stop.wait(BEAT):
            try:
                if not self._path.is_file():
                    self._lost = "another process took it for that of a dead one, and may have gone on"
                    return
                self._put()
            except OSError as error:
                if time.monotonic() - self._renewed > EXPIRES - 2 * BEAT:
                    self._lost = str(error)
                    return

    def check(self) -> None:
        """Raise LeaseError if this process does not hold the lease any more, as after a minute in which it stood still
        or could not reach the store."""
        if not self._lost and not self._path.is_file():
            self._lost = "another process took it for that of a dead one, and may have gone on"
        if self._lost:
            raise LeaseError(self._lost)

    def withdraw(self) -> None:
        """Give the lease up. It can be called twice."""
        self._stop.set()
        _held.discard(self._path.name)
        if self._thread.ident is not None:
            self._thread.join()
        with contextlib.suppress(OSError):  # it then expires
            self._path.unlink(missing_ok=True)


def _read(path: StorePath) -> dict[str, Any] | None:
    try:
        claim = json.loads(path.read_bytes())
    except FileNotFoundError:  # withdrawn in this instant
        return None
    except ValueError:
        claim = {}
    return claim if isinstance(claim, dict) else {}


def _lives(claim: dict[str, Any], name: str) -> bool:
    """Return whether the process of a claim of this machine is there, and still makes it."""
    pid = claim.get("pid", 0)
    return _start(pid) == claim.get("start") and (pid != os.getpid() or name in _held)


def _machine() -> str:
    """Return what tells the processes of this machine, or container, from those of others."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    with contextlib.suppress(OSError):
        return f"{boot.read_text(encoding='utf-8').strip()} {os.readlink('/proc/self/ns/pid')}"
    return uuid.uuid4().hex  # of no other process


def _start(pid: int | None = None) -> str:
    """Return when a process began, in its system's terms; "" if there is none. Process ids are used again."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid or os.getpid()}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]  # a dead one whose parent has not looked yet
    return ""
