"""Names in every script: fonts for letters that matplotlib's own font lacks, or their code points."""

import contextlib
import functools

import matplotlib.pyplot as plt
from matplotlib import font_manager
from matplotlib.ticker import FixedLocator

_said = set()


def make_readable(figure) -> None:
    """See that no two names in a figure are the same row of empty boxes.

    Letters are drawn in the first installed font that has them. Those that no font has are written as
    code points, `\\\\u72d7`, and one sentence says what to install.
    """
    texts = figure.findobj(plt.Text)
    drawn = {*"".join(text.get_text() for text in texts)}
    families, missing = _fonts(frozenset(map(ord, drawn)) - {*map(ord, "\n\r\t")})
    if len(families) > 1:
        for text in texts:
            text.set_family(families)
    if missing:
        points = {letter: chr(letter).encode("ascii", "backslashreplace").decode() for letter in missing}
        for text in texts:
            text.set_text(text.get_text().translate(points))
        for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
            if isinstance(axis.get_major_locator(), FixedLocator):  # or it writes the names once more
                axis.set_ticks(axis.get_majorticklocs(), [
                    text.get_text().translate(points) for text in axis.get_majorticklabels()])
        if not missing <= _said:
            _said.update(missing)
            print(f"No font here has the letters {''.join(map(chr, sorted(missing)))[:20]}, so pictures show "
                  "them as code points. Install one, then run the cell again: on Colab and Ubuntu "
                  "`apt-get install fonts-noto-cjk` for Chinese, Japanese and Korean, fonts-noto-core for "
                  "most others.")


def _fonts(letters: frozenset[int]) -> tuple[list[str], set[int]]:
    """Families that have these letters, matplotlib's first, and the letters that none has."""
    default = font_manager.findfont(font_manager.FontProperties())
    families, missing = list(plt.rcParams["font.family"]), letters - _letters_of(default)
    if missing:
        known = {entry.fname for entry in font_manager.fontManager.ttflist}
        for path in {*font_manager.findSystemFonts()} - known:  # installed since matplotlib last looked
            with contextlib.suppress(Exception):  # some are of a kind that it cannot draw
                font_manager.fontManager.addfont(path)
    for entry in font_manager.fontManager.ttflist if missing else ():
        if found := missing & _letters_of(entry.fname):
            families.append(entry.name)
            missing -= found
    return families, set(missing)


@functools.cache
def _letters_of(path: str) -> frozenset[int]:
    """The code points that a font file has; none of a file that cannot be read."""
    with contextlib.suppress(OSError, RuntimeError):
        return frozenset(font_manager.get_font(path).get_charmap())
    return frozenset()
