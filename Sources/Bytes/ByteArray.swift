internal import Glibc

/// Bytes that one owner keeps for long: they grow like an array's, but are never shared, so that reading them costs
/// neither a reference count nor a check for uniqueness.
@safe public struct ByteArray: ~Copyable {
    @usableFromInline var memory: UnsafeMutablePointer<UInt8>?
    /// How many bytes there are.
    public private(set) var count = 0
    /// How many bytes fit before memory has to be taken.
    public private(set) var capacity = 0

    /// No bytes, and no memory.
    public init() {}

    /// The text of a literal.
    public init(_ text: StaticString) {
        self.init()
        append(text)
    }

    /// A copy of these bytes.
    public init(_ bytes: [UInt8]) {
        self.init()
        append(bytes.span)
    }

    deinit {
        // SAFETY: owned by this value alone; bytes need no deinitialisation.
        unsafe memory?.deallocate()
    }

    /// All the bytes.
    public var span: Span<UInt8> {
        @_lifetime(borrow self)
        @inlinable @inline(__always)
        get {
            guard let memory = unsafe memory else { return Span() }
            // SAFETY: the first `count` bytes are initialised, and the span borrows their owner.
            let span = unsafe Span<UInt8>(_unsafeStart: memory, count: count)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// The bytes of that range, which must lie inside.
    @_lifetime(borrow self)
    @inlinable @inline(__always)
    public func span(_ range: ByteRange) -> Span<UInt8> {
        span.extracting(range.bounds)
    }

    /// The byte at `index`, which must be below `count`.
    public subscript(index: Int) -> UInt8 {
        @inline(__always) get { span[index] }
        set {
            precondition(index >= 0 && index < count)
            // SAFETY: index was checked, so there is memory.
            unsafe memory?[index] = newValue
        }
    }

    /// True where the bytes at `range`, which must lie inside, are exactly `bytes`.
    public func hasBytes(_ bytes: Span<UInt8>, at range: ByteRange) -> Bool {
        precondition(range.start >= 0 && range.count >= 0 && range.end <= count)
        guard bytes.count == range.count, let memory = unsafe memory else {
            return bytes.count == range.count
        }
        return unsafe bytes.withUnsafeBytes { other in
            guard let start = other.baseAddress else { return true }
            // SAFETY: the range was checked, and both have that many bytes.
            return unsafe memcmp(memory + Int(range.start), start, other.count) == 0
        }
    }

    /// The range of the bytes added since there were `start`.
    public func range(since start: Int) -> ByteRange { ByteRange(from: start, to: count) }

    /// Forgets the bytes behind the first `count`, and keeps the memory.
    public mutating func truncate(to count: Int) {
        precondition(count >= 0 && count <= self.count)
        self.count = count
    }

    /// Forgets every byte, and keeps the memory.
    public mutating func removeAll() { count = 0 }

    /// Adds bytes.
    public mutating func append(_ bytes: Span<UInt8>) {
        reserve(bytes.count)
        guard let memory = unsafe memory else { return }
        unsafe bytes.withUnsafeBufferPointer { source in
            guard let start = source.baseAddress else { return }
            // SAFETY: `reserve` made room behind the bytes in use; a span of these very bytes ends before it.
            unsafe (memory + count).update(from: start, count: source.count)
        }
        count += bytes.count
    }

    /// Adds the text of a literal.
    public mutating func append(_ text: StaticString) {
        // SAFETY: a StaticString of ASCII or UTF-8 text points at constant memory of that size.
        let bytes = unsafe UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        unsafe append(Span(_unsafeElements: bytes))
    }

    /// Adds a line: `start`, a separator, `end`, CRLF.
    public mutating func appendLine(_ start: Span<UInt8>, _ separator: StaticString, _ end: Span<UInt8>) {
        let between = separator.utf8CodeUnitCount
        let added = start.count + between + end.count + 2
        if capacity &- count < added { reserve(added) }
        guard let memory = unsafe memory else { return }
        // SAFETY: there is room for all of it behind the bytes in use, where no span of these very bytes reaches; a
        // StaticString of text points at constant memory of that size.
        var place = unsafe memory + count
        unsafe Self.copy(start, to: place)
        unsafe place += start.count
        var left = between
        var letter = unsafe separator.utf8Start
        while left > 0 {
            unsafe place.pointee = letter.pointee
            unsafe (place, letter) = (place + 1, letter + 1)
            left &-= 1
        }
        unsafe Self.copy(end, to: place)
        unsafe place += end.count
        unsafe place[0] = ASCII.carriageReturn
        unsafe place[1] = ASCII.lineFeed
        count += added
    }

    @inline(__always)
    private static func copy(_ bytes: Span<UInt8>, to place: UnsafeMutablePointer<UInt8>) {
        unsafe bytes.withUnsafeBufferPointer { source in
            guard let start = source.baseAddress else { return }
            // SAFETY: the caller made room for that many bytes.
            unsafe place.update(from: start, count: source.count)
        }
    }

    /// Adds one byte.
    public mutating func append(_ byte: UInt8) {
        reserve(1)
        guard let memory = unsafe memory else { return }
        // SAFETY: `reserve` made room.
        unsafe memory[count] = byte
        count += 1
    }

    /// Makes room for that many more bytes. Spans of this value must not be in use, which the compiler sees to.
    public mutating func reserve(_ extra: Int) {
        let needed = count + extra
        guard needed > capacity else { return }
        let larger = max(needed, min(capacity * 2, capacity + 65_536))
        let new = UnsafeMutablePointer<UInt8>.allocate(capacity: larger)
        if let old = unsafe memory {
            // SAFETY: `new` is larger, and the two do not overlap.
            unsafe new.update(from: old, count: count)
            unsafe old.deallocate()
        }
        unsafe memory = new
        capacity = larger
    }
}
