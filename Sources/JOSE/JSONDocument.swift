internal import Bytes

/// A JSON text and its tape, in memory that is taken once and used for one text after another.
struct JSONDocument: ~Copyable {
    private var text: [UInt8]
    private(set) var byteCount = 0
    private var tape: JSONTape
    /// What a text may hold besides its bytes.
    let limits: JSONLimits

    /// Room for texts of at most `capacity` bytes.
    init(capacity: Int, limits: JSONLimits) {
        text = [UInt8](repeating: 0, count: max(capacity, 1))
        tape = JSONTape(limits: limits)
        self.limits = limits
    }

    /// Room for what an issuer answers about a token.
    init(forAnswer answer: Span<UInt8>) {
        self.init(capacity: answer.count, limits: .answer(byteCount: answer.count))
    }

    /// Decodes a part of a token and reads it; false where it is not strict base64url of a strict JSON object.
    mutating func load(base64URL part: Span<UInt8>) -> Bool {
        guard let count = Self.decode(part, into: &text) else { return false }
        return read(count)
    }

    /// Copies a text and reads it; false where it does not fit or is not a strict JSON object.
    mutating func load(_ bytes: Span<UInt8>) -> Bool {
        guard bytes.count <= text.count else { return false }
        for index in 0..<bytes.count { text[index] = bytes[index] }
        return read(bytes.count)
    }

    /// What was decoded or copied last, as long as it was not read; escapes in strings are decoded in place then.
    var bytes: Span<UInt8> {
        @_lifetime(borrow self)
        get { text.span.extracting(0..<byteCount) }
    }

    /// Decodes a part of a token without reading it; false where it is not strict base64url.
    mutating func decode(base64URL part: Span<UInt8>) -> Bool {
        guard let count = Self.decode(part, into: &text) else { return false }
        byteCount = count
        return true
    }

    /// Reads what was decoded; false where it is not a strict JSON object.
    mutating func readDecoded() -> Bool { read(byteCount) }

    /// Lets `fill` write a text into the memory and reads it; false where it gives none, or it is not a strict JSON
    /// object.
    mutating func load(filledBy fill: (inout MutableSpan<UInt8>) -> Int?) -> Bool {
        guard let count = Self.fill(&text, fill) else { return false }
        return read(count)
    }

    private static func fill(_ text: inout [UInt8], _ fill: (inout MutableSpan<UInt8>) -> Int?) -> Int? {
        var span = text.mutableSpan
        return fill(&span)
    }

    private mutating func read(_ count: Int) -> Bool {
        byteCount = count
        guard Self.parse(&text, count, &tape) else { return false }
        return tape.nodes[0].kind == .object
    }

    private static func decode(_ part: Span<UInt8>, into text: inout [UInt8]) -> Int? {
        var span = text.mutableSpan
        return Base64URL.decode(part, into: &span)
    }

    private static func parse(_ text: inout [UInt8], _ count: Int, _ tape: inout JSONTape) -> Bool {
        var span = text.mutableSpan
        return tape.parse(&span, end: count)
    }

    func node(_ index: Int) -> JSONNode { tape.nodes[index] }

    /// The text of a scalar or a name; empty for a container.
    @_lifetime(borrow self)
    func bytes(of index: Int) -> Span<UInt8> {
        let node = tape.nodes[index]
        let isContainer = node.kind == .object || node.kind == .array
        let start = Int(node.start)
        return text.span.extracting(start..<start + (isContainer ? 0 : Int(node.count)))
    }

    /// The same in memory of its own.
    func copy(of index: Int) -> [UInt8] {
        let span = bytes(of: index)
        var copy: [UInt8] = []
        copy.reserveCapacity(span.count)
        for offset in 0..<span.count { copy.append(span[offset]) }
        return copy
    }

    func claim(_ index: Int) -> ClaimValue { ClaimValue(kind: tape.nodes[index].kind, node: index) }

    /// The first name of an object or element of an array, or nil where there is none.
    func firstChild(of container: Int) -> Int? { tape.nodes[container].count > 0 ? container + 1 : nil }

    /// The node behind `index` in the same container; for a member, `index` is its value. nil behind the last.
    func sibling(after index: Int, in container: Int) -> Int? {
        let next = Int(tape.nodes[index].end)
        return next < Int(tape.nodes[container].end) ? next : nil
    }

    /// The value of the member with exactly that name, or nil.
    func member(_ name: Span<UInt8>, of object: Int) -> Int? {
        guard tape.nodes[object].kind == .object else { return nil }
        var index = firstChild(of: object)
        while let current = index {
            if equal(current, name) { return current + 1 }
            index = sibling(after: current + 1, in: object)
        }
        return nil
    }

    /// True where the text of the node is these bytes.
    func equal(_ index: Int, _ other: Span<UInt8>) -> Bool {
        let node = tape.nodes[index]
        guard Int(node.count) == other.count else { return false }
        let own = bytes(of: index)
        guard own.count == other.count else { return false }
        for offset in 0..<other.count where own[offset] != other[offset] { return false }
        return true
    }

    func value(at path: borrowing ClaimPath, in root: Int = 0) -> ClaimValue? {
        if let literal = member(path.name.span, of: root) { return claim(literal) }
        guard path.steps.count > 1 else { return nil }
        var current = root
        for step in path.steps {
            guard let next = member(step.span, of: current) else { return nil }
            current = next
        }
        return claim(current)
    }

    func firstElement(of array: ClaimValue) -> ClaimValue? {
        guard array.kind == .array, let first = firstChild(of: Int(array.node)) else { return nil }
        return claim(first)
    }

    func element(after element: ClaimValue, in array: ClaimValue) -> ClaimValue? {
        guard array.kind == .array, let next = sibling(after: Int(element.node), in: Int(array.node)) else {
            return nil
        }
        return claim(next)
    }
}
