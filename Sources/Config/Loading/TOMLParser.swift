import CTOML

/// Text to tree: the one place that touches the memory of the C++ library.
enum TOMLParser {
    /// Why a text is not TOML.
    struct Failure: Error, Equatable {
        var message: String
        var position: SourcePosition
    }

    /// The root table, or the first mistake of the text.
    static func parse(_ text: [UInt8]) throws(Failure) -> TOMLNode {
        let document = unsafe text.withUnsafeBytes { bytes in
            // SAFETY: the library copies what it keeps, so the bytes need to live only for this call; an array
            // without elements may have no address, for which a size of 0 is passed.
            unsafe ctoml_parse(bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
        }
        guard let document = unsafe document else {
            throw Failure(message: "out of memory", position: .none)
        }
        // SAFETY: the document came from ctoml_parse, is freed once, here, and nothing read from it below keeps
        // a pointer: texts are copied into Strings.
        defer { unsafe ctoml_free(document) }
        // SAFETY: the document is alive until the defer above runs.
        if unsafe ctoml_failed(document) {
            throw unsafe failure(document)
        }
        var reader = unsafe Reader(document: document)
        return reader.node(at: 0)
    }

    private static func failure(_ document: OpaquePointer) -> Failure {
        // SAFETY: the caller's document is alive, and the message is copied before it is freed.
        let message = unsafe string(ctoml_error_message(document))
        return unsafe Failure(
            message: message + hint(message), position: SourcePosition(ctoml_error_position(document)))
    }

    /// What the library calls a control character is the end of the line, mostly, where a string was not closed.
    private static func hint(_ message: String) -> String {
        let isUnclosed =
            message.range(ofFirst: "string: ") != nil
            && (message.range(ofFirst: "control characters") != nil
                || message.range(ofFirst: "end-of-file") != nil)
        return isUnclosed ? "; its closing quote is missing, most likely" : ""
    }

    /// Copies a text of the document.
    fileprivate static func string(_ text: ctoml_text) -> String {
        // SAFETY: the library says that `count` bytes stand at `bytes` while the document lives, which the
        // callers ensure; a missing address means an empty text.
        unsafe String(decoding: UnsafeRawBufferPointer(start: text.bytes, count: text.count), as: UTF8.self)
    }
}

extension SourcePosition {
    fileprivate init(_ position: ctoml_position) {
        self.init(line: Int(position.line), column: Int(position.column))
    }
}

/// Walks the flat list of nodes once, from left to right.
@safe private struct Reader {
    // SAFETY: `parse` keeps the document alive for as long as it uses its reader.
    private let document: OpaquePointer
    private var next = 0

    init(document: OpaquePointer) {
        unsafe self.document = document
    }

    /// The root of the tree; `depth` is bounded by the library's shim.
    mutating func node(at index: Int) -> TOMLNode {
        next = index
        return entry().node
    }

    private mutating func entry() -> TOMLEntry {
        // SAFETY: a container's count of children never leads past the end of the list, so the index is valid.
        let source = unsafe ctoml_node_at(document, next)
        next += 1
        let node = unsafe TOMLNode(
            value: value(of: source), start: SourcePosition(source.begin), end: SourcePosition(source.end))
        // SAFETY: the key belongs to the document, which is alive, and is copied.
        return unsafe TOMLEntry(
            key: TOMLParser.string(source.key), position: SourcePosition(source.key_begin), node: node)
    }

    private mutating func value(of source: ctoml_node) -> TOMLValue {
        // SAFETY: only plain members and one text of the living document are read; the text is copied.
        switch unsafe source.kind {
        case CTOML_TABLE:
            let entries = unsafe children(source.child_count).sorted { $0.position < $1.position }
            return .table(TOMLTable(entries: entries))
        case CTOML_ARRAY: return unsafe .array(children(source.child_count).map(\.node))
        case CTOML_STRING: return unsafe .string(TOMLParser.string(source.string))
        case CTOML_INTEGER: return unsafe .integer(source.integer)
        case CTOML_FLOAT: return unsafe .float(source.number)
        case CTOML_BOOLEAN: return unsafe .boolean(source.boolean)
        default: return .dateTime
        }
    }

    private mutating func children(_ count: Int) -> [TOMLEntry] {
        var entries: [TOMLEntry] = []
        for _ in 0..<count { entries.append(entry()) }
        return entries
    }
}
