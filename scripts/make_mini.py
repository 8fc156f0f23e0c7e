"""Build data/mini: 200 small pictures of the ten animals, twenty a class, to try the tutorial on.

    pip install resvg-py==0.5.0 numpy==2.4.6 pillow==13.0.0 tqdm
    python scripts/make_mini.py [--output data/mini]

The drawings listed in mini_drawings.csv are placed on backgrounds painted here. Drawings of one pose, or of
one animal in another set, are one group. A "face" in a group's name has no feet to stand on, and a "bust" is
cut off by the lower edge of the picture. A drawing with a colour is a black silhouette to be filled with it.
The drawings' packages are kept in build/mini-sources. Missing ones are fetched with `npm pack` and `apt-get
download`; dpkg-deb opens the Debian one. Every random choice comes from a picture's name, so two runs give
the same bytes.
"""

import argparse
import csv
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter, ImageOps
from tqdm import tqdm

SCRIPTS = Path(__file__).resolve().parent
SOURCES = SCRIPTS.parent / "build" / "mini-sources"
PACKAGES = {  # set: version and sha256 of its package
    "emojione": ("1.2.3", "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e"),
    "fluent-emoji": ("1.2.7", "8044210dbf11e016d4de85f15d01a243423bd832457e7e2491df1b751c0e272b"),
    "fluent-emoji-flat": ("1.2.6", "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175"),
    "fxemoji": ("1.2.2", "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef"),
    "game-icons": ("1.2.4", "f5758efb34d91c4f50b941f355f16ee73938625e5996fabc25171288404460a4"),
    "icon-park": ("1.2.4", "c1a25212a31602aca93c3fa6f6b3288e89b9d7811afc132dfd78506e9d586b6f"),
    "mdi": ("1.2.3", "ddd817a7213f91de51147943915c0cda8c8b818a53c92b5c068cfa9883c6d7ac"),
    "noto": ("1.2.9", "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad"),
    "noto-v1": ("1.2.5", "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37"),
    "twemoji": ("1.2.5", "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7"),
    "openclipart": ("1:0.18+dfsg-19", "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02"),
}
PER_CLASS = 20
SEEN_FROM_ABOVE = {"farfalla", "ragno"}
MODES = {"cavallo_007": "L", "gallina_012": "CMYK"}  # all others are RGB, as photographs are
EDGE = 640  # the longer side of a drawing before it is placed

SCENES = {  # sky or wall from above, ground from afar, what there is to see, hills at the horizon
    "meadow": ("#6fa8d8 #dcecf2", "#9fb86a #5d8a3a", "grass", "#6d8f6a"),
    "forest": ("#4f7a45 #b9cf8a", "#7a8f4e #4a5f30", "bokeh grass", "#3f5f3c"),
    "beach": ("#7fb7dc #e6eff0", "#e3cfa2 #d0b27c", "sea", ""),
    "snow": ("#a3bad2 #dfe6ee", "#dde5ee #c3d0df", "", "#7f93a6"),
    "autumn": ("#c9a86a #efe0b8", "#a9803f #7a5428", "bokeh leaves", "#a8763c"),
    "dusk": ("#5f63a0 #f8bd85", "#a0885f #726642", "grass", "#5a4c68"),
    "studio": ("#b9b2a8 #d9d4cb", "#cfc9bf #b5aea4", "studio", ""),
    "indoors": ("#d9cdb8 #cbbda4", "#a9794c #8a5a34", "planks", ""),
    "barn": ("#6f5238 #8f6d48", "#c9a860 #a8853f", "wall straw", ""),
    "rocks": ("#86b4dc #e6eeee", "#a39a8c #857b6d", "pebbles", "#8a8f98"),
    "lake": ("#86b4cf #e3ecea", "#8a9a62 #66763f", "sea grass", "#5f7f74"),
    "heath": ("#9cc0de #eef0ea", "#b89ab0 #86697e", "heather grass", "#86968f"),
}
COUNTS = {"grass": 1500, "straw": 900, "leaves": 420, "pebbles": 170}  # of what is scattered on the ground
FLOWERS = [(170, 120, 160), (122, 136, 92)]
LEAVES = [(192, 96, 40), (214, 150, 52), (150, 62, 38), (170, 120, 60), (205, 175, 90)]


def generator(text):
    """A random generator that depends on the text alone."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def to_image(pixels):
    """Numbers between 0 and 255 as an image."""
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def fetch(source):
    """The path of a set's package, downloaded when it is absent and checked in any case."""
    version, checksum = PACKAGES[source]
    if source == "openclipart":
        name, command = f"openclipart-png_{version}_all.deb", f"apt-get download openclipart-png={version}"
    else:
        name, command = f"iconify-json-{source}-{version}.tgz", f"npm pack @iconify-json/{source}@{version}"
    path = SOURCES / name.replace(":", "%3a")
    if not path.exists():
        SOURCES.mkdir(parents=True, exist_ok=True)
        subprocess.run(command.split(), cwd=SOURCES, check=True)
    if hashlib.sha256(path.read_bytes()).hexdigest() != checksum:  # interrupted, or changed at the source
        raise SystemExit(f"{path} has another sha256 than PACKAGES says: delete the file and run again")
    return path


def read_icons(package, names):
    """The named drawings of an icon package, each with its licence, author and address."""
    with tarfile.open(package) as archive:
        icons, info = (json.load(archive.extractfile(f"package/{name}.json")) for name in ("icons", "info"))
    for name in names:
        icon = icons["icons"][name]
        box = f"0 0 {icons['width']} {icon.get('height', icons['height'])}"
        text = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}">{icon["body"]}</svg>'
        png = resvg_py.svg_to_bytes(svg_string=text, width=EDGE, height=EDGE)
        yield name, png, (info["license"]["spdx"], info["author"]["name"], info["author"]["url"])


def read_openclipart(package, names):
    """The named drawings of the Debian package, each with its licence, author and address."""
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with (subprocess.Popen(command, stdout=subprocess.PIPE) as process,
          tarfile.open(fileobj=process.stdout, mode="r|") as archive):
        for member in archive:
            name = member.name.removeprefix("./usr/share/openclipart/png/").removesuffix(".png")
            if name in names:
                png = archive.extractfile(member).read()
                author = Image.open(io.BytesIO(png)).info.get("Author", "").strip() or "unknown"
                yield name, png, ("public domain", author, "https://openclipart.org")


def load_drawings(rows):
    """Every drawing of the table, ready to place, and its credit, by set and name."""
    drawings = {}
    for source in tqdm(PACKAGES, unit="package"):
        colours = {row["drawing"]: row["colour"] for row in rows if row["set"] == source}
        read = read_openclipart if source == "openclipart" else read_icons
        for name, png, credit in read(fetch(source), colours):
            image = Image.open(io.BytesIO(png)).convert("RGBA")
            drawings[source, name] = prepare(image, colours[name]), credit
    return drawings


def silhouette(image, colour):
    """A black silhouette in colour, its gaps and holes in a paler shade."""
    image = ImageOps.expand(image, 24)
    alpha = image.getchannel("A")
    ink = ImageChops.multiply(alpha, image.convert("L").point(lambda value: 255 * (value < 60)))
    outside = alpha.filter(ImageFilter.MaxFilter(19)).point(lambda value: 255 * (value > 127))
    ImageDraw.floodfill(outside, (0, 0), 128)  # what the flood does not reach is a hole
    filled = outside.point(lambda value: 255 * (value != 128)).filter(ImageFilter.MinFilter(19))
    filled = ImageChops.lighter(filled.filter(ImageFilter.GaussianBlur(1.5)), alpha)
    dark = Image.new("RGB", image.size, colour)
    pale = Image.blend(dark, Image.new("RGB", image.size, "#f7ead6"), 0.55)
    result = Image.composite(dark, pale, ink)
    result.putalpha(filled)
    return result


def prepare(image, colour):
    """A drawing cut to its outline, EDGE pixels long, with clean edges and a little relief."""
    image = image.crop(image.getchannel("A").point(lambda value: 255 * (value > 20)).getbbox())
    image = ImageOps.scale(image, EDGE / max(image.size), Image.Resampling.LANCZOS)
    if colour:
        image = silhouette(image, colour)
    # Filters and drawn shadows leave a faint halo round some drawings: only what is clear stays.
    image.putalpha(image.getchannel("A").point(lambda value: min(255, max(0, (value - 170) * 4))))
    image = ImageOps.expand(image.crop(image.getchannel("A").getbbox()), 8)
    soft = np.asarray(image.getchannel("A").filter(ImageFilter.GaussianBlur(22)), np.float32) / 255
    relief = np.roll(soft, (16, 12), (0, 1)) - np.roll(soft, (-16, -12), (0, 1))  # lit from above
    pixels = np.array(image, np.float32)
    pixels[..., :3] -= (70 if colour else 34) * relief[..., None]
    return to_image(pixels)


def clouds(random, width, height, cell, stretch=1.0, octaves=3):
    """Smooth noise between about -1 and 1; cell is the size in pixels of the largest blobs."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        size = max(1.5, cell / 2**octave)
        across, down = width / size / stretch, height / size
        grid = Image.fromarray(random.uniform(-1, 1, (int(down) + 3, int(across) + 3)).astype(np.float32))
        total += np.asarray(grid.resize((width, height), box=(1, 1, 1 + across, 1 + down))) / 2**octave
    return total / 1.2


def gradient(random, first, last, height):
    """A column of colours from the first to the last, each a little varied."""
    first, last = np.array([ImageColor.getrgb(first), ImageColor.getrgb(last)], np.float32)
    vary = random.uniform(0.92, 1.06) * random.uniform(0.97, 1.03, 3)
    steps = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    return (first * (1 - steps) + last * steps) * vary


def boards(random, width, height, board, tone, gap, shade, cell, stretch):
    """Boards side by side, each in a tone of its own, with a grain and shaded gaps between them."""
    tones = np.repeat(random.uniform(-tone, tone, width // board + 2), board)[:width]
    tones[np.arange(width) % board < gap] -= shade
    return tones + 7 * clouds(random, width, height, cell, stretch)


def perspective(texture, height, width):
    """A texture laid on the ground: small and flat far away, large near."""
    zoom = np.linspace(0.22, 1, height, dtype=np.float32)
    depth = np.cumsum(1 / zoom)
    rows = (depth / depth[-1] * (texture.shape[0] - 1)).astype(int)
    columns = (np.arange(width) - width / 2) / zoom[:, None] + texture.shape[1] / 2
    return texture[rows[:, None], columns.astype(int) % texture.shape[1]][..., None]


def scatter(draw, random, size, top, detail, colours):
    """Grass, straw, leaves or pebbles on the ground, the far ones first, larger when near."""
    width, height = size
    for depth in np.sort(random.random(COUNTS[detail])):
        x, y = random.uniform(-0.05, 1.05) * width, top + (height * 1.04 - top) * depth
        scale = (0.25 + depth) * min(size) / 300
        colour = np.array(colours[random.integers(len(colours))]) * random.uniform(0.75, 1.2)
        colour = tuple(int(value) for value in colour.clip(0, 255))
        angle, length = random.uniform(0, np.pi), random.uniform(5, 10) * scale
        if detail == "grass":
            line = x, y, x + random.normal(0, 4) * scale, y - length * 1.4
            draw.line(line, colour, max(1, round(1.5 * scale)))
        elif detail == "straw":
            line = x, y, x + np.cos(angle) * length * 1.7, y + np.sin(angle) * length * 0.6
            draw.line(line, colour, max(1, round(1.4 * scale)))
        elif detail == "leaves":  # a lens, pointed at both ends, turned and foreshortened
            turn = np.linspace(0, 2 * np.pi, 13)
            along, across = np.cos(turn) * length, np.sin(turn) * abs(np.sin(turn)) * length / 2
            right = x + along * np.cos(angle) - across * np.sin(angle)
            down = y + 0.6 * along * np.sin(angle) + 0.8 * across * np.cos(angle)
            draw.polygon(list(zip(right, down)), colour)
        else:  # a stone, darker below
            length *= random.uniform(0.5, 1.5)
            left, above = x - length, y - length * 0.55
            shade = tuple(int(value * 0.72) for value in colour)
            draw.ellipse((left, above, x + length, y + length * 0.6), shade)
            draw.ellipse((left, above, x + length * 0.9, y + length * 0.35), colour)


def above_horizon(random, sky, details, hills, width, height):
    """Sky with hills, a blurred wood, or a wall of upright boards."""
    scene = np.repeat(gradient(random, *sky, height), width, 1)
    if "wall" in details:
        scene += boards(random, width, height, width // 11, 12, 2, 30, width / 3, 0.04)[..., None]
    elif "bokeh" in details:
        scene += 28 * clouds(random, width, height, width / 7)[..., None]
    elif "planks" not in details:
        scene += 13 * clouds(random, width, height, width / 4, 2.2)[..., None]
    if hills:
        bumps = clouds(random, width, 1, width / random.uniform(3, 9))[0]
        ridge = height * (0.95 - random.uniform(0.06, 0.25) * (1.2 + bumps))
        mask = (np.arange(height)[:, None] - ridge).clip(0, 3)[..., None] / 3
        scene += mask * 0.85 * (gradient(random, hills, hills, 1) - scene)
    return scene


def below_horizon(random, ground, details, width, height):
    """The bare ground, boards, or a shore with water in front of the horizon."""
    scene = np.repeat(gradient(random, *ground, height), width, 1)
    rough = 5 if {"studio", "planks", "wall"} & set(details) else 9
    texture = clouds(random, width * 2, height * 3, height / 3, octaves=5)
    scene += rough * perspective(texture, height, width)
    if "planks" in details:
        scene += perspective(boards(random, width * 2, height * 3, 24, 14, 1, 34, 60, 0.12), height, width)
    if "sea" in details:
        shore = int(height * random.uniform(0.15, 0.4))
        water = gradient(random, "#6fa9b8", "#4d8fa3", shore)
        water = water + 11 * clouds(random, width, shore, 5, 9)[..., None]
        edge = shore * (0.86 + 0.1 * clouds(random, width, 1, width / 3)[0])
        depth = (edge - np.arange(shore)[:, None])[..., None]
        strip = scene[:shore]
        strip += depth.clip(0, 2) / 2 * (water - strip)
        strip += 0.6 * np.exp(-(depth / 2.2) ** 2) * (240 - strip)  # foam
    return scene


def background(random, kind, size):
    """A painted scene of one of the SCENES, soft in the distance."""
    width, height = size
    sky, ground, details, hills = SCENES[kind]
    sky, ground, details = sky.split(), ground.split(), details.split()
    horizon = int(height * random.uniform(0.36, 0.58))
    below = height - horizon
    scene = np.concatenate([above_horizon(random, sky, details, hills, width, horizon),
                            below_horizon(random, ground, details, width, below)])
    if "studio" in details:  # one sweep of paper, wall and floor, with light on it
        scene[:] = gradient(random, sky[0], ground[1], height)
        scene += 3 * clouds(random, width, height, width / 3)[..., None]
        scene += 22 * np.exp(-((np.arange(height) - horizon) / (0.3 * height)) ** 2)[:, None, None]
    image = to_image(scene)
    draw = ImageDraw.Draw(image, "RGBA")
    for _ in range(26 if "bokeh" in details else 0):
        x, y = random.uniform(0, width), random.uniform(0, horizon)
        radius, opacity = random.uniform(0.02, 0.07) * width, int(random.uniform(14, 60))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), (255, 250, 205, opacity))
    shades = [scene[int(horizon + below * part)].mean(0) * light
              for part, light in ((0.5, 1.15), (0.7, 0.95), (0.9, 1.2), (0.9, 0.8))]
    top = horizon + (below * 0.4 if "sea" in details else 0)
    colours = LEAVES if "leaves" in details else shades + FLOWERS if "heather" in details else shades
    for detail in COUNTS.keys() & details:  # at most one in a scene
        scatter(draw, random, size, top, detail, colours)
    # Depth of field: sharp near the animal, soft far away.
    soft = image.filter(ImageFilter.GaussianBlur(random.uniform(0.009, 0.018) * min(size)))
    focus = np.clip((horizon + below * 0.62 - np.arange(height)) / (below * 0.6), 0, 1) * 255
    mask = Image.fromarray(np.repeat(focus.astype(np.uint8)[:, None], width, 1))
    return Image.composite(soft, image.filter(ImageFilter.GaussianBlur(0.5)), mask)


def place(random, drawing, size, pose):
    """The drawing turned and scaled to fit into a picture, and its place there."""
    width, height = size
    if random.random() < 0.5:
        drawing = ImageOps.mirror(drawing)
    angle = random.uniform(-1, 1) * (12 if pose == "float" else 4)
    drawing = drawing.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    drawing = drawing.crop(drawing.getchannel("A").getbbox())
    fill = random.uniform(0.72, 0.95) * min(size) / (drawing.width * drawing.height) ** 0.5
    scale = min(fill, 0.94 * width / drawing.width, 0.88 * height / drawing.height)
    drawing = ImageOps.scale(drawing, scale, Image.Resampling.LANCZOS)
    left = (width - drawing.width) * random.uniform(0.2, 0.8)
    standing = height * random.uniform(0.88, 0.95) - drawing.height
    floating = (height - drawing.height) * random.uniform(0.35, 0.7)
    top = {"stand": standing, "bust": height - 0.88 * drawing.height, "float": floating}[pose]
    return drawing, left, max(top, 0.03 * height)


def lay(image, size, left, top, blur):
    """The blurred pixels of an image laid on an empty picture."""
    canvas = Image.new(image.mode, size)
    canvas.paste(image, (round(left), round(top)))
    return np.asarray(canvas.filter(ImageFilter.GaussianBlur(blur)), np.float32)


def cast_shadow(outline, size, left, top, side, pose):
    """The shadow of a drawing: behind it, or on the ground, darkest where the feet touch it."""
    (wide, tall), short = outline.size, min(size)
    if pose != "stand":
        return lay(outline, size, left + side * 0.03 * short, top + 0.05 * short, 0.03 * short) / 255 * 0.42
    flat = outline.resize((wide, tall // 5))
    feet = outline.crop((0, round(tall * 0.9), wide, tall)).resize((wide, tall // 18))
    flat_left, bottom = left + side * 0.06 * wide, top + tall
    return np.maximum(lay(flat, size, flat_left, bottom - flat.height * 0.75, 0.022 * short) / 255 * 0.38,
                      lay(feet, size, left, bottom - feet.height * 0.6, 0.009 * short) / 255 * 0.5)


def picture(random, drawing, kind, pose, cut_out):
    """The drawing in a scene as an RGB image, or cut out with its shadow as an RGBA image."""
    aspect = random.choice([1, 1, 4 / 3, 4 / 3, 3 / 2, 3 / 4, 3 / 4, 4 / 5])
    longer = random.integers(215, 260) if cut_out else random.integers(240, 401)
    size = max(160, round(longer * min(1, aspect))), max(160, round(longer / max(1, aspect)))
    width, height = size
    # Out of focus, as behind a portrait lens: the animal is what the picture is about.
    scene = background(random, kind, size).filter(ImageFilter.GaussianBlur(0.014 * min(size)))
    scene = np.asarray(scene, np.float32)
    drawing, left, top = place(random, drawing, size, pose)
    side = random.choice([-1, 1])
    shadow = cast_shadow(drawing.getchannel("A"), size, left, top, side, pose)[..., None]
    layer = lay(drawing.convert("RGBa"), size, left, top, 0.4)
    mask, animal = layer[..., 3:] / 255, layer[..., :3]
    if cut_out:  # white under the transparent parts, where a viewer without alpha would show black
        opacity = mask + shadow * (1 - mask)
        colour = np.where(opacity > 0.01, animal / opacity.clip(0.01), 255)
        return to_image(np.dstack([colour, opacity * 255]))
    # The animal takes a little of the light around it.
    light = scene.mean((0, 1))
    animal = animal * (light / light.mean()) ** 0.16 * (0.82 + 0.13 * light.mean() / 140)
    if pose == "stand":  # the lowest tip of the feet sinks unevenly into the ground
        sink = top + drawing.height - min(size) * (0.012 + 0.012 * clouds(random, width, 1, 6)[0])
        keep = (sink - np.arange(height)[:, None]).clip(-2, 1)[..., None] / 3 + 2 / 3
        animal, mask = animal * keep, mask * keep
    result = scene * (1 - shadow) * (1 - mask) + animal
    # One light for all: a warm glow from one side, a vignette, and the grain of a sensor.
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    glow = random.uniform(0.04, 0.18) * np.exp(-((x + side * 0.7) ** 2 + (y + 0.8) ** 2))[..., None]
    result = result * (1 + glow * (1.1, 1, 0.85)) * (1.05 - 0.09 * (x ** 2 + y ** 2)[..., None])
    return to_image(result + random.normal(0, random.uniform(0.8, 2.1), (height, width, 1)))


def build(folder):
    """Write all pictures and SOURCES.csv into folder."""
    rows = list(csv.DictReader((SCRIPTS / "mini_drawings.csv").read_text("utf-8").splitlines()))
    drawings, records = load_drawings(rows), []
    for label in tqdm(sorted({row["class"] for row in rows}), unit="class"):
        choices = [row for row in rows if row["class"] == label]
        # Twice goes first what has few of its kind, so that no group outweighs its class.
        size_of = Counter(row["group"] for row in choices)
        choices += sorted(choices, key=lambda row: size_of[row["group"]])
        cut_out_number = generator(label).integers(PER_CLASS)  # one a class, at a random place
        # Every class gets every kind of scene about equally often, so that the scene tells nothing.
        kinds = generator(f"{label} scenes").permutation(list(SCENES))
        for number in range(PER_CLASS):
            row, stem = choices[number], f"{label}_{number + 1:03}"
            drawing, credit = drawings[row["set"], row["drawing"]]
            floats = "face" in row["group"] or label in SEEN_FROM_ABOVE
            pose = "bust" if "bust" in row["group"] else "float" if floats else "stand"
            cut_out = number == cut_out_number
            result = picture(generator(stem), drawing, kinds[number % len(kinds)], pose, cut_out)
            result = result.convert(MODES.get(stem, result.mode))
            path = folder / label / f"{stem}.{'png' if cut_out else 'jpg'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            result.save(path, optimize=True, quality=85, subsampling="4:2:0")
            group = f"{label}-{row['group']}"
            records.append((f"{label}/{path.name}", label, group, row["set"], row["drawing"], *credit))
    with (folder / "SOURCES.csv").open("w", encoding="utf-8", newline="") as stream:
        header = "file class group set drawing licence author source".split()
        csv.writer(stream, lineterminator="\n").writerows([header, *sorted(records)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("data/mini"), help="folder to write")
    output = parser.parse_args().output
    beside = output.with_name(output.name + ".partial")
    shutil.rmtree(beside, ignore_errors=True)
    build(beside)  # beside, then renamed: an interrupted run leaves the old set whole
    shutil.rmtree(output, ignore_errors=True)
    beside.rename(output)
