"""What one channel is still to tell, on disk, and what it has told.

A folder with a file for each message that waits, named by its turn and id; it is written aside, flushed and
renamed, so that it is there whole or not at all. What was told is an appended line in ``told``; a message
whose id stands there, or waits, is not taken again. After a crash between telling and noting a message is
told twice: receivers know it by its id.

Limits: past ``most`` waiting messages the oldest goes, and is counted; ``told`` keeps the last
:data:`REMEMBERED` ids. A file that is no message (a full disk, an edit) is set aside as ``*.bad``. One
process at a time.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from seismolog.sinks.notify.message import Message

__all__ = ["REMEMBERED", "Outbox"]

REMEMBERED = 50_000
_FILE = re.compile(r"(\d{16})-([0-9a-f]{32})\.json")


class Outbox:
    """The outbox of a channel.

    Parameters
    ----------
    folder
        Made where it is missing, for its owner only.
    most
        Messages that may wait.
    """

    def __init__(self, folder: Path, most: int = 10_000) -> None:
        self.folder, self.most, self.dropped, self.bad = folder, most, 0, 0
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._told_file = folder / "told"
        self._told: dict[str, None] = {}
        with suppress(FileNotFoundError):
            for line in self._told_file.read_text(encoding="ascii", errors="replace").splitlines():
                if re.fullmatch(r"[0-9a-f]{32}", line):
                    self._told[line] = None
        self._shorten()
        self._waiting: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            if path.name.endswith(".part"):
                path.unlink(missing_ok=True)
            elif (match := _FILE.fullmatch(path.name)) is not None:
                if match[2] in self._told or match[2] in self._waiting:
                    path.unlink(missing_ok=True)  # told, and killed before it was taken out
                else:
                    self._waiting[match[2]] = path
        last = max((int(p.name[:16]) for p in self._waiting.values()), default=0)
        self._turn = last + 1

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Message) -> bool:
        """Keep a message; False where it was told or waits already. OSError where it cannot be written."""
        if message.id in self._told or message.id in self._waiting:
            return False
        path = self.folder / f"{self._turn:016d}-{message.id}.json"
        part = path.with_suffix(".part")
        with part.open("w", encoding="utf-8") as file:
            json.dump(message.document(), file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        self._flush_folder()
        self._turn += 1
        self._waiting[message.id] = path
        while len(self._waiting) > self.most:
            oldest = next(iter(self._waiting))
            self._waiting.pop(oldest).unlink(missing_ok=True)
            self.dropped += 1
        return True

    def waiting(self) -> Iterator[Message]:
        """The messages that wait, the oldest first."""
        for key, path in list(self._waiting.items()):
            try:
                yield Message.of_document(json.loads(path.read_text(encoding="utf-8")))
            except FileNotFoundError:
                self._waiting.pop(key, None)
            except (ValueError, KeyError, TypeError):
                self.bad += 1
                self._waiting.pop(key, None)
                path.replace(path.with_suffix(".bad"))

    def done(self, message: Message) -> None:
        """The message was told (or will never be): note its id, then take it out."""
        with self._told_file.open("a", encoding="ascii") as file:
            file.write(message.id + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._told[message.id] = None
        path = self._waiting.pop(message.id, None)
        if path is not None:
            path.unlink(missing_ok=True)
        if len(self._told) > 2 * REMEMBERED:
            self._shorten()

    def _shorten(self) -> None:
        if len(self._told) <= REMEMBERED:
            return
        self._told = dict.fromkeys(list(self._told)[-REMEMBERED:])
        part = self._told_file.with_suffix(".part")
        with part.open("w", encoding="ascii") as file:
            file.writelines(f"{key}\n" for key in self._told)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._told_file)
        self._flush_folder()

    def _flush_folder(self) -> None:
        number = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
