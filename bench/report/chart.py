"""A picture of the races as SVG: how many times faster than the fastest peer, a line a problem, on a log scale."""

import html
import math

# Two colours that colour-blind readers can tell apart, and two shapes for those who see no colours.
COLOURS = {"float32": "#d55e00", "float64": "#0b5cad"}
TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
WIDTH, STEP, TOP, BOTTOM, EDGE = 820, 15, 96, 30, 18
LETTER = 6.2  # mean width of a letter of 11.5 pixels
STYLE = """text { font: 11.5px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1b1f24 }
.title { font-size: 15px; font-weight: 600 } .soft { fill: #5c6670 }
.r { text-anchor: end } .m { text-anchor: middle }"""


def _mark(dtype, x, y):
    colour = COLOURS[dtype]
    if dtype == "float64":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>'
    return f'<path d="M{x - 5:.1f} {y:.1f}l5-5 5 5-5 5z" fill="{colour}"/>'


def draw(found):
    """The picture of rows (label, dtype, ratio) in their order; the ratios of one label are on one line.

    ratio is how many times faster, below 1 where slower.
    """
    lines = {}
    for label, dtype, ratio in found:
        lines.setdefault(label, {})[dtype] = ratio
    ratios = [ratio for _, _, ratio in found]
    low, high = math.log(min(*ratios, 0.5) / 1.2), math.log(max(*ratios, 2) * 1.2)
    left = EDGE + LETTER * max(map(len, lines)) + 14
    right, height = WIDTH - EDGE - 14, TOP + STEP * len(lines) + BOTTOM
    floor = height - BOTTOM

    def x(ratio):
        return left + (right - left) * (math.log(ratio) - low) / (high - low)

    slower = sum(ratio < 1 for ratio in ratios)
    about = f"{len(ratios)} races: {slower} slower than the fastest peer, {len(ratios) - slower} as fast or faster"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">',  # noqa: E501
        f"<title>jaxinfra against the fastest peer</title><desc>{about}</desc><style>{STYLE}</style>",
        f'<rect x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="8" fill="#fff" stroke="#dfe3e8"/>',
        f'<rect x="{left:.1f}" y="{TOP - 4}" width="{x(1) - left:.1f}" height="{floor - TOP + 8}" fill="#f6f1ea"/>',
        f'<text class="title" x="{EDGE}" y="27">Times faster than the fastest peer</text>',
        f'<text class="soft" x="{EDGE}" y="46">{about}</text>',
    ]
    at = right
    for dtype in COLOURS:
        parts.append(f'<text class="r" x="{at:.0f}" y="27">{dtype}</text>{_mark(dtype, at - 56, 23)}')
        at -= 84
    for times in TICKS:
        for ratio in dict.fromkeys((times, 1 / times)):
            if not low <= math.log(ratio) <= high:
                continue
            name = "as fast" if times == 1 else f"{times}×"
            place, colour = f"{x(ratio):.1f}", "#5c6670" if times == 1 else "#dfe3e8"
            parts.append(f'<line x1="{place}" x2="{place}" y1="{TOP - 4}" y2="{floor + 4}" stroke="{colour}"/>')
            parts += [f'<text class="m soft" x="{place}" y="{y}">{name}</text>' for y in (TOP - 10, floor + 19)]
    parts.append(f'<text class="m soft" x="{(left + x(1)) / 2:.1f}" y="{TOP - 27}">slower</text>')
    parts.append(f'<text class="m soft" x="{(x(1) + right) / 2:.1f}" y="{TOP - 27}">faster</text>')
    for i, (label, values) in enumerate(lines.items()):
        y = TOP + STEP * (i + 0.5)
        ends = [x(ratio) for ratio in (1, *values.values())]
        parts.append(f'<text class="r" x="{left - 10:.1f}" y="{y + 4}">{html.escape(label)}</text>')
        parts.append(f'<line x1="{min(ends):.1f}" x2="{max(ends):.1f}" y1="{y}" y2="{y}" stroke="#b9c0c8"/>')
        # Apart, so that neither hides the other.
        apart = 2.5 * (len(values) > 1)
        parts += [_mark(d, x(r), y + (apart if d == "float64" else -apart)) for d, r in sorted(values.items())]
    return "\n".join([*parts, "</svg>", ""])
