"""The table that is printed last."""


def format_table(parts, results):
    """All parts under one another. What was not measured is "-"."""
    environment = results["environment"]
    lines = [
        f"{environment['device']}, JAX {environment['jax']}, driver {environment['driver'] or '-'}"
    ]
    if results["small"]:
        lines += ["With --small: sizes are not those of the titles, and numbers say nothing."]
    for part in parts:
        rows = results["parts"].get(part.name)
        if rows is None:
            continue
        lines += ["", f"{part.title} ({results['seconds'].get(part.name, 0.0):.0f} s)"]
        lines += align([titles(part), *(cells(part, name, row) for name, row in rows.items())])
    return "\n".join(lines)


def titles(part):
    return ["", *(column.title for column in part.columns), ""]


def cells(part, name, row):
    found = [write(row.get(column.key), column.format) for column in part.columns]
    return [name, *found, row.get("note", "" if row.get("complete") else "not finished")]


def write(value, format):
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return value if isinstance(value, str) else f"{value:{format}}"


def align(table):
    """The first and last column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for first, *middle, last in table:
        padded = [cell.rjust(width) for cell, width in zip(middle, widths[1:-1], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *padded, last]).rstrip())
    return lines
