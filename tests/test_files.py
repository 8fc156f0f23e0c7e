"""A file is whole or not there, whoever else writes it, and a damaged one is noticed."""

import errno
import fcntl
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import transfer
from transfer import files, home


def write_often(path: str, letter: str, seconds: float) -> None:
    """Until the time is over, files of one letter, some short and some long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        files.write_whole(Path(path), letter * random.choice((1_000, 300_000)))


def test_two_processes_write_one_file_and_neither_fails_nor_is_torn(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a" * 1_000)
    begin = multiprocessing.get_context("spawn").Process
    both = [begin(target=write_often, args=(str(path), letter, 2.0)) for letter in "ab"]
    for process in both:
        process.start()
    while any(process.is_alive() for process in both):
        content = path.read_text()
        assert len(set(content)) == 1 and len(content) in (1_000, 300_000)
    assert [process.exitcode for process in both] == [0, 0]
    assert [left.name for left in tmp_path.iterdir()] == ["x.csv"]


def test_files_that_differ_in_their_ending_do_not_meet(tmp_path):
    """model.txt, model.json and model.tflite once shared model.partial."""
    with files.new_whole(tmp_path / "model.txt") as one, files.new_whole(tmp_path / "model.json") as other:
        one.write_text("text")
        other.write_text("json")
    assert (tmp_path / "model.txt").read_text() == "text" and (tmp_path / "model.json").read_text() == "json"


def test_what_fails_while_it_is_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.keras"
    path.write_text("old")
    with pytest.raises(RuntimeError), files.new_whole(path) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and beside.suffix == ".keras"
    assert [left.name for left in tmp_path.iterdir()] == ["x.keras"]


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path))
    said = "No space left on device. Make room, or set TRANSFER_HOME.*x.csv"
    with pytest.raises(OSError, match=said) as caught:
        files.write_whole(tmp_path / "x.csv", "new")
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path / "home"))
    with pytest.raises(OSError, match="Make room .*TRANSFER_HOME.*, or choose a folder.*x.csv"):
        files.write_whole(tmp_path / "x.csv", "new")


def test_names_that_are_no_utf8_are_written(tmp_path):
    files.write_whole(tmp_path / "x.csv", os.fsdecode(b"caf\xe9.jpg"))
    assert (tmp_path / "x.csv").read_bytes() == b"caf\xe9.jpg"


def test_what_was_sealed_is_read_and_any_flipped_bit_is_noticed(tmp_path, capsys):
    path = tmp_path / "table.csv"
    content = bytes(random.Random(0).randbytes(60))
    assert files.read_sealed(path) is None and not capsys.readouterr().out
    files.write_sealed(path, content)
    assert files.read_sealed(path) == content
    for position in range(len(content)):
        files.write_sealed(path, content)
        path.write_bytes(content[:position] + bytes([content[position] ^ 4]) + content[position + 1:])
        assert files.read_sealed(path) is None and not path.exists()
        assert "table.csv is damaged" in capsys.readouterr().out
    assert (tmp_path / "table.csv.damaged").exists()


@pytest.mark.parametrize("seal", [b"", b"\xff\xfe\x00", b"0" * 64, None])
def test_a_seal_that_is_damaged_proves_nothing(tmp_path, seal):
    path = tmp_path / "table.csv"
    files.write_sealed(path, "content")
    beside = tmp_path / "table.csv.sha256"
    beside.unlink() if seal is None else beside.write_bytes(seal)
    assert files.read_sealed(path) is None
    files.write_sealed(path, "again")
    assert files.read_sealed(path) == b"again"


@pytest.mark.parametrize("survived", [0, 1, 2])
def test_a_kill_between_the_writes_loses_nothing(tmp_path, monkeypatch, survived):
    path, write, done = tmp_path / "table.csv", files.write_whole, []
    files.write_sealed(path, "old")

    def killed(*arguments):
        if len(done) == survived:
            raise KeyboardInterrupt
        done.append(write(*arguments))

    monkeypatch.setattr(files, "write_whole", killed)
    with pytest.raises(KeyboardInterrupt):
        files.write_sealed(path, "new")
    assert files.read_sealed(path) == (b"new" if survived == 2 else b"old")


def test_a_second_damaged_one_takes_the_place_of_the_first(tmp_path):
    for name in ("one", "two"):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / name).touch()
        files.set_aside(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run.damaged").iterdir()] == ["two"]


@pytest.mark.parametrize("value, wanted", [
    ("", transfer.ROOT / "build"), ("~/transfer", Path.home() / "transfer"),
    ("here", transfer.ROOT / "here")])
def test_home_is_where_a_reader_means_it(monkeypatch, value, wanted):
    monkeypatch.setenv("TRANSFER_HOME", value)
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    assert home("features", "x") == wanted / "features" / "x"


@pytest.mark.parametrize("chosen", ["a file", "a file/x", "a" * 300, "read-only"])
@pytest.mark.parametrize("parts", [(), ("x.json",), ("features", "x")])
def test_a_home_that_cannot_be_is_named(tmp_path, monkeypatch, chosen, parts):
    (tmp_path / "a file").touch()
    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path / chosen))
    if chosen == "read-only":
        monkeypatch.setattr(os, "mkdir", lambda *_: read_only())  # root may write everywhere
    with pytest.raises(OSError, match=f"TRANSFER_HOME .now .*{chosen}. to a folder that can be written.*'/"):
        home(*parts)


def read_only(*_, **__):
    raise OSError(errno.EROFS, "Read-only file system")


@pytest.mark.parametrize("write", [
    lambda path: files.write_whole(path, "x"), lambda path: files.write_sealed(path, "x"), files.set_aside,
    lambda path: files.alone(path, "x").__enter__()])
def test_a_folder_that_cannot_be_written_is_named_by_every_writer(home, monkeypatch, write):
    path = transfer.home("x")
    path.touch()
    for name in ("open", "mkdir", "replace"):
        monkeypatch.setattr(os, name, read_only)
    with pytest.raises(OSError, match="Read-only file system. Set TRANSFER_HOME .now .*/home.*x(.sha256)?'"):
        write(path)


def held_by(lock: Path) -> subprocess.Popen:
    """Another program that holds the lock until it is killed; where `flock` fails, as on a network drive."""
    program = ("import errno, fcntl, sys, time\nfrom pathlib import Path\n"
               f"sys.path.insert(0, {NOTEBOOKS!r})\n"
               "def no(*_): raise OSError(errno.ENOTSUP, 'Operation not supported')\nfcntl.flock = no\n"
               "from transfer import files\n"
               f"with files.alone(Path({str(lock)!r}), 'x'): print('held', flush=True); time.sleep(60)")
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    process.stdout.close()
    return process


NOTEBOOKS = str(transfer.ROOT / "notebooks")


@pytest.fixture(params=["ENOSYS", "ENOTSUP", "ENOLCK", "EIO", "EACCES", "EPERM", "EROFS"])
def no_locks(request, monkeypatch):
    """A file system that answers so whenever a file is to be locked."""
    def flock(*_):
        raise OSError(getattr(errno, request.param), "no")

    monkeypatch.setattr(files, "PATIENCE", 0.1)
    monkeypatch.setattr(fcntl, "flock", flock)


def test_without_locks_one_program_at_a_time_all_the_same(tmp_path, no_locks, capsys):
    lock, done = tmp_path / "x.lock", []

    def second():
        with files.alone(lock, "sleeps"):
            done.append("second")

    with files.alone(lock, "sleeps"):
        with pytest.raises(TimeoutError), files.alone(lock, "sleeps", wait=False):
            done.append("never")
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.5)
        assert not done
        done.append("first")
    waiting.join()
    said = capsys.readouterr().out
    assert done == ["first", "second"] and "which sleeps" in said
    assert [left for left in tmp_path.iterdir() if left != lock] == []


def test_without_locks_who_was_killed_stops_nobody(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    lock = tmp_path / "x.lock"
    process = held_by(lock)
    mark = tmp_path / "x.lock.held"
    assert mark.exists()
    process.kill()
    process.wait()
    process = held_by(lock)
    waiting = threading.Thread(target=held_too, args=(lock, monkeypatch))
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive() and f"if none runs any more, delete {mark}" in capsys.readouterr().out
    process.kill()
    process.wait()
    waiting.join(10)
    assert not waiting.is_alive() and not mark.exists()


def held_too(lock, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    with files.alone(lock, "sleeps"):
        pass


def test_a_lock_of_another_user_is_no_reason_to_go_on_without(tmp_path, monkeypatch):
    """In a shared folder: the mark beside it would not stop who holds the true lock."""
    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path))
    (tmp_path / "x.lock").mkdir()  # as root may open all files, a folder stands for what may not be opened
    with pytest.raises(OSError, match="Set TRANSFER_HOME.*x.lock'"), files.alone(tmp_path / "x.lock", "x"):
        pass
    assert not (tmp_path / "x.lock.held").exists()
