"""Files that appear whole or not at all.

A result is written as `.NAME.dpdeblur-XXXXXXXX.part` beside its final place, brought to the disk, and renamed. While it
is being written, its process holds an advisory lock on it; the system drops the lock with the process, however that
ends. So a `.part` whose lock can be had is a leftover of a killed run, on this machine or on another that shares the
folder. On Windows an open file cannot be deleted, which says the same. Where a file system knows no locks, a day of age
decides.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dpdeblur.errors import WriteError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_LEFTOVER = re.compile(r"\..*\.dpdeblur-[0-9a-f]{8}\.part", re.DOTALL)
_LEFTOVER_AGE_S = 24 * 3600
_PRIVATE_MODE = 0o600

#: What the system says of a full disk or a used-up quota, and what to do then.
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
FREE_SPACE = "free some space and run again; finished photos are skipped"
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_MISSING = (errno.ENOENT, errno.ENOTDIR)

#: The unfinished files of this process, for a process that has to end at once.
_parts: set[Path] = set()


@contextlib.contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends well, and vanishes when it does not.

    Args:
        path: The final place. Its folder must exist.

    Yields:
        The file, open for reading and writing bytes. Its owner alone may read it until it is complete; then its mode is
            the umask's.

    Raises:
        WriteError: It cannot be created, written or renamed.
    """
    try:
        part, file = _create_part(path)
        try:
            mode = part.stat().st_mode
            _set_mode(part, _PRIVATE_MODE)  # nobody else needs to look at half a photo
            yield file
            file.flush()
            _set_mode(part, mode)
            os.fsync(file.fileno())
            if fcntl is None:
                file.close()  # Windows renames closed files only; elsewhere the lock is kept until the name is final
            os.replace(part, path)
            _sync_folder(path.parent)
        except BaseException:
            # both can fail again, on a full disk or in a lost folder: the first failure is the one to tell
            with contextlib.suppress(OSError):
                file.close()
            with contextlib.suppress(OSError):
                part.unlink()
            raise
        finally:
            file.close()
            _parts.discard(part)
    except WriteError as error:  # a writer knows what is wrong, but not with which file
        raise WriteError(error.cause, path=path, remedy=error.remedy) from error
    except OSError as error:
        cause, remedy = _explain(error)
        raise WriteError(cause, path=path, remedy=remedy) from error


def _create_part(path: Path) -> tuple[Path, BinaryIO]:
    name = path.name
    while len(os.fsencode(name)) > 200:  # a name may have 255 bytes, and the marks around it take 30
        name = name[:-1]
    while True:
        part = path.with_name(f".{name}.dpdeblur-{secrets.token_hex(4)}.part")
        file = part.open("x+b")
        _parts.add(part)
        if _lock(file.fileno()) is not False and os.fstat(file.fileno()).st_nlink:
            return part, file
        file.close()  # another process took the newborn for a leftover: make another
        _parts.discard(part)


def _set_mode(part: Path, mode: int) -> None:
    with contextlib.suppress(OSError):  # cards and network shares that know no modes refuse some or all
        part.chmod(mode)


def drop_unfinished() -> None:
    """Delete what is being written, before a process ends without waiting for it."""
    for part in tuple(_parts):
        with contextlib.suppress(OSError):
            part.unlink()


def _lock(descriptor: int) -> bool | None:
    """Return whether the lock was had, or None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _sync_folder(folder: Path) -> None:
    """Bring the new name to the disk, where folders can be opened."""
    if fcntl is not None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that cannot is no failure
                raise
        finally:
            os.close(descriptor)


def _explain(error: OSError) -> tuple[str, str]:
    """Return what is wrong and what to do about it."""
    if error.errno in FULL:
        return "the disk is full", FREE_SPACE
    if error.errno in _FORBIDDEN:
        return "the folder cannot be written to", "choose another with --output, or change its permissions"
    if error.errno in _MISSING:
        return "the folder is gone", "make it again, or choose another with --output"
    if error.errno in (errno.EISDIR, errno.ENOTEMPTY):
        return "a folder has this name", "rename it, or choose another folder with --output"
    return f"cannot be written ({error.strerror or error})", "choose another folder with --output"


def clear_leftovers(folder: Path) -> tuple[Path, ...]:
    """Delete the unfinished files that killed runs left in a folder.

    Args:
        folder: Where results are written; it need not exist. Folders in it are not searched.

    Returns:
        The files deleted. Files that a living process is writing, and ones that cannot be deleted, stay.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError:  # not there yet, or not to be looked into: nothing can be cleared
        return ()
    return tuple(folder / name for name in names if _LEFTOVER.fullmatch(name) and _clear(folder / name))


def _clear(path: Path) -> bool:
    try:
        if fcntl is None:
            path.unlink()
            return True
        descriptor = os.open(path, os.O_RDWR)
        try:
            is_locked = _lock(descriptor)
            is_left = time.time() - os.fstat(descriptor).st_mtime > _LEFTOVER_AGE_S if is_locked is None else is_locked
            if is_left:
                path.unlink()
            return is_left
        finally:
            os.close(descriptor)
    except OSError:  # in use (Windows), another user's, or just finished: not ours to delete
        return False
