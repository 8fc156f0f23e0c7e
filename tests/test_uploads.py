"""Archives and photographs that a reader uploads: nothing gets out, nothing good is lost."""

import errno
import io
import os
import shutil
import struct
import threading
import time
import zipfile

import pytest
import transfer
from conftest import picture
from transfer import datasets, files, uploads


def png(seed: int = 0) -> bytes:
    content = io.BytesIO()
    picture(seed, (8, 8)).save(content, "png")
    return content.getvalue()


def packed(path, members: dict, method=zipfile.ZIP_DEFLATED):
    """A .zip of these names and contents."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def classes(*names, top="", number=2) -> dict:
    return {f"{top}{name}/{i}.png": png(i) for name in names for i in range(number)}


def everything(folder) -> dict:
    """Every file below a folder and what it holds, without locks."""
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_an_upload_of_either_version_of_the_widget(home):
    new, old = ({"name": "a.png", "content": memoryview(b"1")},), {"b.png": {"content": b"2"}}
    for value, content in ((new, b"1"), (old, b"2")):
        path, = datasets.uploaded(value)
        assert open(path, "rb").read() == content


def test_an_archive_of_class_folders_is_unpacked(home, folder, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "mine"), "zip", folder.parent, "set")
    assert len(datasets.from_folder(datasets.unpack(archive), "mine")) == 36
    with open(archive, "r+b") as file:
        file.truncate(500)
    with pytest.raises(ValueError, match="damaged"):
        datasets.unpack(archive)
    assert len(list((home / "uploads" / "mine").rglob("*.jpg"))) == 36, "the good one stays"


def test_two_files_of_one_name_are_two_files(home):
    value = tuple({"name": "IMG_1.jpg", "content": content} for content in (b"one", b"two", b"two"))
    paths = datasets.uploaded(value)
    assert [open(path, "rb").read() for path in paths] == [b"one", b"two", b"two"] and len(set(paths)) == 3
    assert datasets.uploaded(value[:1]) == paths[:1], "the same one again is no new file"


@pytest.mark.parametrize("name", ["", ".", "..", "../out.jpg", "/tmp/out.jpg", "..\\out.jpg", "a/",
                                  "C:\\x\\out.jpg", "\0.jpg", "a\nb.jpg", "ä" * 300 + ".jpg", "\ud800.jpg",
                                  ".lock"])
def test_whatever_its_name_an_upload_stays_inside(home, name, tmp_path):
    (tmp_path / "home").mkdir()
    path, = datasets.uploaded(({"name": name, "content": b"1"},))
    assert os.path.dirname(os.path.realpath(path)) == str(home / "uploads")
    assert list(everything(tmp_path).values()) == [b"1"] and path.isprintable()
    assert path.endswith(".jpg") or ".jpg" not in name


def test_an_upload_does_not_replace_an_unpacked_folder(home, tmp_path):
    datasets.unpack(packed(tmp_path / "pets.zip", classes("a", "b")))
    path, = datasets.uploaded(({"name": "pets", "content": b"1"},))
    assert open(path, "rb").read() == b"1" and (home / "uploads" / "pets" / "a").is_dir()


@pytest.mark.parametrize("name", ["...zip", "..zip", ".zip", " .zip", ".lock.zip", ".unpacking-1.zip"])
def test_a_name_that_is_no_folder_is_refused_and_nothing_deleted(home, tmp_path, name):
    datasets.unpack(packed(tmp_path / "good.zip", classes("a", "b")))
    before = everything(home)
    with pytest.raises(ValueError, match="rename it"):
        datasets.unpack(packed(tmp_path / name, classes("a", "b")))
    assert everything(home) == before


@pytest.mark.parametrize("name", ["C:\\x\\pets.zip", "a\nb.zip", "pets. .zip"])
def test_odd_names_of_archives_give_a_folder_inside(home, tmp_path, name):
    root = datasets.unpack(packed(tmp_path / name, classes("a", "b")))
    assert root.parent == home / "uploads" and root.name.isprintable() and not root.name.endswith((".", " "))


def test_an_archive_inside_its_own_target_is_not_deleted(home, tmp_path):
    root = datasets.unpack(packed(tmp_path / "pets.zip", classes("a", "b")))
    inside = shutil.copy(tmp_path / "pets.zip", root)
    with pytest.raises(ValueError, match="move it"):
        datasets.unpack(inside)
    assert os.path.exists(inside) and (root / "a" / "0.png").exists()


def test_a_link_of_that_name_is_replaced_and_what_it_shows_stays(home, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.jpg").touch()
    (home / "uploads").mkdir(parents=True)
    (home / "uploads" / "pets").symlink_to(tmp_path / "mine")
    root = datasets.unpack(packed(tmp_path / "pets.zip", classes("a", "b")))
    assert (root / "a").is_dir() and (tmp_path / "mine" / "precious.jpg").exists()
    assert sorted(os.listdir(home / "uploads")) == [".lock", "pets"]


@pytest.mark.parametrize("member", ["../out.png", "a/../../out.png", "/out.png", "\\out.png", "..\\out.png",
                                    "C:/out.png", "c:out.png", "//host/share/out.png"])
def test_a_member_that_leaves_its_folder_is_refused(home, tmp_path, member):
    archive = packed(tmp_path / "bad.zip", classes("a", "b") | {member: b"x"})
    with pytest.raises(ValueError, match="outside.*nothing is unpacked"):
        datasets.unpack(archive)
    assert everything(home) == {}


def test_a_member_that_is_a_link_is_refused(home, tmp_path):
    link = zipfile.ZipInfo("a/evil.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with pytest.raises(ValueError, match="link"):
        datasets.unpack(packed(tmp_path / "bad.zip", {link: "/etc/passwd"} | classes("a", "b")))
    assert everything(home) == {}


@pytest.mark.parametrize("kind", ["tar", "gztar", "text", "empty"])
def test_only_zip_is_unpacked(home, folder, tmp_path, kind):
    if "tar" in kind:
        archive = shutil.make_archive(str(tmp_path / "x"), kind, folder.parent, "set")
    else:
        archive = tmp_path / "x.rar"
        archive.write_text("Rar!" * (kind == "text"))
    with pytest.raises(ValueError, match=r"x\.\S+ is damaged or no \.zip: pack the folder as \.zip"):
        datasets.unpack(archive)
    assert everything(home) == {}


def test_what_is_no_file_is_said(home, tmp_path):
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "folder.zip").mkdir()
    for name in ("pipe.zip", "folder.zip", "missing.zip"):
        with pytest.raises(FileNotFoundError, match=name):
            datasets.unpack(tmp_path / name)


def bomb(tmp_path, size=3_000_000_000):
    """A small archive that says it holds so many bytes of zeros."""
    path = packed(tmp_path / "bomb.zip", classes("a", "b") | {"a/zeros.png": bytes(3_000_000)})
    return patched(path, "a/zeros.png", size=size)


def patched(path, name, size=None, flag=None, method=None):
    """The archive with other numbers in the headers of one member."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        local = archive.getinfo(name).header_offset
    central = data.index(name.encode(), data.index(b"PK\1\2")) - 46
    for at, offsets in ((local, (6, 8, 22)), (central, (8, 10, 24))):
        for offset, kind, value in zip(offsets, "HHI", (flag, method, size)):
            if value is not None:
                struct.pack_into("<" + kind, data, at + offset, value)
    path.write_bytes(data)
    return path


def test_a_bomb_is_refused_before_the_first_byte(home, tmp_path):
    with pytest.raises(ValueError, match="would grow from 0.0 to 3,000 MB.*300 times"):
        datasets.unpack(bomb(tmp_path))
    assert everything(home) == {}


def test_a_bomb_that_is_padded_or_overlaps_is_refused_too(home, tmp_path):
    padded = bomb(tmp_path)
    padded.write_bytes(bytes(15_000_000) + padded.read_bytes())  # as in front of a self-extracting program
    with pytest.raises(ValueError, match="would grow"):
        datasets.unpack(padded)
    data = packed(tmp_path / "o.zip", classes("a", "b") | {"a/z.png": bytes(1_000_000)}).read_bytes()
    start, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    at = data.index(b"a/z.png", start) - 46
    again = b"".join(data[at:at + 46] + b"a/%05d" % i for i in range(500))  # the same data 500 times more
    tail = bytearray(data[end:])
    struct.pack_into("<HHI", tail, 8, 505, 505, end + len(again) - start)
    (tmp_path / "o.zip").write_bytes(data[:end] + again + tail)
    with pytest.raises(ValueError, match="o.zip would grow"):
        datasets.unpack(tmp_path / "o.zip")
    assert everything(home) == {}


def test_more_than_there_is_room_for_is_refused(home, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100_000_001))
    with pytest.raises(OSError, match=r"pets.zip cannot be unpacked \(it needs.*MB are free"):
        datasets.unpack(packed(tmp_path / "pets.zip", classes("a", "b", number=2)))
    assert everything(home) == {}


def test_too_many_members_are_refused(home, tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "MEMBERS", 5)
    with pytest.raises(ValueError, match="6 files, more than 5"):
        datasets.unpack(packed(tmp_path / "many.zip", classes("a", "b", number=3)))
    monkeypatch.setattr(zipfile, "ZipFile", None)  # the list of contents, perhaps a million, is not read
    with pytest.raises(ValueError, match="6 files, more than 5"):
        datasets.unpack(tmp_path / "many.zip")


def test_a_number_of_members_beyond_16_bits_is_read_before_them(home, tmp_path, monkeypatch):
    archive = packed(tmp_path / "many.zip", classes("a", "b"))
    content = archive.read_bytes()
    end = content.rindex(b"PK\5\6")
    last = bytearray(content[end:])
    last[8:12] = b"\xff" * 4  # "more than fit in here", and before it the record that says how many
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 65_540, 65_540, 0, 0)
    archive.write_bytes(content[:end] + record + struct.pack("<4sIQI", b"PK\6\7", 0, end, 1) + last)
    assert uploads._announced(archive) == 65_540
    monkeypatch.setattr(uploads, "MEMBERS", 65_539)
    with pytest.raises(ValueError, match="65,540 files, more than 65,539"):
        datasets.unpack(archive)


@pytest.mark.parametrize("size", [10, 2_999_000, 5_000_000])
def test_a_header_that_lies_about_the_size_is_damage(home, tmp_path, size):
    with pytest.raises(ValueError, match="damaged"):
        datasets.unpack(bomb(tmp_path, size))
    assert everything(home) == {}


def test_drawings_that_compress_well_pass(home, tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "ALWAYS_ALLOWED", 1e6)
    content = io.BytesIO()
    picture(0, (120, 120)).resize((720, 720), 0).save(content, "bmp")
    names = ("a/0.bmp", "a/1.bmp", "b/0.bmp", "b/1.bmp")
    archive = packed(tmp_path / "bmp.zip", dict.fromkeys(names, content.getvalue()))
    assert 20 < 4 * len(content.getvalue()) / os.path.getsize(archive) < 300
    assert len(datasets.from_folder(datasets.unpack(archive), "x")) == 4


def damaged_inside(path):
    """One byte of the packed data in the middle of a member, so that only unpacking notices."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        member = archive.infolist()[1]
    data[member.header_offset + 30 + len(member.filename) + member.compress_size // 2] ^= 0xFF
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2,
                                    zipfile.ZIP_LZMA])
def test_damage_in_the_middle_leaves_the_earlier_upload(home, tmp_path, method):
    good = {f"{name}/{i}.png": os.urandom(3000) for name in "ab" for i in range(2)}
    archive = packed(tmp_path / "pets.zip", good, method)
    datasets.unpack(archive)
    before = everything(home)
    assert len(before) == 4
    with pytest.raises(ValueError, match="pets.zip is damaged.*upload it again"):
        datasets.unpack(damaged_inside(archive))
    assert everything(home) == before
    datasets.unpack(packed(archive, classes("c", "d")))
    assert sorted(everything(home)) == [f"uploads/pets/{name}/{i}.png" for name in "cd" for i in range(2)]


@pytest.mark.parametrize("change, says", [({"flag": 1}, "encrypted: pack it anew without a password"),
                                          ({"method": 9}, "not read here.*Deflate"),
                                          ({"method": 99}, "not read here.*Deflate")])
def test_what_cannot_be_read_is_said_with_a_remedy(home, tmp_path, change, says):
    archive = patched(packed(tmp_path / "pets.zip", classes("a", "b")), "a/0.png", **change)
    with pytest.raises(ValueError, match=f"pets.zip.*{says}"):
        datasets.unpack(archive)
    assert everything(home) == {}


@pytest.mark.parametrize("members, says", [
    ({"a/inner.zip": b"x", "b/inner.ZIP": b"x"}, "no photographs but 2 other archives: unpack those"),
    ({f"a/{i}.dng": b"x" for i in range(12)} | {"a/x": b"x"}, "no photo.*but 12 .dng, 1 without ending"),
    (classes("a") | {"a": b"x"}, "a file and a folder of the name 'a'"),
    (classes("a") | {"b/c": b"x", "b/c/d/0.png": b"x"}, "a file and a folder of the name 'b/c'"),
    (classes("a") | {"a/" + "é" * 128 + ".png": b"x"}, "name of more than 255 bytes.*rename"),
    ({}, "no photographs .*but nothing")])
def test_what_is_inside_is_said_when_it_cannot_be_used(home, tmp_path, members, says):
    with pytest.raises(ValueError, match=f"x.zip holds a?.*{says}"):
        datasets.unpack(packed(tmp_path / "x.zip", members))
    assert everything(home) == {}


def test_archives_beside_photographs_are_said(home, tmp_path, capsys):
    datasets.unpack(packed(tmp_path / "x.zip", classes("a", "b") | {"more.zip": b"x"}))
    assert "1 of the files inside are archives themselves" in capsys.readouterr().out


def test_two_names_that_are_one_on_this_disk_are_said(home, tmp_path, monkeypatch):
    """As on a Mac or Windows, which do not tell "A" from "a"."""
    write = uploads._write
    monkeypatch.setattr(uploads, "_write", lambda content, member, path: write(
        content, member, path.with_name(path.name.lower())))
    with pytest.raises(ValueError, match="two names that are one on this disk .'0.png'.*rename"):
        datasets.unpack(packed(tmp_path / "x.zip", classes("a", "b") | {"a/0.PNG": png(9)}))
    assert everything(home) == {}


def test_a_disk_that_fills_up_is_named_with_what_to_do(home, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="pets.zip cannot be unpacked .No space.*TRANSFER_HOME .now .*/home"):
        datasets.unpack(packed(tmp_path / "pets.zip", classes("a", "b")))
    assert everything(home) == {}


def test_an_archive_without_photographs_replaces_nothing(home, tmp_path):
    datasets.unpack(packed(tmp_path / "pets.zip", classes("a", "b")))
    with pytest.raises(ValueError, match="holds no photographs"):
        datasets.unpack(packed(tmp_path / "pets.zip", {"read.me": b"x", "__MACOSX/a/._0.png": b"x"}))
    assert len(everything(home)) == 4


TWICE = "training_set/training_set"
MAC = {"__MACOSX/a/._0.png": b"x", ".DS_Store": b"x", "a/.hidden.png": b"x"}


@pytest.mark.parametrize("members, inner, names", [
    (classes("_other", "alpha"), "", ["_other", "alpha"]),
    (classes("cats", "dogs", top=f"{TWICE}/"), TWICE, ["cats", "dogs"]),
    (classes("daisy", "rose", top="x/x/") | {"x/README.txt": b"x"}, "x/x", ["daisy", "rose"]),
    (classes("a", "b") | MAC, "", ["a", "b"]),
    (classes("a", "b", top="./pets/"), "pets", ["a", "b"]),
    ({name.replace("/", "\\"): content for name, content in classes("a", "b").items()}, "", ["a", "b"])])
def test_the_class_folders_are_found(home, tmp_path, members, inner, names):
    root = datasets.unpack(packed(tmp_path / "pets.zip", members))
    found = datasets.from_folder(root, "pets")
    assert root == home / "uploads" / "pets" / inner and found.class_names == names and len(found) == 4


def test_one_class_alone_stays_a_folder_in_the_answer(home, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"found \['cats'\]"):
        datasets.from_folder(datasets.unpack(packed(tmp_path / "pets.zip", classes("cats"))), "pets")


def test_the_names_of_a_mac_are_read_and_composed(home, tmp_path):
    archive = packed(tmp_path / "fotos.zip", classes("mac\u0327a\u0303", "pe\u0302ra"))  # decomposed
    data = archive.read_bytes()
    for flags in (b"PK\3\4\x14\0", b"PK\1\2\x14\3\x14\0"):
        data = data.replace(flags + b"\0\x08", flags + b"\0\0")
    archive.write_bytes(data)
    assert not zipfile.ZipFile(archive).infolist()[0].flag_bits & 0x800
    assert datasets.from_folder(datasets.unpack(archive), "x").class_names == ["maçã", "pêra"]


class Unmarked(zipfile.ZipInfo):
    """A member whose name is in another encoding, and which does not say so."""

    def _encodeFilenameFlags(self):  # zipfile's own, which knows ASCII and UTF-8 only
        return self.filename.encode(self.page), self.flag_bits & ~0x800


@pytest.mark.parametrize("page, names", [
    ("cp850", ["maçã", "limão", "pêra"]), ("cp850", ["LIMÃO", "MAÇÃ"]), ("cp850", ["limões", "pinhão"]),
    ("cp1252", ["maçã", "limão", "pêra"]), ("cp1252", ["LIMÃO", "MAÇÃO"]), ("cp850", ["Bäume", "Größe"]),
    ("utf-8", ["maçã", "limão"]), ("cp850", ["niño", "ratón"]), ("cp850", ["plain", "names"])])
def test_the_names_of_windows_are_read(home, tmp_path, page, names):
    """The Explorer writes them in the code page of the system, which in Brazil is cp850."""
    Unmarked.page = page
    archive = packed(tmp_path / "x.zip", {Unmarked(name): png() for name in classes(*names)})
    assert datasets.from_folder(datasets.unpack(archive), "x").class_names == sorted(names)


def test_one_name_twice_is_refused_instead_of_losing_one(home, tmp_path):
    with pytest.raises(ValueError, match="two files of the name"):
        datasets.unpack(packed(tmp_path / "x.zip", {"ma\u0303/0.png": png(), "m\u00e3/0.png": png(1)}))


def test_two_notebooks_unpack_one_after_the_other(home, tmp_path):
    archive = packed(tmp_path / "pets.zip", classes("a", "b", number=20))
    failed = []

    def unpack():
        try:
            assert len(datasets.from_folder(datasets.unpack(archive), "x")) == 40
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=unpack) for _ in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(everything(home)) == 40 and sorted(os.listdir(home / "uploads")) == [".lock", "pets"]


def test_who_waits_for_another_notebook_is_told(home, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "PATIENCE", 0.05)
    with files.alone(transfer.home("uploads", ".lock"), "x"):
        waiting = threading.Thread(target=datasets.uploaded, args=(({"name": "a.png", "content": b"1"},),))
        waiting.start()
        end, said = time.monotonic() + 10, ""
        while "waiting for another notebook or program, which puts something into uploads" not in said:
            said += capsys.readouterr().out
            assert time.monotonic() < end
            time.sleep(0.02)
    waiting.join()


def test_what_a_killed_unpacking_left_goes_and_what_it_took_away_comes_back(home, tmp_path):
    left = home / "uploads" / ".unpacking-abc"
    (left / "old" / "cats" / "a").mkdir(parents=True)
    (left / "new").mkdir()
    datasets.unpack(packed(tmp_path / "pets.zip", classes("a", "b")))
    assert sorted(os.listdir(home / "uploads")) == [".lock", "cats", "pets"]


def test_a_list_of_contents_that_swallows_its_rest_is_damage(home, folder, tmp_path):
    """One bit in the length of an entry's comment, and zipfile takes what follows for that comment."""
    archive = shutil.make_archive(str(tmp_path / "mine"), "zip", folder.parent, "set")
    before = datasets.unpack(archive)
    content = bytearray(open(archive, "rb").read())
    at, swallowed = content.find(b"PK\1\2"), 0
    while (at := content.find(b"PK\1\2", at + 1)) > 0:
        damaged = bytearray(content)
        damaged[at + 33] ^= 0x80
        with open(archive, "wb") as file:
            file.write(damaged)
        try:
            datasets.unpack(archive)
        except ValueError as error:
            swallowed += "not whole" in str(error)
        assert len(datasets.from_folder(before, "mine")) == 36
    assert swallowed
