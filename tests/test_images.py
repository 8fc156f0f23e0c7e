"""Healthy photographs are read, whatever is wrong around their pixels; the others are named with a remedy."""

import io
import struct
import threading

import numpy as np
import pytest
from conftest import picture
from PIL import ExifTags, Image, ImageFile, PngImagePlugin
from transfer import audit, datasets, images, kinds


def saved(tmp_path, image, name="x.jpg", **how):
    image.save(tmp_path / name, **how)
    return str(tmp_path / name)


def odd_exif() -> Image.Exif:
    """A camera's marks, turned to the right; what is changed in them Pillow cannot write (Pillow#8965)."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "camera"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] = 0.01
    return exif


def entry(tag: int, kind: int, count: int) -> bytes:
    return struct.pack(">HHI", tag, kind, count)


@pytest.mark.parametrize("old, new", [
    (b"camera\0", b"\xff\xfe\xfd\xfc\xfb\xfa\0"), (entry(33434, 12, 1), entry(33434, 2, 9)),
    (entry(33434, 12, 1), entry(33434, 5, 99_999)), (entry(271, 2, 7), entry(271, 5, 1)),
    (entry(271, 2, 7), entry(282, 2, 7)), (entry(271, 2, 7), entry(33432, 10, 1))])
def test_odd_metadata_does_not_make_a_photograph_unreadable(tmp_path, old, new):
    path = saved(tmp_path, picture(1, (40, 60)), exif=odd_exif(), quality=95)
    upright, content = images.decode(path), (tmp_path / "x.jpg").read_bytes()
    assert old in content
    (tmp_path / "x.jpg").write_bytes(content.replace(old, new))
    assert (images.decode(path) == upright).all() and upright.shape == (60, 40, 3)


def test_a_thousand_odd_bytes_of_metadata_are_no_obstacle(tmp_path):
    picture(1, (40, 60)).save(tmp_path / "x.jpg", exif=odd_exif())
    content, random = (tmp_path / "x.jpg").read_bytes(), np.random.default_rng(0)
    start = content.index(b"Exif\0\0") + 6
    end = content.index(b"\xff\xdb", start)
    for _ in range(1000):
        changed = bytearray(content)
        for place in random.integers(start, end, 4):
            changed[place] = random.integers(256)
        (tmp_path / "x.jpg").write_bytes(changed)
        assert sorted(images.decode(str(tmp_path / "x.jpg")).shape) == [3, 40, 60]


def test_much_text_in_a_png_is_no_obstacle(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "x" * 2_000_000, zip=True)
    assert images.decode(saved(tmp_path, picture(1), "x.png", pnginfo=text)).shape == (80, 100, 3)


@pytest.mark.parametrize("mark", range(1, 9))
def test_every_rotation_mark_is_obeyed_as_pillow_does(tmp_path, mark):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = mark
    path = saved(tmp_path, picture(mark, (30, 50)), "x.png", exif=exif)
    with Image.open(path) as image:
        assert (images.decode(path) == np.asarray(ImageOps.exif_transpose(image))).all()
    assert images.look(path)[1]["width"] == images.decode(path).shape[1]


def grey16(tmp_path, name, highest):
    values = np.linspace(0, highest, 80 * 100).reshape(80, 100).astype("uint16")
    return saved(tmp_path, Image.fromarray(values), name)


def test_scans_of_12_bits_are_as_bright_as_others_and_the_whole_set_has_one_white(home, tmp_path):
    for label in ("one", "two"):
        (tmp_path / label).mkdir()
        for number in range(5):
            grey16(tmp_path / label, f"{number}.png", 4000 - 700 * number - 9 * (label == "two"))
    photographs = datasets.from_folder(tmp_path, "x")
    assert photographs.white == 0 and audit.undamaged(photographs).white == 4095
    parts = audit.split(photographs, alike_bits=None)
    assert {part.white for part in parts} == {4095}
    assert images.decode(str(tmp_path / "one" / "0.png"), white=4095).max() == 249
    assert images.decode(str(tmp_path / "one" / "4.png"), white=4095).max() == 74  # darker, as it is
    assert images.decode(str(tmp_path / "one" / "4.png"), white=255).max() == 255, "it does not wrap"
    table = audit.examine(photographs)
    assert sorted(set(table["white"])) == [2047, 4095] and set(table["mode"]) == {"I;16"}


def test_a_hot_pixel_or_burnt_in_text_does_not_darken_the_set(tmp_path):
    values = np.full((90, 90), 3000, "uint16")
    values[:4, :4] = 65_535
    pixels, about = images.look(saved(tmp_path, Image.fromarray(values), "x.png"))
    assert about["white"] == 4095 and np.median(pixels) == 186 and pixels.max() == 255


def test_scans_of_several_ranges_are_said(home, tmp_path):
    for label, highest in (("one", 4000), ("two", 65_000)):
        (tmp_path / label).mkdir()
        grey16(tmp_path / label, "x.png", highest)
    photographs = datasets.from_folder(tmp_path, "x")
    said = audit.advice(photographs, audit.examine(photographs))
    assert any("one/x.png goes to 4,095, two/x.png to 65,535" in sentence for sentence in said)


def test_an_excel_error_is_no_group(tmp_path):
    for label in ("one", "two"):
        (tmp_path / label).mkdir()
        saved(tmp_path / label, picture(1), "x.png")
    (tmp_path / "SOURCES.csv").write_text("file;group\none/x.png;#N/D\ntwo/x.png;—\n", encoding="utf-8")
    assert list(datasets.from_folder(tmp_path, "x").groups) == ["one/x.png", "two/x.png"]


@pytest.mark.parametrize("mode", ["L", "I;16", "RGBA", "CMYK", "RGB"])
def test_a_turned_tiff_without_compression_is_no_noise(tmp_path, mode):
    grey = picture(1, (150, 200)).convert("L")
    image = Image.fromarray(np.asarray(grey).astype("uint16") * 257) if mode == "I;16" else grey.convert(mode)
    turned, upright = (images.decode(saved(tmp_path, image, f"{mark}.tif", tiffinfo={274: mark}))
                       for mark in (6, 1))
    assert turned.shape == (200, 150, 3) and np.array_equal(turned, np.rot90(upright, -1))


def test_a_scan_in_which_0_is_white_is_no_negative(tmp_path):
    values = np.linspace(0, 4000, 8100).reshape(90, 90).astype("uint16")
    content = io.BytesIO()
    Image.fromarray(values).save(content, "TIFF")
    for name, photometric in (("white", 0), ("black", 1)):
        tag = struct.pack("<HHII", 262, 3, 1, photometric)
        assert content.getvalue().count(struct.pack("<HHII", 262, 3, 1, 1)) == 1
        changed = content.getvalue().replace(struct.pack("<HHII", 262, 3, 1, 1), tag)
        (tmp_path / f"{name}.tif").write_bytes(changed)
    white, black = (images.decode(str(tmp_path / f"{name}.tif")) for name in ("white", "black"))
    assert np.array_equal(white, 255 - black)


def test_a_png_with_a_damaged_note_is_read(tmp_path):
    path = saved(tmp_path, picture(1), "x.png", dpi=(72, 72))
    whole, content = images.decode(path), (tmp_path / "x.png").read_bytes()
    at = content.index(b"pHYs")
    (tmp_path / "x.png").write_bytes(content[:at + 5] + b"\xff" + content[at + 6:])  # its checksum is wrong
    assert np.array_equal(images.decode(path), whole)


def test_a_test_folder_gets_the_white_of_what_was_learned_from(home, tmp_path):
    for folder, highest in (("learn", 4000), ("test", 900)):
        for label in ("one", "two"):
            (tmp_path / folder / label).mkdir(parents=True)
            grey16(tmp_path / folder / label, f"{folder}.png", highest - 100 * (label == "two"))
    learn, test = (datasets.from_folder(tmp_path / name, name) for name in ("learn", "test"))
    assert audit.without_copies(test, learn, bits=None).white == 4095


@pytest.mark.parametrize("image", [
    Image.fromarray(np.array([[0.0, 1.0]], "float32")), Image.fromarray(np.array([[0, 70_000]], "int32")),
    Image.fromarray(np.array([[-5, 70]], "int32"))])
def test_measurements_that_are_no_picture_are_named_and_do_not_wrap(tmp_path, image):
    with pytest.raises(ValueError, match=r"x.tiff: its values go from .* save it as grey of 8 or 16 bits"):
        images.decode(saved(tmp_path, image, "x.tiff"))


def heic(tmp_path, name, image):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(image).save(tmp_path / name, quality=90)
    return str(tmp_path / name)


@pytest.mark.parametrize("name", ["x.heic", "X.HEIC", "x.jpg"])
def test_heic_is_known_by_its_bytes_and_read(tmp_path, name):
    path = heic(tmp_path, name, picture(1))
    near = images.decode(path).astype(int) - np.asarray(picture(1)).astype(int)
    assert np.abs(near).mean() < 5


def test_heic_without_its_package_is_told_with_a_remedy_that_works(home, tmp_path, monkeypatch, capsys):
    for label in ("one", "two"):
        (tmp_path / label).mkdir()
        for number in range(4):
            name = f"{number}.{'jpg' if number else 'heic'}"
            heic(tmp_path / label, name, picture(10 * number + ord(label[0])))
    photographs = datasets.from_folder(tmp_path, "x")
    assert len(photographs) == 8
    with monkeypatch.context() as without:
        without.setitem(__import__("sys").modules, "pillow_heif", None)  # as where it is not installed
        without.setattr(Image, "OPEN", {kind: how for kind, how in Image.OPEN.items() if kind != "HEIF"})
        table = audit.examine(photographs)
        said, = [one for one in audit.advice(photographs, table) if "unreadable" in one]
        assert "3 more" in said and "`pip install pillow-heif`" in said and "set aside until then" in said
        assert "delete" not in said
        capsys.readouterr()
        assert not audit.readable(table).all()
        assert capsys.readouterr().out.count("\n") == 1, "one sentence for many files"
    assert not audit.examine(photographs)["problem"].any(), "nothing of it is remembered"


def test_cut_off_pictures_are_called_damaged(tmp_path):
    for ending in ("png", "jpg", "webp", "tif", "avif"):
        picture(1).save(tmp_path / f"x.{ending}")
        (tmp_path / f"x.{ending}").write_bytes((tmp_path / f"x.{ending}").read_bytes()[:30])
        with pytest.raises(ValueError, match=f"x.{ending}: ") as caught:
            images.decode(str(tmp_path / f"x.{ending}"))
        assert "no picture" not in str(caught.value)


FTYP = struct.pack(">I", 24) + b"ftyp"


@pytest.mark.parametrize("content, said", [
    (b"", "it is empty: get it again"), (b"<!DOCTYPE html><html>", "it is a web page"),
    (b"\n<html>", "it is a web page"), (b"version https://git-lfs.github.com/spec/v1\n", "`git lfs pull`"),
    (FTYP + b"isom\0\0\0\0mp42mp41", "it is a film"), (FTYP + b"qt  \0\0\0\0qt  wide", "it is a film"),
    (b"%PDF-1.7", "it is a PDF"), (b"PK\3\4rest", "it is a zip file"), (b"8BPS\0\1", "a Photoshop file"),
    (b"<svg xmlns='x'>", "an SVG drawing"),
    (b"hello", "it is no picture, or of a kind that is not read here")])
def test_what_is_no_photograph_is_named_by_what_it_is(tmp_path, content, said):
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(ValueError, match="x.jpg: ") as caught:
        images.decode(str(tmp_path / "x.jpg"))
    assert said in str(caught.value) and "cannot identify" not in str(caught.value)


def test_a_picture_of_too_many_pixels_is_told_so_before_it_is_read(tmp_path, monkeypatch):
    assert Image.MAX_IMAGE_PIXELS == kinds.MOST / 2, "Pillow refuses twice as many"
    path = saved(tmp_path, picture(1))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 80 * 100 // 2 - 1)
    with pytest.raises(ValueError, match="x.jpg: it has more than 300 megapixels: scale it down"):
        images.decode(path)


@pytest.mark.parametrize("name, how", [("x.jpg", {"quality": 90}), ("x.png", {}), ("x.gif", {})])
def test_a_large_photograph_is_halved_and_looks_the_same(tmp_path, monkeypatch, name, how):
    path = saved(tmp_path, picture(5, (200, 300)), name, **how)
    whole = images.decode(path, (32, 32)).astype(int)
    monkeypatch.setattr(images, "LARGE", 40_000)
    pixels, about = images.look(path)
    assert pixels.shape[0] * pixels.shape[1] <= 40_000 and (about["width"], about["height"]) == (300, 200)
    assert np.abs(images.decode(path, (32, 32)) - whole).mean() < 3


def test_large_pictures_that_are_not_halved_while_reading_are_read_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "LARGE", 5_000)
    at_once, most, load = [], [], ImageFile.ImageFile.load

    def slow(self):
        at_once.append(1)
        most.append(len(at_once))
        threading.Event().wait(0.02)
        at_once.pop()
        return load(self)

    path = saved(tmp_path, picture(1), "x.png")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", slow)
    threads = [threading.Thread(target=images.decode, args=(path,)) for _ in range(4)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert len(most) >= 4 and max(most) == 1


def test_pictures_of_one_colour_are_named_and_do_not_look_alike(home, tmp_path):
    for label in ("one", "two"):
        (tmp_path / label).mkdir()
        for number in range(4):
            picture(10 * number + ord(label[0])).save(tmp_path / label / f"{number}.png")
        for shade in (0, 90):
            flat = Image.new("RGB", (90, 90), (shade, ord(label[0]), number))
            flat.save(tmp_path / label / f"flat{shade}.png")
    photographs = datasets.from_folder(tmp_path, "x")
    table = audit.examine(photographs)
    assert not any("one of them is wrong" in one for one in audit.advice(photographs, table))
    assert list(photographs.files[table["problem"] == "blank"]) == [
        f"{label}/flat{shade}.png" for label in ("one", "two") for shade in (0, 90)]
    said = audit.advice(photographs, table)
    assert any("one colour" in one and "one/flat0.png" in one for one in said)
    assert not any("alike" in one for one in said)


def test_other_endings_of_photographs_are_listed(tmp_path):
    endings = ["jfif", "jpe", "pjpeg", "tif", "tiff", "avif", "heic", "heif", "jp2", "JFIF"]
    for label in ("one", "two"):
        (tmp_path / label).mkdir()
        for ending in endings:
            buffer = io.BytesIO()
            picture(1).save(buffer, "JPEG")
            (tmp_path / label / f"x.{ending}").write_bytes(buffer.getvalue())
    photographs = datasets.from_folder(tmp_path, "x")
    assert len(photographs) == 2 * len(endings)
    assert all(images.decode(path).shape == (80, 100, 3) for path in photographs.paths)


def test_a_raw_file_of_a_camera_is_told_as_such(tmp_path):
    (tmp_path / "x.CR2").write_bytes(b"II*\0\x10\0\0\0CR\2\0")
    assert kinds.remedy(str(tmp_path / "x.CR2")) == (
        "it is a raw file of a camera (.cr2): export it as JPEG or PNG")


def odd_pictures(tmp_path):
    for mark in range(1, 9):
        exif = odd_exif()
        exif[ExifTags.Base.Orientation] = mark
        yield saved(tmp_path, picture(mark, (30, 50)), f"{mark}.jpg", exif=exif)
    yield grey16(tmp_path, "grey.png", 4000)
    clear = Image.fromarray(np.full((40, 40), 500, "uint16"))
    yield saved(tmp_path, clear, "clear.png", transparency=500)
    yield saved(tmp_path, picture(1).convert("P"), "palette.png", transparency=3)
    yield saved(tmp_path, picture(2).convert("CMYK"), "cmyk.jpg")
    yield heic(tmp_path, "x.jpg", picture(3))


def test_the_script_without_tensorflow_reads_what_the_lessons_read(tmp_path):
    from test_pipeline import litert_script

    script = litert_script()
    for path in odd_pictures(tmp_path):
        for white in (0, 4095, 65_535):
            found = script.read(path, (32, 32), white)[0]
            assert np.array_equal(found, images.decode(path, (32, 32), white)), path
    assert (images.decode(str(tmp_path / "clear.png")) == 255).all()
