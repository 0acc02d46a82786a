"""Compiled programs on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

import jaxinfra as ji
from jaxinfra._core import program_cache
from tests.conftest import ROOT

SETTINGS = (
    "jax_enable_compilation_cache", "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)  # fmt: skip


@pytest.fixture(autouse=True)
def settings():
    """Those of the suite, again, afterwards."""
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def programs(folder):
    return [path.name for path in folder.glob("*-cache")]


def compile_one(number):
    jax.block_until_ready(jax.jit(lambda x: x * number + 1)(np.ones(3)))


def test_programs_are_written_also_after_others_were_compiled(tmp_path):
    compile_one(0.25)
    first, second = (tmp_path / name / "deep" for name in "ab")
    for folder, number in ((first, 0.5), (second, 0.75)):
        assert ji.cache_programs(str(folder)) == folder
        compile_one(number)
        found = programs(folder)
        assert len(found) == 1 and program_cache._ENTRY.fullmatch(found[0])
    assert len(programs(first)) == 1
    assert sys.platform == "win32" or first.stat().st_mode & 0o077 == 0


def test_where(tmp_path, monkeypatch):
    """The folder that JAX has, else that of the platform."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "given"))
    assert ji.cache_programs() == tmp_path / "given"
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for platform, there in (
        ("linux", ".cache"), ("darwin", "Library/Caches"), ("win32", "AppData/Local")
    ):  # fmt: skip
        with monkeypatch.context() as only:
            only.setattr(sys, "platform", platform)
            assert program_cache._user_folder() == tmp_path / there / "jaxinfra"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    if sys.platform.startswith("linux"):
        assert ji.cache_programs() == tmp_path / "elsewhere" / "jaxinfra"
        assert (tmp_path / "elsewhere" / "jaxinfra").is_dir()


def test_no_folder_to_write_into(tmp_path):
    (tmp_path / "file").write_text("")
    before = jax.config.jax_compilation_cache_dir
    with pytest.raises(OSError, match=r"cannot be kept in .*file.* \(.*\); pass a folder that you may write into"):
        ji.cache_programs(tmp_path / "file" / "programs")
    with pytest.raises(ValueError, match="must be one of this machine, got gs://b/c; JAX takes such an address itself"):
        ji.cache_programs("gs://b/c")
    for limit in (-1, 0.5, True):
        with pytest.raises(ValueError, match="limit must be a whole number"):
            ji.cache_programs(tmp_path, limit=limit)
    assert jax.config.jax_compilation_cache_dir == before


def test_the_least_recently_used_are_deleted(tmp_path):
    """Of JAX's entries alone."""
    for age, name in enumerate(("new", "old", "older")):
        path = tmp_path / f"jit_f-{name.encode().hex():0>64}-cache"
        path.write_bytes(bytes(100))
        os.utime(path, (1e9 - age, 1e9 - age))
    (tmp_path / "notes-cache").write_bytes(bytes(1000))
    ji.cache_programs(tmp_path, limit=None)
    ji.cache_programs(tmp_path, limit=300)
    assert len(programs(tmp_path)) == 4
    ji.cache_programs(tmp_path, limit=250)
    assert {name[:6] for name in programs(tmp_path)} == {"jit_f-", "notes-"} and len(programs(tmp_path)) == 3
    assert not (tmp_path / f"jit_f-{b'older'.hex():0>64}-cache").exists()


PROCESS = """
import sys, jax, numpy as np, jaxinfra as ji
seen = []
jax.monitoring.register_event_listener(lambda event, **_: seen.append(event.rpartition("/")[2]))
ji.cache_programs(sys.argv[1])
X = np.arange(24, dtype=np.float32).reshape(12, 2) ** 2
print(ji.ols.fit(X, X[:, 0]).params.coef.round(3).tolist(), seen.count("cache_hits"), seen.count("cache_misses"))
"""


@pytest.mark.slow
def test_the_next_process_reads_them(tmp_path):
    environment = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "true"}
    run = [sys.executable, "-W", "error", "-c", PROCESS, str(tmp_path)]
    first, second = (
        subprocess.run(run, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout.split()
        for _ in range(2)
    )
    assert first[:2] == second[:2]
    assert first[2] == "0" == second[3] and int(first[3]) == int(second[2]) > 0
