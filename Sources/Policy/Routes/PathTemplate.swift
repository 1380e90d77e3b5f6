/// The `path` of a route: literal segments, `{name}` for exactly one segment that is not empty, and a final `**`
/// for the rest, which may be nothing.
///
/// `/api/**` matches `/api`, `/api/` and everything below, so that what stands in front of a subtree cannot be
/// reached by leaving out its last slash.
public struct PathTemplate: Sendable, Equatable {
    /// One step between two slashes.
    public enum Segment: Sendable, Equatable {
        /// Exactly these bytes; the empty ones are the end of a path with a trailing slash.
        case literal([UInt8])
        /// One segment that is not empty, known by this name to `require`.
        case capture(String)
        /// Everything that is left; only at the end.
        case rest
    }

    /// The template as written.
    public let text: String
    /// Its segments, from the left.
    public let segments: [Segment]

    /// The most segments of a template: deeper than any real interface, and small enough to compare at once.
    public static let maximumSegmentCount = 64
    /// The most captures of a template: their places are kept in fixed room while a request is matched.
    public static let maximumCaptureCount = 8

    /// The template that `text` describes; `PathTemplateError` says what is wrong with it.
    public init(_ text: String) throws(PathTemplateError) {
        guard text.utf8.first == UInt8(ascii: "/") else { throw .notAbsolute }
        var segments: [Segment] = []
        let parts = text.utf8.dropFirst().split(
            separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        for (place, part) in parts.enumerated() {
            let isLast = place == parts.count - 1
            let segment = try Self.segment(Array(part), isLast: isLast)
            segments.append(segment)
        }
        let names = segments.compactMap { segment in
            if case .capture(let name) = segment { name } else { nil }
        }
        if let twice = names.first(where: { name in names.count(where: { $0 == name }) > 1 }) {
            throw .captureTwice(twice)
        }
        guard names.count <= Self.maximumCaptureCount, segments.count <= Self.maximumSegmentCount else {
            throw .tooLong
        }
        self.text = text
        self.segments = segments
    }

    /// The names of the captures, from the left.
    public var captureNames: [String] {
        segments.compactMap { if case .capture(let name) = $0 { name } else { nil } }
    }

    private static func segment(_ bytes: [UInt8], isLast: Bool) throws(PathTemplateError) -> Segment {
        if bytes == Array("**".utf8) {
            guard isLast else { throw .restNotLast }
            return .rest
        }
        if bytes.isEmpty {
            guard isLast else { throw .emptySegment }
            return .literal([])
        }
        if bytes.first == UInt8(ascii: "{"), bytes.last == UInt8(ascii: "}") {
            let name = bytes.dropFirst().dropLast()
            guard !name.isEmpty, name.allSatisfy(isNameByte) else { throw .captureName(text(of: bytes)) }
            return .capture(text(of: Array(name)))
        }
        guard bytes != [UInt8(ascii: ".")], bytes != Array("..".utf8) else { throw .dotSegment }
        guard bytes.allSatisfy(isPathByte) else { throw .unexpectedByte(text(of: bytes)) }
        return .literal(bytes)
    }

    private static func text(of bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    /// The bytes that stand in a canonical path as themselves: pchar of RFC 3986 §3.3 without percent-encoding. A
    /// request's segments are compared with it undone, so a literal that has it would match nothing.
    private static func isPathByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "~"), UInt8(ascii: "!"), UInt8(ascii: "$"),
            UInt8(ascii: "&"), UInt8(ascii: "'"), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "+"),
            UInt8(ascii: ","), UInt8(ascii: ";"), UInt8(ascii: "="), UInt8(ascii: ":"), UInt8(ascii: "@"):
            true
        default: isNameByte(byte)
        }
    }
}

/// What is wrong with the text of a path template.
public enum PathTemplateError: Error, Equatable, Sendable {
    /// It does not start with a slash.
    case notAbsolute
    /// Two slashes in a row.
    case emptySegment
    /// `**` is followed by more.
    case restNotLast
    /// `.` or `..` as a segment: no request that is let in has one.
    case dotSegment
    /// A capture needs a name of letters, digits and underscores.
    case captureName(String)
    /// Two captures of one name.
    case captureTwice(String)
    /// More segments or captures than `maximumSegmentCount` and `maximumCaptureCount` allow.
    case tooLong
    /// A segment with a byte that cannot stand in a path, or with braces or a star in the middle.
    case unexpectedByte(String)
}

extension PathTemplateError: CustomStringConvertible {
    /// One sentence for whoever wrote the template.
    public var description: String {
        switch self {
        case .notAbsolute: "a path starts with \"/\""
        case .emptySegment: "a path has no empty segment (\"//\")"
        case .restNotLast: "\"**\" stands only at the end of a path"
        case .dotSegment: "\".\" and \"..\" never match: such requests are refused"
        case .captureName(let text): "\"\(text)\": a capture is {name} of letters, digits and \"_\""
        case .captureTwice(let name): "the capture {\(name)} is there twice"
        case .tooLong:
            "at most \(PathTemplate.maximumSegmentCount) segments and \(PathTemplate.maximumCaptureCount) captures"
        case .unexpectedByte(let text): "\"\(text)\": not a literal segment, {name} or **"
        }
    }
}

/// A value that `require` compares a claim with: literal text, or text with the captures of the path in it.
public struct RequiredValue: Sendable, Equatable {
    /// A stretch of the value.
    public enum Part: Sendable, Equatable {
        /// These bytes.
        case literal([UInt8])
        /// What that capture of the route's path matched.
        case capture(String)
    }

    /// The parts, from the left; none is the empty text.
    public let parts: [Part]

    /// Exactly this text; braces mean themselves.
    public init(literal text: String) {
        parts = text.isEmpty ? [] : [.literal(Array(text.utf8))]
    }

    /// The value that `template` describes: `{name}` stands for a capture, everything else for itself.
    public init(template text: String) throws(PathTemplateError) {
        var parts: [Part] = []
        var literal: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte != UInt8(ascii: "}") else { throw .unexpectedByte(text) }
            guard byte == UInt8(ascii: "{") else {
                literal.append(byte)
                continue
            }
            guard let close = rest.firstIndex(of: UInt8(ascii: "}")) else { throw .unexpectedByte(text) }
            let name = rest[rest.startIndex..<close]
            guard !name.isEmpty, name.allSatisfy(PathTemplate.isNameByte) else { throw .captureName(text) }
            if !literal.isEmpty { parts.append(.literal(literal)) }
            literal = []
            parts.append(.capture(String(decoding: name, as: UTF8.self)))
            rest = rest[(close + 1)...]
        }
        if !literal.isEmpty { parts.append(.literal(literal)) }
        self.parts = parts
    }

    /// The captures that it needs.
    public var captureNames: [String] {
        parts.compactMap { if case .capture(let name) = $0 { name } else { nil } }
    }
}
