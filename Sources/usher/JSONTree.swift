/// A JSON text (RFC 8259) as a tree whose scalars keep their spelling: for showing and putting together, not for
/// deciding anything. Duplicate members stay as they are.
indirect enum JSONTree: Equatable {
    /// A string in quotes, a number, `true`, `false` or `null`, as written.
    case scalar([UInt8])
    case array([JSONTree])
    case object([Member])

    /// One member of an object.
    struct Member: Equatable {
        /// The name in quotes, as written.
        var name: [UInt8]
        var value: JSONTree
    }

    /// Reads a whole text; nil where it is not JSON, or nested more than 64 deep.
    init?(parsing bytes: [UInt8]) {
        var reader = JSONReader(bytes: bytes)
        guard let value = reader.value(depth: 0), reader.isAtEnd() else { return nil }
        self = value
    }

    /// A string.
    init(string text: String) {
        var bytes: [UInt8] = [0x22]
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": bytes += Array("\\\"".utf8)
            case "\\": bytes += Array("\\\\".utf8)
            case _ where scalar.value < 0x20: bytes += JSONTree.escape(UInt16(scalar.value))
            default: bytes += Array(String(Character(scalar)).utf8)
            }
        }
        self = .scalar(bytes + [0x22])
    }

    /// An integer.
    init(integer: Int64) {
        self = .scalar(Array(String(integer).utf8))
    }

    /// The text without white space.
    func compact() -> [UInt8] {
        switch self {
        case .scalar(let bytes): bytes
        case .array(let elements): [0x5b] + elements.map { $0.compact() }.joined(separator: [0x2c]) + [0x5d]
        case .object(let members):
            [0x7b] + members.map { $0.name + [0x3a] + $0.value.compact() }.joined(separator: [0x2c]) + [0x7d]
        }
    }

    /// The text over several lines, indented by two spaces, still JSON; what could steer a terminal is escaped.
    func pretty(indent: String = "") -> String {
        let inner = indent + "  "
        switch self {
        case .scalar(let bytes): return JSONTree.harmless(bytes)
        case .array(let elements):
            guard !elements.isEmpty else { return "[]" }
            let lines = elements.map { inner + $0.pretty(indent: inner) }
            return "[\n" + lines.joined(separator: ",\n") + "\n\(indent)]"
        case .object(let members):
            guard !members.isEmpty else { return "{}" }
            let lines = members.map {
                inner + JSONTree.harmless($0.name) + ": " + $0.value.pretty(indent: inner)
            }
            return "{\n" + lines.joined(separator: ",\n") + "\n\(indent)}"
        }
    }

    private static func harmless(_ bytes: [UInt8]) -> String {
        var text = ""
        for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
            if Console.isHarmless(scalar) {
                text.unicodeScalars.append(scalar)
            } else {
                for unit in String(Character(scalar)).utf16 {
                    text += String(decoding: escape(unit), as: UTF8.self)
                }
            }
        }
        return text
    }

    /// `\uXXXX`
    private static func escape(_ unit: UInt16) -> [UInt8] {
        let digits = String(unit, radix: 16)
        return Array(("\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits).utf8)
    }
}

/// Reads JSON by recursive descent.
private struct JSONReader {
    private static let depthLimit = 64
    let bytes: [UInt8]
    private var index = 0

    init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    mutating func isAtEnd() -> Bool {
        skipSpace()
        return index == bytes.count
    }

    mutating func value(depth: Int) -> JSONTree? {
        guard depth < Self.depthLimit else { return nil }
        skipSpace()
        switch peek {
        case 0x7b: return object(depth)
        case 0x5b: return array(depth)
        case 0x22: return string().map(JSONTree.scalar)
        default: return word().map(JSONTree.scalar)
        }
    }

    private mutating func object(_ depth: Int) -> JSONTree? {
        index += 1
        var members: [JSONTree.Member] = []
        if take(0x7d) { return .object(members) }
        repeat {
            skipSpace()
            guard let name = string(), take(0x3a), let value = value(depth: depth + 1) else { return nil }
            members.append(JSONTree.Member(name: name, value: value))
        } while take(0x2c)
        return take(0x7d) ? .object(members) : nil
    }

    private mutating func array(_ depth: Int) -> JSONTree? {
        index += 1
        var elements: [JSONTree] = []
        if take(0x5d) { return .array(elements) }
        repeat {
            guard let value = value(depth: depth + 1) else { return nil }
            elements.append(value)
        } while take(0x2c)
        return take(0x5d) ? .array(elements) : nil
    }

    private mutating func string() -> [UInt8]? {
        guard peek == 0x22 else { return nil }
        let start = index
        index += 1
        while let byte = peek, byte != 0x22 {
            guard byte >= 0x20 else { return nil }
            index += 1
            if byte == 0x5c, !escape() { return nil }
        }
        guard peek == 0x22 else { return nil }
        index += 1
        return Array(bytes[start..<index])
    }

    private mutating func escape() -> Bool {
        guard let kind = peek else { return false }
        index += 1
        if kind != 0x75 { return Array("\"\\/bfnrt".utf8).contains(kind) }
        let digits = bytes[index...].prefix(4)
        index += digits.count
        return digits.count == 4
            && digits.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0 | 0x20) }
    }

    /// `true`, `false`, `null` or a number.
    private mutating func word() -> [UInt8]? {
        let start = index
        while let byte = peek,
            (0x30...0x39).contains(byte) || (0x61...0x7a).contains(byte | 0x20)
                || byte == 0x2b || byte == 0x2d || byte == 0x2e
        {
            index += 1
        }
        let word = Array(bytes[start..<index])
        let isName = ["true", "false", "null"].contains { Array($0.utf8) == word }
        return isName || JSONReader.isNumber(word) ? word : nil
    }

    /// RFC 8259 section 6.
    private static func isNumber(_ word: [UInt8]) -> Bool {
        var rest = word[...]
        func digits(_ rest: inout ArraySlice<UInt8>) -> Int {
            let count = rest.prefix { (0x30...0x39).contains($0) }.count
            rest = rest.dropFirst(count)
            return count
        }
        if rest.first == 0x2d { rest = rest.dropFirst() }
        let leading = rest.first
        let whole = digits(&rest)
        guard whole == 1 || (whole > 1 && leading != 0x30) else { return false }
        if rest.first == 0x2e {
            rest = rest.dropFirst()
            guard digits(&rest) > 0 else { return false }
        }
        if let exponent = rest.first, exponent | 0x20 == 0x65 {
            rest = rest.dropFirst()
            if rest.first == 0x2b || rest.first == 0x2d { rest = rest.dropFirst() }
            guard digits(&rest) > 0 else { return false }
        }
        return rest.isEmpty
    }

    private var peek: UInt8? { index < bytes.count ? bytes[index] : nil }

    private mutating func take(_ byte: UInt8) -> Bool {
        skipSpace()
        guard peek == byte else { return false }
        index += 1
        return true
    }

    private mutating func skipSpace() {
        while let byte = peek, byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d { index += 1 }
    }
}
