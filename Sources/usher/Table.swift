/// Rows of text in aligned columns.
struct Table {
    private var rows: [[String]]

    /// A table with these headings.
    init(_ headings: [String]) {
        rows = [headings]
    }

    /// Adds a row with as many cells as there are headings.
    mutating func add(_ cells: [String]) {
        precondition(cells.count == rows[0].count)
        rows.append(cells.map { Console.harmless($0) })
    }

    /// The lines, each with its line feed; two spaces between columns, none at the end of a line.
    func render() -> String {
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let cells = row.indices.map { column in
                row[column] + String(repeating: " ", count: widths[column] - row[column].count)
            }
            let line = cells.joined(separator: "  ")
            return line.prefix(
                line.lastIndex { $0 != " " }.map { line.distance(from: line.startIndex, to: $0) + 1 } ?? 0)
                + "\n"
        }.joined()
    }
}
