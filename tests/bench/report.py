# SPDX-License-Identifier: MIT
"""What was measured, as tables for people, as JSON, and as a plot."""

import dataclasses
import statistics
from xml.sax.saxutils import escape

OURS = "acme-alpn-proxy"
# No proxies, but what there is to compare them with.
DIRECT = "direct"
BARE = "bare relay"


@dataclasses.dataclass(frozen=True)
class Column:
    key: str
    title: str
    digits: int
    # Is more of it better?
    more: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    title: str
    columns: tuple


TABLES = (
    Table(
        "Short connections: CPU of the proxy in us for each, and how many a second",
        (
            Column("cpu_1", "us c=1", 1),
            Column("cpu_64", "us c=64", 1),
            Column("cpu_1000", "us c=1000", 1),
            Column("rate_1", "conn/s c=1", 0, more=True),
            Column("rate_64", "conn/s c=64", 0, more=True),
            Column("cpu_tls", "us TLS", 1),
            Column("rate_tls", "conn/s TLS", 0, more=True),
        ),
    ),
    Table(
        "Bulk: CPU of the proxy in s/GB, and GB/s",
        (
            Column("cpu_down_1", "s/GB down 1", 3),
            Column("cpu_down_8", "s/GB down 8", 3),
            Column("cpu_up_1", "s/GB up 1", 3),
            Column("cpu_up_8", "s/GB up 8", 3),
            Column("rate_down_1", "GB/s down 1", 2, more=True),
            Column("rate_down_8", "GB/s down 8", 2, more=True),
            Column("rate_up_1", "GB/s up 1", 2, more=True),
            Column("rate_up_8", "GB/s up 8", 2, more=True),
        ),
    ),
    Table(
        "Many quiet connections, and the start",
        (
            Column("idle_kib", "KiB/idle", 2),
            Column("idle_fds", "fds/idle", 2),
            Column("cpu_idle", "us 9k idle", 1),
            Column("p99_64", "p99 us c=64", 0),
            Column("p99_idle", "p99 us 9k idle", 0),
            Column("start_ms", "start ms", 2),
        ),
    ),
)

# What the plot shows of it; first, of visitors from outside.
VISITOR_PANELS = (
    ("cpu", "CPU of the whole host per visit", "µs"),
    ("tls_p50", "TLS handshake, median", "µs"),
)
PANELS = (
    ("cpu_1", "CPU per connection, one at a time", "µs"),
    ("cpu_64", "CPU per connection, 64 at a time", "µs"),
    ("cpu_1000", "CPU per connection, 1000 at a time", "µs"),
    ("cpu_idle", "CPU per connection beside {idle} idle ones", "µs"),
    ("cpu_down_1", "CPU per GB down, one stream", "s"),
    ("cpu_up_1", "CPU per GB up, one stream", "s"),
    ("idle_kib", "Memory per idle connection", "KiB"),
    ("start_ms", "From exec to the first answer", "ms"),
)


def median(samples, name, key):
    values = [value for value in samples[name].get(key, []) if value is not None]
    return statistics.median(values) if values else None


def spread(samples, name, key):
    """Half the range between the quartiles, in percent of the median."""
    values = [value for value in samples[name].get(key, []) if value is not None]
    middle = statistics.median(values) if values else 0
    if len(values) < 3 or not middle:
        return None
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return 50 * (high - low) / middle


def best_peer(samples, column):
    """The name of the best contestant that is a proxy and not ours."""
    medians = {
        name: median(samples, name, column.key)
        for name in samples
        if name not in (OURS, BARE, DIRECT) and median(samples, name, column.key) is not None
    }
    if not medians:
        return None
    return (max if column.more else min)(medians, key=medians.get)


def ratio(samples, column, peer=None):
    """Ours to the peer's, or else to the best one's, round by round, so that
    what slows the whole machine for a while slows both; the median of that, or
    None."""
    peer = peer or best_peer(samples, column)
    if peer is None:
        return None
    pairs = zip(samples[OURS].get(column.key, []), samples[peer].get(column.key, []))
    ratios = [ours / theirs for ours, theirs in pairs if ours is not None and theirs]
    return statistics.median(ratios) if ratios else None


def summary(samples):
    """{column: {name: [median, spread in percent], "best": ..., "ratio": ...}}"""
    result = {}
    for table in TABLES:
        for column in table.columns:
            entry = {
                name: [median(samples, name, column.key), spread(samples, name, column.key)]
                for name in samples
            }
            result[column.key] = {
                "title": column.title,
                "contestants": entry,
                "best_peer": best_peer(samples, column),
                "ratio": ratio(samples, column),
            }
    return result


def cell(samples, name, column):
    value = median(samples, name, column.key)
    if value is None:
        return "-"
    percent = spread(samples, name, column.key)
    text = f"{value:.{column.digits}f}"
    return text if percent is None else f"{text} ±{percent:.0f}%"


def aligned(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths)) + " |"
        for row in rows
    )


def ratio_text(value, *words):
    return "-" if value is None else " ".join((f"{value:.2f}x", *words))


def table_text(samples, table):
    rows = [["", *(column.title for column in table.columns)]]
    rows.append(["---"] * len(rows[0]))
    for name in samples:
        rows.append([name, *(cell(samples, name, column) for column in table.columns)])
    rows.append(
        ["ours / best peer"]
        + [
            ratio_text(ratio(samples, column), best_peer(samples, column))
            for column in table.columns
        ]
    )
    if BARE in samples:
        rows.append(
            ["ours / " + BARE]
            + [ratio_text(ratio(samples, column, BARE)) for column in table.columns]
        )
    return f"{table.title}\n\n{aligned(rows)}\n"


# What the programs may cost beyond an empty one, in ns: (key, title, most).
STEERING = (
    ("unrelated", "unrelated", 5),
    ("established", "established", 40),
    ("syn", "SYN", 260),
    ("new_flow", "SYN, each of a new flow", None),
)
HANDOFF = (
    ("unrelated", "unrelated", 8),
    ("ack", "pure ACK", 15),
    ("data", "data", 25),
    ("hello_500", "hello, 500 bytes", 200),
    ("hello_1400", "hello, 1400 bytes", 200),
)
PROGRAMS = (
    ("handing off", HANDOFF, ("handoff",)),
    ("steering", STEERING, ("steer",)),
)


def program_text(title, kinds, costs):
    """The table of {object: {packet: {"empty_ns": ..., "ours_ns": ...}}}."""
    rows = [["", *(kind for _, kind, _ in kinds)]]
    rows.append(["---"] * len(rows[0]))
    for name, packets in costs.items():
        rows.append(
            [name]
            + [
                f"{packets[key]['ours_ns']} - {packets[key]['empty_ns']} = "
                f"{packets[key]['ours_ns'] - packets[key]['empty_ns']}"
                for key, _, _ in kinds
            ]
        )
    rows.append(["at most", *("-" if most is None else f"{most}" for _, _, most in kinds)])
    return (
        f"The program at TC ingress, {title}: ns a packet, less an empty program's\n\n"
        f"{aligned(rows)}\n"
    )


def programs_text(costs):
    return [
        program_text(title, kinds, {name: costs[name] for name in names if name in costs})
        for title, kinds, names in PROGRAMS
    ]


def redirect_text(samples):
    """The table of {what: [ms, ...]}; the last is what the others compare to."""
    *_, original = samples
    rows = [["", "ms", "ratio"], ["---"] * 3]
    for name, values in samples.items():
        ratios = [ours / theirs for ours, theirs in zip(values, samples[original])]
        rows.append(
            [name, f"{statistics.median(values):.1f}", ratio_text(statistics.median(ratios))]
        )
    return f"Until the redirect is in place\n\n{aligned(rows)}\n"


VISITORS = (
    ("rate", "conn/s c=64"),
    ("cpu", "us, all CPU"),
    ("tls_p50", "TLS p50 us"),
    ("tls_p99", "TLS p99 us"),
    ("challenge_p50", "challenge p50 us"),
    ("challenge_p99", "challenge p99 us"),
)


def comparison_rows(samples, titles, prefix=""):
    """Of {contestant: {column: [...]}}, beside direct in each round."""
    rows = [["", *(title for _, title in titles)], ["---"] * (len(titles) + 1)]
    for name, columns in samples.items():
        row = [prefix + name]
        for key, _ in titles:
            values = columns.get(key)
            direct = samples[DIRECT].get(key)
            cell_text = f"{statistics.median(values):.0f}" if values else "-"
            if values and direct and any(direct) and name != DIRECT:
                ratios = [ours / theirs for ours, theirs in zip(values, direct)]
                cell_text += f" ({ratio_text(statistics.median(ratios))})"
            row.append(cell_text)
        rows.append(row)
    return rows


def visitors_text(samples):
    return (
        "Visitors from outside, beside no proxy at all; challenges from hello to answer\n\n"
        f"{aligned(comparison_rows(samples, VISITORS))}\n"
    )


ATTACKED = (
    ("rate", "TLS visits/s"),
    ("tls_p50", "TLS p50 us"),
    ("tls_p99", "TLS p99 us"),
    ("cpu", "% of a core"),
)


def attacks_text(attacks):
    """The table of {attack: {contestant: {column: [...]}}}."""
    tables = [
        comparison_rows(samples, ATTACKED, f"{attack}: ") for attack, samples in attacks.items()
    ]
    rows = [*tables[0][:2], *(row for table in tables for row in table[2:])]
    return (
        "Visitors beside an attacker with 500 challenges a second, which the web server "
        f"answers or a proxy takes\n\n{aligned(rows)}\n"
    )


def text(samples, facts):
    head = (
        f"{facts['machine']}\n{facts['command']}, {facts['date']}: medians of "
        f"{facts['rounds']} alternating rounds, ± half the range between the quartiles\n"
    )
    if facts["busy_percent"] > 5:
        head += (
            f"The machine was not quiet: {facts['busy_percent']} % busy before the run, "
            "so rates and latencies say little\n"
        )
    notes = "".join(
        f"{name}: {facts['versions'][name]}{', ' if note and facts['versions'][name] else ''}"
        f"{note}\n"
        for name, note in facts["notes"].items()
    )
    failures = "".join(
        f"{name} failed at {what}: {why}\n"
        for name, failed in facts["failures"].items()
        for what, why in failed.items()
    )
    tables = [table_text(samples, table) for table in TABLES]
    if facts.get("packets"):
        tables.extend(programs_text(facts["packets"]))
    if facts.get("visitors"):
        tables.append(visitors_text(facts["visitors"]))
    if facts.get("attacks"):
        tables.append(attacks_text(facts["attacks"]))
    if facts.get("redirect"):
        tables.append(redirect_text(facts["redirect"]))
    return "\n".join([head, *tables, notes, failures])


STYLE = """
  text { font: 12px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #24292f }
  .page { fill: #ffffff }
  .title { font-size: 17px; font-weight: 600 }
  .panel { font-weight: 600 }
  .minor { font-size: 11px; fill: #57606a }
  .ours { fill: #0969da } .peer { fill: #afb8c1 }
  .bold { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 }
    text { fill: #e6edf3 } .minor { fill: #9198a1 }
    .ours { fill: #4493f8 } .peer { fill: #59636e }
  }
"""

PANEL_WIDTH = 420
BAR_LEFT = 126
BAR_HEIGHT = 14
ROW = 20


def bar_rows(samples, key, unit):
    """[(name, value, label)] of the proxies that were measured."""
    column = next(c for table in TABLES for c in table.columns if c.key == key)
    rows = []
    for name in samples:
        value = median(samples, name, key)
        if name != DIRECT and value is not None:
            rows.append((name, value, f"{value:.{column.digits}f} {unit}"))
    return rows


def visitor_rows(samples, key, unit):
    """The same of what visitors from outside meet, beside no proxy at all."""
    rows = []
    for name, columns in samples.items():
        if columns.get(key):
            value = statistics.median(columns[key])
            rows.append(("no proxy" if name == DIRECT else name, value, f"{value:.0f} {unit}"))
    return rows


def panel(rows, left, top, title):
    most = max((value for _, value, _ in rows), default=0) or 1
    room = PANEL_WIDTH - BAR_LEFT - 78
    parts = [f'<text class="panel" x="{left}" y="{top}">{escape(title)}</text>']
    for i, (name, value, label) in enumerate(rows):
        y = top + 12 + i * ROW
        width = max(1, room * value / most)
        ours = name in (OURS, "handoff", "steer")
        kind = "ours" if ours else "peer"
        weight = ' class="bold"' if ours else ""
        parts.append(
            f'<text{weight} x="{left + BAR_LEFT - 8}" y="{y + 11}" '
            f'text-anchor="end">{escape(name)}</text>'
            f'<rect class="{kind}" x="{left + BAR_LEFT}" y="{y}" width="{width:.1f}" '
            f'height="{BAR_HEIGHT}" rx="2"/>'
            f'<text{weight} x="{left + BAR_LEFT + width + 6:.1f}" y="{y + 11}">'
            f"{escape(label)}</text>"
        )
    return "".join(parts)


def section(title, note, panels, top):
    """A heading and, two in a row, its [(rows, title)]; and where the next
    one begins."""
    parts = [
        f'<text class="title" x="20" y="{top}">{escape(title)}</text>'
        f'<text class="minor" x="20" y="{top + 20}">{escape(note)}</text>'
    ]
    top += 52
    for i in range(0, len(panels), 2):
        for side, (rows, name) in enumerate(panels[i : i + 2]):
            parts.append(panel(rows, 20 + side * (PANEL_WIDTH + 20), top, name))
        top += 42 + ROW * max(len(rows) for rows, _ in panels[i : i + 2])
    return parts, top


def svg(samples, facts):
    medians = f"medians of {facts['rounds']} alternating rounds"
    outside = facts.get("visitors")
    top = 28
    drawn = []
    if outside:
        drawn, top = section(
            "What visitors meet: shorter is better",
            "From outside, while a certificate is renewed: handed off or steered from the web "
            f"server's own port, or a proxy in front of it; {medians}",
            [(visitor_rows(outside, key, unit), title) for key, title, unit in VISITOR_PANELS],
            top,
        )
        top += 14
    relaying, top = section(
        "What relaying costs, for those that are steered: shorter is better",
        f"The proxy on one core, load and backend on another; {medians}",
        [
            (bar_rows(samples, key, unit), title.format(idle=facts["idle_connections"]))
            for key, title, unit in PANELS
        ],
        top,
    )
    width = 2 * PANEL_WIDTH + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top + 16}" '
        f'width="{width}" height="{top + 16}" role="img" '
        f'aria-label="What visitors meet and what relaying costs: {OURS} and other proxies">',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{width}" height="{top + 16}"/>',
        *drawn,
        *relaying,
        f'<text class="minor" x="20" y="{top}">'
        f"{escape(facts['command'])}, {escape(facts['date'])}, "
        f"{escape(facts['machine'])}</text></svg>\n",
    ]
    return "\n".join(parts)
