"""Compiled programs kept on disk, for the next process; only a call of the user turns it on."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

_ENTRY = re.compile(r".+-[0-9a-f]{64}-cache")  # what JAX calls an entry


def cache_programs(folder: str | os.PathLike[str] | None = None, *, limit: int | None = 2**30) -> Path:
    """Keep compiled programs in a folder, so that the next process reads them in place of compiling: a first fit of
    seconds then takes a fraction of one.

    It sets JAX's persistent compilation cache for all that this process compiles from now on, however quickly it
    compiled; call it at the start of a program.  What is in memory already is not written.

    Args:
      folder: a folder of this machine, made if it is not there; only its owner may read it then.  None: the one that
        JAX has been given (`JAX_COMPILATION_CACHE_DIR`), else `jaxinfra` in the user's cache folder: `XDG_CACHE_HOME`
        or `~/.cache`, on macOS `~/Library/Caches`, on Windows `LOCALAPPDATA`.
      limit: bytes that may be there already: the programs that were not read for the longest time are deleted until
        the others need no more.  None deletes nothing.  The program of a fit takes 0.1 to 1 MB.

    Returns:
      The folder.

    Raises:
      ValueError: a folder that is an address (`gs://...`): give it to JAX, as `jax_compilation_cache_dir`; a limit that
        is no whole number of bytes.  OSError: a folder in which nothing can be written.

    A program is found again by its operations, shapes and dtypes, the versions of JAX and of its compiler, the XLA
    flags, the device, and on a CPU the instructions that it has: a home folder may be shared by machines that differ,
    and each uses its own.  Whoever can write into the folder can have this process run any code: share it with nobody.
    A process that is killed while it writes leaves half a program; JAX then warns and compiles.

    >>> import jaxinfra as ji
    >>> ji.cache_programs(limit=-1)      # before the first fit: ji.cache_programs()
    Traceback (most recent call last):
    ValueError: cache_programs: limit must be a whole number of bytes or None, got -1

    Elsewhere: jax.config's jax_compilation_cache_dir with jax_persistent_cache_min_compile_time_secs=0, without which
    JAX keeps only what took a second to compile; numba.jit(cache=True).
    """
    verb = "cache_programs"
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise ValueError(f"{verb}: limit must be a whole number of bytes or None, got {limit!r}")
    given: str | os.PathLike[str] | None = folder
    if given is None:
        given = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if given is not None and "://" in os.fspath(given):
        raise ValueError(
            f"{verb}: folder must be one of this machine, got {os.fspath(given)}; JAX takes such an address itself: "
            'jax.config.update("jax_compilation_cache_dir", ...)'
        )
    path = (_user_folder() if given is None else Path(given)).expanduser().absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OSError(
            f"{verb}: programs cannot be kept in {path} ({error.strerror or error}); pass a folder that you may write "
            "into, as in ji.cache_programs('programs')"
        ) from None
    if limit is not None:
        shrink(path, limit)
    settings = {
        "jax_enable_compilation_cache": True,
        "jax_compilation_cache_dir": str(path),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # JAX decides once, when it compiles first, where to look
    return path


def _user_folder() -> Path:
    """`jaxinfra` in the folder where this platform keeps what can be made again."""
    home = Path.home()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or home / ".cache"
    return Path(base) / "jaxinfra"


def shrink(folder: Path, limit: int, entry: re.Pattern[str] = _ENTRY) -> None:
    """Delete the programs that were not read for the longest time until the others have no more than `limit` bytes."""
    entries = []
    for path in folder.iterdir():
        if entry.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):  # another process shrinks it too
                stat = path.stat()
                entries.append((max(stat.st_atime, stat.st_mtime), stat.st_size, path))
    size = sum(entry[1] for entry in entries)
    for _, bytes_, path in sorted(entries):
        if size <= limit:
            return
        path.unlink(missing_ok=True)
        size -= bytes_
