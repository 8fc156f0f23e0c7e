"""Whatever the file, out come red, green and blue, and the label stays with its image."""

import importlib.util
import os
import sys

import numpy as np
import pytest
from conftest import picture
from PIL import EpsImagePlugin, Image
from transfer import ROOT, datasets, pipeline


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "1", "RGBA", "LA"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    ending = "jpg" if mode in ("RGB", "L", "CMYK") else "png"
    original = picture(1)
    original.convert(mode).save(tmp_path / f"x.{ending}")
    pixels = pipeline.decode(str(tmp_path / f"x.{ending}"))
    assert pixels.shape == (80, 100, 3) and pixels.dtype == np.uint8
    wanted = np.asarray(original.convert(mode).convert("RGB")).astype(int)
    assert np.abs(pixels - wanted).mean() < 4


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    grey = np.linspace(0, 65535, 80 * 100).reshape(80, 100).astype("uint16")
    Image.fromarray(grey).save(tmp_path / "x.png")
    pixels = pipeline.decode(str(tmp_path / "x.png"))
    assert pixels.min() == 0 and pixels.max() == 255 and 126 < pixels.mean() < 129


def test_a_transparent_ground_becomes_white(tmp_path):
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "x.png")
    assert (pipeline.decode(str(tmp_path / "x.png")) == 255).all()


def test_the_cameras_rotation_is_obeyed(tmp_path):
    original, exif = picture(2), Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter
    original.save(tmp_path / "x.jpg", exif=exif, quality=95)
    pixels = pipeline.decode(str(tmp_path / "x.jpg")).astype(int)
    assert pixels.shape == (100, 80, 3)
    assert np.abs(pixels - np.rot90(np.asarray(original), -1)).mean() < 4


def test_a_damaged_file_is_named(folder):
    victim = folder / "class1" / "03.jpg"
    victim.write_bytes(victim.read_bytes()[:900])
    with pytest.raises(ValueError, match="class1/03.jpg"):
        pipeline.decode(str(victim))
    with pytest.raises(Exception, match="class1/03.jpg"):
        list(pipeline.batches(datasets.from_folder(folder, "x"), size=(32, 32)))


def test_labels_ride_with_their_images_when_shuffled(folder):
    photographs = datasets.from_folder(folder, "x")
    label_of = {pipeline.decode(path, (32, 32)).astype("float32").tobytes(): label
                for path, label in zip(photographs.paths, photographs.labels, strict=True)}
    seen = []
    for images, labels in pipeline.batches(photographs, (32, 32), batch_size=5, shuffle_seed=1):
        for image, label in zip(images.numpy(), labels.numpy(), strict=True):
            assert label_of[image.tobytes()] == label
            seen.append(int(label))
    assert sorted(seen) == sorted(photographs.labels) and seen != list(photographs.labels)


@pytest.mark.parametrize("prefetch", [True, False])
def test_nothing_tunes_itself_so_that_a_pass_ends_when_it_has_ended(folder, prefetch):
    data = pipeline.batches(datasets.from_folder(folder, "x"), (32, 32), prefetch=prefetch)
    assert data.cache().shuffle(3).options().autotune.enabled is False  # whatever is built on it


def test_reading_ahead_changes_no_number(folder):
    photographs = datasets.from_folder(folder, "x")
    for ahead, waiting in zip(pipeline.batches(photographs, (32, 32)),
                              pipeline.batches(photographs, (32, 32), prefetch=False), strict=True):
        assert np.array_equal(ahead[0], waiting[0]) and np.array_equal(ahead[1], waiting[1])


def litert_script():
    """scripts/predict_litert.py, which runs without TensorFlow and so has a decoder of its own."""
    pytest.importorskip("ai_edge_litert")
    spec = importlib.util.spec_from_file_location("predict_litert", ROOT / "scripts" / "predict_litert.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def readers():
    """The lessons' decoder, and its copy in the script that runs without TensorFlow."""
    yield lambda path: pipeline.decode(str(path), (32, 32))
    if importlib.util.find_spec("ai_edge_litert"):
        yield lambda path: litert_script().read(str(path), (32, 32))


@pytest.mark.parametrize("ending", ["jpg", "png", "eps", "ps"])
def test_a_photograph_starts_no_program(tmp_path, monkeypatch, ending):
    script = tmp_path / "bin" / "gs"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nopen({str(tmp_path / 'started')!r}, 'w')\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # look for it again
    photograph = tmp_path / f"x.{ending}"
    photograph.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(OSError), Image.open(photograph) as image:
        image.load()
    assert (tmp_path / "started").exists(), "Pillow alone does start it"
    (tmp_path / "started").unlink()
    for read in readers():
        with pytest.raises(ValueError, match=f"x.{ending}"):
            read(photograph)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "MPO", "AVIF", "JPEG2000"])
def test_every_kind_of_photograph_is_read_whatever_its_ending(tmp_path, kind):
    if kind not in Image.SAVE_ALL and kind not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {kind}")
    more = {"save_all": True, "append_images": [picture(4)]} if kind == "MPO" else {}
    picture(3).save(tmp_path / "x.jpg", kind, **more)
    with Image.open(tmp_path / "x.jpg") as image:
        assert image.format == kind
    for read in readers():
        assert read(tmp_path / "x.jpg").shape[-3:] == (32, 32, 3)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    (tmp_path / "y.jpg").mkdir()
    for read in readers():
        for name in ("x.jpg", "y.jpg"):
            with pytest.raises(ValueError, match=f"{name}: .*no file but"):
                read(tmp_path / name)
        with pytest.raises(ValueError, match="z.jpg"):
            read(tmp_path / "z.jpg")
