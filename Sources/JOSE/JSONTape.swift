internal import Bytes
internal import Crypto

/// One JSON value, or the name of a member, on a `JSONTape`.
struct JSONNode: BitwiseCopyable {
    var kind: ClaimKind
    /// Where the text starts: behind the quote of a string, at the first byte of anything else.
    var start: Int32
    /// The bytes of a scalar's text (a string's with escapes decoded), or the members of a container.
    var count: Int32
    /// The index of the node behind this one and all that it contains.
    var end: Int32
    /// The container that this one stands in, or -1. Kept for containers only.
    var parent: Int32 = -1
    /// A hash of a member's name.
    var hash: UInt32 = 0
}

/// What a JSON text may cost.
struct JSONLimits: Sendable, Equatable {
    /// Containers inside containers.
    var depth: Int
    /// Values and names in all.
    var nodes: Int
    /// Members of one object.
    var members: Int

    /// For a token's header and payload: real ones have below 100 nodes and 5 levels.
    static let token = JSONLimits(depth: 32, nodes: 1024, members: 256)
    /// For a JWK Set of 100 keys, each with a certificate chain and members nobody knows.
    static let keySet = JSONLimits(depth: 32, nodes: 16_384, members: 256)

    /// For what an issuer answers about a token, of so many bytes: it may list all that somebody is allowed. Two bytes make a
    /// node at least, so that a short answer takes little memory.
    static func answer(byteCount: Int) -> JSONLimits {
        JSONLimits(depth: 32, nodes: min(byteCount / 2 + 2, 16_384), members: 1024)
    }
}

/// The values of a strict JSON text (RFC 8259) in the order in which they stand there, as a flat list: an object's
/// node is followed by name, value, name, value; an array's by its elements.
///
/// Strict means: whole text one value, UTF-8 without overlong forms and surrogates, no duplicate member at any
/// depth (rule J13), no lone surrogate in escapes, numbers exactly by the grammar, every limit kept (rule J12).
/// The scanner is a loop, not a recursion, and takes its memory once.
struct JSONTape: ~Copyable {
    private(set) var nodes: FixedArray<JSONNode>
    private let limits: JSONLimits
    private var open = -1
    private var depth = 0

    init(limits: JSONLimits) {
        self.limits = limits
        nodes = FixedArray(capacity: limits.nodes)
    }

    private enum Expected {
        case value, valueOrEnd, name, nameOrEnd, separator, nothing
    }

    /// Reads the first `end` bytes of `text` and decodes the escapes in its strings in place; false where they are
    /// not one strict JSON value. The tape means something only after true.
    mutating func parse(_ text: inout MutableSpan<UInt8>, end: Int) -> Bool {
        nodes.removeAll()
        open = -1
        depth = 0
        var expected = Expected.value
        var index = 0
        while true {
            index = Self.skipSpace(text, index, end)
            guard index < end else { return expected == .nothing }
            let byte = text[index]
            switch expected {
            case .value, .valueOrEnd:
                if byte == 0x5d, expected == .valueOrEnd {  // ]
                    index += 1
                    guard let next = close(text) else { return false }
                    expected = next
                } else {
                    guard let next = value(byte, &text, index, end, &expected) else { return false }
                    index = next
                }
            case .name, .nameOrEnd:
                if byte == 0x7d, expected == .nameOrEnd {  // }
                    index += 1
                    guard let next = close(text) else { return false }
                    expected = next
                } else {
                    guard byte == 0x22, let next = name(&text, index + 1, end) else { return false }
                    index = next
                    expected = .value
                }
            case .separator:
                guard let next = separator(byte, text) else { return false }
                index += 1
                expected = next
            case .nothing:
                return false
            }
        }
    }

    /// Reads a value that starts with `byte` and says what may follow.
    private mutating func value(
        _ byte: UInt8, _ text: inout MutableSpan<UInt8>, _ index: Int, _ end: Int, _ expected: inout Expected
    ) -> Int? {
        if open >= 0, nodes[open].kind == .array { nodes[open].count += 1 }
        switch byte {
        case 0x7b, 0x5b:  // { [
            guard depth < limits.depth else { return nil }
            depth += 1
            let kind: ClaimKind = byte == 0x7b ? .object : .array
            let index32 = Int32(truncatingIfNeeded: index)
            let node = JSONNode(kind: kind, start: index32, count: 0, end: -1, parent: Int32(open))
            guard nodes.append(node) else { return nil }
            open = nodes.count - 1
            expected = kind == .object ? .nameOrEnd : .valueOrEnd
            return index + 1
        case 0x22:  // "
            expected = afterValue
            return string(&text, index + 1, end)
        case 0x74, 0x66, 0x6e:  // t f n
            expected = afterValue
            return literal(byte, text, index, end)
        default:
            expected = afterValue
            guard let next = JSONNumber.scan(text, index, end) else { return nil }
            return scalar(.number, index, next) ? next : nil
        }
    }

    private var afterValue: Expected { open < 0 ? .nothing : .separator }

    /// Closes the innermost container; nil for an object with two members of one name.
    private mutating func close(_ text: borrowing MutableSpan<UInt8>) -> Expected? {
        guard nodes[open].kind == .array || !hasDuplicates(text, open) else { return nil }
        nodes[open].end = Int32(nodes.count)
        open = Int(nodes[open].parent)
        depth -= 1
        return afterValue
    }

    private mutating func separator(_ byte: UInt8, _ text: borrowing MutableSpan<UInt8>) -> Expected? {
        let kind = nodes[open].kind
        switch byte {
        case 0x2c: return kind == .object ? .name : .value
        case 0x5d where kind == .array: return close(text)
        case 0x7d where kind == .object: return close(text)
        default: return nil
        }
    }

    /// Reads a member's name and the colon behind it.
    private mutating func name(_ text: inout MutableSpan<UInt8>, _ index: Int, _ end: Int) -> Int? {
        let node = nodes.count
        guard Int(nodes[open].count) < limits.members, let next = string(&text, index, end) else {
            return nil
        }
        if Int(nodes[open].count) < Self.comparedCount {
            nodes[node].hash = Self.hash(text, nodes[node])
            guard !isDuplicate(text, node) else { return nil }
        }
        nodes[open].count += 1
        let colon = Self.skipSpace(text, next, end)
        guard colon < end, text[colon] == 0x3a else { return nil }
        return colon + 1
    }

    /// Each of so many names of an object is compared with all before it; those of a larger one, which no token has, when
    /// it is whole.
    private static let comparedCount = 256

    /// True where two members of a large object have one name (rule J13).
    private func hasDuplicates(_ text: borrowing MutableSpan<UInt8>, _ object: Int) -> Bool {
        let count = Int(nodes[object].count)
        // Without randomness somebody could choose names that stand side by side: it would take long, and be right.
        guard count > Self.comparedCount else { return false }
        let hash = KeyedHash(seed: (Random.uint64() ?? 0, Random.uint64() ?? 0))
        var places = [Int32](repeating: -1, count: 4 * count)
        var name = object + 1
        while name < nodes.count {
            var place = Int(hash(bytes(of: name, text)) % UInt64(places.count))
            while places[place] >= 0 {
                if ASCII.equals(bytes(of: Int(places[place]), text), bytes(of: name, text)) { return true }
                place = place + 1 < places.count ? place + 1 : 0
            }
            places[place] = Int32(truncatingIfNeeded: name)
            name = Int(nodes[name + 1].end)
        }
        return false
    }

    @_lifetime(borrow text)
    private func bytes(of name: Int, _ text: borrowing MutableSpan<UInt8>) -> Span<UInt8> {
        let node = nodes[name]
        return text.span.extracting(Int(node.start)..<Int(node.start) + Int(node.count))
    }

    /// True where an earlier member of the open object has the name at `node` (rule J13).
    private func isDuplicate(_ text: borrowing MutableSpan<UInt8>, _ node: Int) -> Bool {
        let name = nodes[node]
        var other = open + 1
        while other < node {
            let candidate = nodes[other]
            if candidate.hash == name.hash, candidate.count == name.count {
                var offset = 0
                while offset < Int(name.count),
                    text[Int(name.start) + offset] == text[Int(candidate.start) + offset]
                {
                    offset += 1
                }
                if offset == Int(name.count) { return true }
            }
            other = Int(nodes[other + 1].end)
        }
        return false
    }

    private mutating func scalar(_ kind: ClaimKind, _ start: Int, _ end: Int) -> Bool {
        nodes.append(
            JSONNode(
                kind: kind, start: Int32(truncatingIfNeeded: start),
                count: Int32(truncatingIfNeeded: end - start), end: Int32(nodes.count + 1)))
    }

    private mutating func string(_ text: inout MutableSpan<UInt8>, _ start: Int, _ end: Int) -> Int? {
        guard let (stop, next) = JSONString.decode(&text, start, end), scalar(.string, start, stop) else {
            return nil
        }
        return next
    }

    private mutating func literal(
        _ byte: UInt8, _ text: borrowing MutableSpan<UInt8>, _ index: Int, _ end: Int
    ) -> Int? {
        let word: [5 of UInt8]
        switch byte {
        case 0x74: word = [0x74, 0x72, 0x75, 0x65, 0]
        case 0x66: word = [0x66, 0x61, 0x6c, 0x73, 0x65]
        default: word = [0x6e, 0x75, 0x6c, 0x6c, 0]
        }
        let next = index + (byte == 0x66 ? 5 : 4)
        guard next <= end else { return nil }
        for offset in 0..<next - index where text[index + offset] != word[offset] { return nil }
        return scalar(byte == 0x6e ? .null : .boolean, index, next) ? next : nil
    }

    @inline(__always)
    private static func skipSpace(_ text: borrowing MutableSpan<UInt8>, _ start: Int, _ end: Int) -> Int {
        var index = start
        while index < end {
            let byte = text[index]
            guard byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 else { break }
            index &+= 1
        }
        return index
    }

    /// FNV-1a: only to tell most names apart quickly; equality is decided on the bytes.
    @inline(__always)
    private static func hash(_ text: borrowing MutableSpan<UInt8>, _ node: JSONNode) -> UInt32 {
        var hash: UInt32 = 0x811c_9dc5
        var index = Int(node.start)
        let end = index &+ Int(node.count)
        while index < end {
            hash = (hash ^ UInt32(text[index])) &* 0x0100_0193
            index &+= 1
        }
        return hash
    }
}
