/// Bytes between a socket and a state machine: written at the end, read from the front.
///
/// A buffer owns memory only while it holds bytes: `attach` takes a block from a pool, `detach` gives it back. An
/// idle connection's buffer is three words and no block.
@safe public struct Buffer: ~Copyable {
    @usableFromInline var block: UnsafeMutableRawPointer?
    @usableFromInline var sizeClass: BlockPool.SizeClass = .small
    @usableFromInline var head: Int32 = 0
    @usableFromInline var tail: Int32 = 0
    /// The size of the block, 0 without one.
    @usableFromInline var limit: Int32 = 0

    /// A buffer without memory.
    @inlinable
    public init() {}

    @inlinable
    deinit {
        // Memory belongs to a pool: whoever drops a buffer that still has a block would leak it.
        unsafe precondition(block == nil, "a buffer is detached before it is dropped")
    }

    /// True where the buffer has memory.
    @inlinable @inline(__always)
    public var isAttached: Bool { unsafe block != nil }

    /// The number of bytes to be read.
    @inlinable @inline(__always)
    public var count: Int { Int(tail &- head) }

    /// True where there is no byte to be read.
    @inlinable @inline(__always)
    public var isEmpty: Bool { head == tail }

    /// The number of bytes that fit behind the last one, without moving anything.
    @inlinable @inline(__always)
    public var room: Int { Int(limit &- tail) }

    /// The size of the block, or 0 without one.
    @inlinable @inline(__always)
    public var capacity: Int { Int(limit) }

    /// Takes a block of that size, where the buffer has none.
    @inlinable @inline(__always)
    public mutating func attach(from pool: inout BlockPool, _ sizeClass: BlockPool.SizeClass = .small) {
        guard unsafe block == nil else { return }
        // SAFETY: the pool gives the block to this buffer alone, until `detach`.
        unsafe block = pool.take(sizeClass)
        self.sizeClass = sizeClass
        limit = Int32(truncatingIfNeeded: sizeClass.byteCount)
        head = 0
        tail = 0
    }

    /// Gives the block back, and with it every byte that was not read.
    @inlinable @inline(__always)
    public mutating func detach(to pool: inout BlockPool) {
        guard let memory = unsafe block else { return }
        // SAFETY: the only reference to the block goes back, and is forgotten here.
        unsafe pool.give(memory, sizeClass)
        unsafe block = nil
        limit = 0
        head = 0
        tail = 0
    }

    /// Gives the block back where every byte was read.
    @inlinable @inline(__always)
    public mutating func detachIfEmpty(to pool: inout BlockPool) {
        if isEmpty { detach(to: &pool) }
    }

    /// Moves the bytes into a block of a larger size class; false where there is none, or it is the same.
    public mutating func grow(in pool: inout BlockPool, to larger: BlockPool.SizeClass) -> Bool {
        guard let old = unsafe block, larger.rawValue > sizeClass.rawValue else { return false }
        let new = unsafe pool.take(larger)
        let count = self.count
        // SAFETY: `new` is larger than all that `old` holds, and they are different blocks.
        unsafe new.copyMemory(from: old + Int(head), byteCount: count)
        unsafe pool.give(old, sizeClass)
        unsafe block = new
        sizeClass = larger
        limit = Int32(truncatingIfNeeded: larger.byteCount)
        head = 0
        tail = Int32(count)
        return true
    }

    /// Moves the bytes into a block of the smallest class that holds them and as much again, where it is a smaller one: for
    /// bytes that may wait for long, and to which few are added.
    public mutating func shrink(in pool: inout BlockPool) {
        guard let old = unsafe block, let smaller = BlockPool.SizeClass.holding(2 * self.count),
            smaller < sizeClass
        else { return }
        let new = unsafe pool.take(smaller)
        let count = self.count
        // SAFETY: `new` is larger than all that `old` holds, and they are different blocks.
        unsafe new.copyMemory(from: old + Int(head), byteCount: count)
        unsafe pool.give(old, sizeClass)
        unsafe block = new
        sizeClass = smaller
        limit = Int32(truncatingIfNeeded: smaller.byteCount)
        head = 0
        tail = Int32(count)
    }

    /// Moves the bytes to the start of the block, so that all free room is behind them.
    public mutating func compact() {
        guard let memory = unsafe block, head > 0 else { return }
        let count = self.count
        // SAFETY: both ranges lie in the block; `copyMemory` allows overlap.
        unsafe memory.copyMemory(from: memory + Int(head), byteCount: count)
        head = 0
        tail = Int32(count)
    }

    /// Makes room for that many bytes behind the last one: in a block of at least that class where there is none yet, by
    /// moving the bytes to its start, or in a larger one. False beyond the largest class; nothing is changed then.
    @inlinable
    public mutating func makeRoom(
        _ byteCount: Int, in pool: inout BlockPool, atLeast smallest: BlockPool.SizeClass = .tiny
    ) -> Bool {
        guard room < byteCount else { return true }
        guard let sizeClass = BlockPool.SizeClass.holding(count + byteCount) else { return false }
        attach(from: &pool, max(sizeClass, smallest))
        guard room < byteCount else { return true }
        compact()
        guard room < byteCount else { return true }
        return grow(in: &pool, to: sizeClass)
    }

    /// The bytes to be read.
    public var bytes: Span<UInt8> {
        @_lifetime(borrow self)
        @inlinable @inline(__always)
        get {
            guard let memory = unsafe block else { return Span() }
            // SAFETY: head...tail lies in the block, is initialised, and the span borrows this buffer.
            let span = unsafe Span<UInt8>(
                _unsafeStart: (memory + Int(head)).assumingMemoryBound(to: UInt8.self), count: count)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    /// Marks the first `count` bytes as read.
    @inlinable @inline(__always)
    public mutating func consume(_ count: Int) {
        precondition(count >= 0 && count <= self.count)
        head &+= Int32(truncatingIfNeeded: count)
        if head == tail {
            head = 0
            tail = 0
        }
    }

    /// Adds bytes; false, and nothing added, where they do not fit.
    @inlinable @inline(__always)
    public mutating func append(_ bytes: Span<UInt8>) -> Bool {
        guard let memory = unsafe block, bytes.count <= room else { return false }
        unsafe bytes.withUnsafeBytes { source in
            guard let start = source.baseAddress else { return }
            // SAFETY: room was checked; a span of other memory does not overlap the free room.
            unsafe (memory + Int(tail)).copyMemory(from: start, byteCount: source.count)
        }
        tail &+= Int32(truncatingIfNeeded: bytes.count)
        return true
    }

    /// Adds one byte; false where it does not fit.
    @inlinable @inline(__always)
    public mutating func append(_ byte: UInt8) -> Bool {
        guard let memory = unsafe block, room > 0 else { return false }
        // SAFETY: room was checked.
        unsafe memory.storeBytes(of: byte, toByteOffset: Int(tail), as: UInt8.self)
        tail &+= 1
        return true
    }

    /// Adds the eight bytes of a word, the lowest first; false where they do not fit.
    @inlinable @inline(__always)
    public mutating func append(word: UInt64) -> Bool {
        guard let memory = unsafe block, room >= 8 else { return false }
        // SAFETY: room was checked; the store needs no alignment.
        unsafe memory.storeBytes(of: word.littleEndian, toByteOffset: Int(tail), as: UInt64.self)
        tail &+= 8
        return true
    }

    /// Adds the text of a literal.
    @inlinable @inline(__always)
    public mutating func append(_ text: StaticString) -> Bool {
        // SAFETY: a StaticString of ASCII or UTF-8 text points at constant memory of that size.
        let bytes = unsafe UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        return unsafe append(Span(_unsafeElements: bytes))
    }

    /// Calls `body` with the free room, for a system call that fills it; it gives back how many bytes it wrote.
    @inlinable @inline(__always)
    public mutating func withUnsafeRoom(_ body: (UnsafeMutableRawBufferPointer) -> Int) {
        guard let memory = unsafe block else { return }
        let room = self.room
        // SAFETY: the free room of the block, exclusively borrowed for the call.
        let written = unsafe body(UnsafeMutableRawBufferPointer(start: memory + Int(tail), count: room))
        precondition(written >= 0 && written <= room)
        tail &+= Int32(truncatingIfNeeded: written)
    }

    /// Calls `body` with the bytes to be read, for a system call that sends them.
    @inlinable @inline(__always)
    public borrowing func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        guard let memory = unsafe block else {
            return unsafe body(UnsafeRawBufferPointer(start: nil, count: 0))
        }
        // SAFETY: head...tail lies in the block and is initialised.
        return unsafe body(UnsafeRawBufferPointer(start: memory + Int(head), count: count))
    }
}
