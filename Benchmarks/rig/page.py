"""One page of figures."""

from __future__ import annotations


class Table:
    """Columns as wide as their widest cell; the first is aligned left, the others right."""

    def __init__(self, title: str, *columns: str):
        self.title = title
        self.rows = [list(columns)]

    def add(self, *cells: str | float | int) -> None:
        self.rows.append([f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells])

    def print(self) -> None:
        widths = [max(len(row[place]) for row in self.rows) for place in range(len(self.rows[0]))]
        print(f"\n{self.title}")
        for row in self.rows:
            first = row[0].ljust(widths[0])
            print("  " + "  ".join([first, *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]))
