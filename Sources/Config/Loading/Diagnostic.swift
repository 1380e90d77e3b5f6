/// A place in the configuration text: lines and columns from 1, columns in Unicode scalars. Line 0 = no place.
public struct SourcePosition: Sendable, Hashable, Comparable {
    /// The line, from 1.
    public var line: Int
    /// The column, from 1.
    public var column: Int

    /// A place by line and column.
    public init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    /// For what the text does not say anywhere, such as an environment variable.
    public static let none = SourcePosition(line: 0, column: 0)

    /// By line, then by column.
    public static func < (a: SourcePosition, b: SourcePosition) -> Bool {
        (a.line, a.column) < (b.line, b.column)
    }
}

/// One mistake, or one thing worth a warning, in a configuration.
public struct Diagnostic: Sendable, Equatable {
    /// How bad it is.
    public enum Severity: String, Sendable {
        /// The configuration cannot be used.
        case error
        /// It can be used, but should be changed.
        case warning
    }

    /// How bad it is.
    public var severity: Severity
    /// Where it is.
    public var position: SourcePosition
    /// What is wrong and what is expected; one line, without a full stop.
    public var message: String
    /// What was probably meant.
    public var suggestion: String?

    /// A diagnostic; `message` is one line.
    public init(
        severity: Severity, position: SourcePosition, message: String, suggestion: String? = nil
    ) {
        self.severity = severity
        self.position = position
        self.message = message
        self.suggestion = suggestion
    }

    /// Line of the mistake, from 1; 0 = it has no place in the file.
    public var line: Int { position.line }
    /// Column of the mistake, from 1, in Unicode scalars.
    public var column: Int { position.column }

    /// `FILE:LINE:COLUMN: error: …`, without the source line.
    public func headline(file: String) -> String {
        let place = position == .none ? file : "\(file):\(line):\(column)"
        let hint = suggestion.map { "; did you mean \"\($0)\"?" } ?? ""
        return "\(place): \(severity.rawValue): \(message)\(hint)"
    }

    /// The headline, then the offending line and a caret under it. `source` is the text that was loaded;
    /// give ``LoadedConfiguration/source``, where secrets written inline are masked.
    public func render(file: String, source: String) -> String {
        render(file: file, lines: Self.lines(of: source))
    }

    /// The lines of a text, for several diagnostics of it.
    static func lines(of source: String) -> [Substring.UTF8View] {
        source.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    }

    func render(file: String, lines: [Substring.UTF8View]) -> String {
        guard line >= 1, line <= lines.count else { return headline(file: file) }
        let text = Substring(lines[line - 1]).unicodeScalars.filter { $0 != "\r" }
        var padding = ""
        for scalar in text.prefix(max(0, column - 1)) { padding.append(scalar == "\t" ? "\t" : " ") }
        var shown = ""
        shown.unicodeScalars.append(contentsOf: text.map { $0.isHarmless ? $0 : "\u{FFFD}" })
        let number = String(line)
        let gutter = String(repeating: " ", count: number.utf8.count)
        return "\(headline(file: file))\n  \(number) | \(shown)\n  \(gutter) | \(padding)^"
    }
}

extension Unicode.Scalar {
    /// Whether a terminal shows it as text: control characters in a file must not steer the terminal.
    fileprivate var isHarmless: Bool { self == "\t" || (value >= 0x20 && !(0x7F...0x9F).contains(value)) }
}
