"""Pictures for a page: SVG that takes its colours and its letters from the page and tells a screen reader what it shows."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree  # reads what matplotlib has just written, nothing from outside
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unlearnkit.report.palette import STAND_IN, VARIABLES

MARGINS = (0.72, 0.15, 0.55, 0.15)  # inches: left, right, bottom, top

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_SERIES = re.compile(r"(?:line|point|start|series)-(\d+)")
ElementTree.register_namespace("", _SVG)
ElementTree.register_namespace("xlink", _XLINK)


class Picture(NamedTuple):
    """One picture: SVG to put into a page, and what it shows in words."""

    svg: Markup
    words: str


def picture(
    name: str,
    size: tuple[float, float],
    draw: Callable[[Axes], None],
    words: str,
    points: Mapping[str, str] | None = None,
) -> Picture:
    """Draw with matplotlib and make it part of a page.

    name    of this picture alone on its page; ids in the SVG begin with it
    size    in inches; the page scales it to the room that there is
    draw    draws into the axes with the colours of `STAND_IN`
    words   what the picture shows, for those who do not see it
    points  what is told of the artists with these gids, which a reader can step through
    """
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "text.parse_math": False,  # a dollar sign in a name is a dollar sign
        "font.size": 9.5,
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), STAND_IN.ink),
        **dict.fromkeys(("xtick.color", "ytick.color"), STAND_IN.ink),
    }
    stream = io.StringIO()
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=size)
        left, right, bottom, top = MARGINS  # measuring every text for a layout would take as long as the drawing
        figure.subplots_adjust(left / size[0], bottom / size[1], 1 - right / size[0], 1 - top / size[1])
        draw(figure.add_subplot())
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Picture(_for_page(stream.getvalue(), name, words, points or {}), words)


def _for_page(text: str, name: str, words: str, points: Mapping[str, str]) -> Markup:
    root = ElementTree.fromstring(text)  # noqa: S314 - our own
    for mark in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(mark)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("class", "chart")
    root.set("role", "group" if points else "img")  # an image has no parts that could be reached
    root.set("aria-label", words)
    for node in root.iter():
        _rename(node, name, points)
    said = ElementTree.tostring(root, encoding="unicode")
    for colour, variable in VARIABLES.items():
        said = said.replace(colour, variable)
    return Markup(said)  # noqa: S704 - matplotlib and ElementTree have escaped every text in it


def _rename(node: ElementTree.Element, name: str, points: Mapping[str, str]) -> None:
    """Series get a class, points a label; matplotlib's own names of groups go, as they are the same in every picture."""
    gid = node.get("id", "")
    if node.tag != f"{{{_SVG}}}g" or not gid:
        return
    del node.attrib["id"]
    series = _SERIES.match(gid)
    classes = [f"series-{series[1]}"] if series else []
    if gid in points:
        classes.append("point")
        node.set("id", f"{name}-{gid}")
        node.set("role", "img")
        node.set("aria-label", points[gid])
        node.set("tabindex", "-1")
    if classes:
        node.set("class", " ".join(classes))
