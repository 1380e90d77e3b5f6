/// The name of a slot in a `Slab`: survives in the kernel (`epoll_data`) and in timers, and is refused when the
/// slot has since been given to somebody else.
public struct Handle: Equatable, Sendable, BitwiseCopyable {
    /// The number of the slot.
    public let index: UInt32
    /// How often the slot had been given out before, plus one; 0 names no slot at all.
    public let generation: UInt32

    /// The handle of that slot in that generation.
    @inlinable
    public init(index: UInt32, generation: UInt32) {
        self.index = index
        self.generation = generation
    }

    /// Names nothing; no slab ever gives it out.
    @inlinable
    public static var none: Handle { Handle(index: 0, generation: 0) }

    /// True for `Handle.none`.
    @inlinable
    public var isNone: Bool { generation == 0 }
}

/// A table of `~Copyable` values in slots that do not move, with a free list and a generation for each slot.
///
/// Memory is taken in chunks as the table grows and is used again; insertion and removal in steady state do not
/// allocate. Everything is inlinable, so that it is specialised for the values of other targets.
@safe public struct Slab<Element: ~Copyable>: ~Copyable {
    @inlinable static var chunkShift: Int { 6 }
    @inlinable static var chunkSize: Int { 1 << chunkShift }

    @usableFromInline var chunks: UnsafeMutablePointer<UnsafeMutablePointer<Element>>
    @usableFromInline var chunksInUse = 0
    @usableFromInline let chunkLimit: Int
    @usableFromInline var generations: [UInt32] = []
    @usableFromInline var free: [UInt32] = []
    @usableFromInline var taken = 0
    /// How many slots are taken.
    @inlinable public var count: Int { taken }
    /// How many slots may be taken at once.
    public let capacity: Int

    /// An empty slab for at most `capacity` values.
    @inlinable
    public init(capacity: Int) {
        precondition(capacity > 0)
        self.capacity = capacity
        chunkLimit = (capacity + Self.chunkSize - 1) >> Self.chunkShift
        // SAFETY: owned by this value alone; only the first `chunksInUse` entries are ever read.
        unsafe chunks = .allocate(capacity: chunkLimit)
    }

    @inlinable
    deinit {
        for slot in 0..<UInt32(generations.count) where isLive(slot) {
            // SAFETY: a live slot is initialised, and each is visited once.
            unsafe address(of: Int(slot)).deinitialize(count: 1)
        }
        for chunk in 0..<chunksInUse {
            // SAFETY: allocated in `grow`, freed once.
            unsafe chunks[chunk].deallocate()
        }
        // SAFETY: allocated in `init`, freed once.
        unsafe chunks.deallocate()
    }

    /// True where no further value fits.
    @inlinable
    public var isFull: Bool { taken == capacity }

    /// Takes a slot for a value. The slab must not be full.
    @inlinable
    public mutating func insert(_ element: consuming Element) -> Handle {
        precondition(taken < capacity, "the owner checks isFull first")
        if free.isEmpty { grow() }
        let slot = free.removeLast()
        generations[Int(slot)] |= 1
        taken += 1
        // SAFETY: the slot was free, so it is uninitialised memory.
        unsafe address(of: Int(slot)).initialize(to: element)
        return Handle(index: slot, generation: generations[Int(slot)])
    }

    /// Gives the slot back and its value to the caller. The handle must be live.
    @inlinable
    public mutating func remove(_ handle: Handle) -> Element {
        precondition(contains(handle))
        generations[Int(handle.index)] &+= 1
        free.append(handle.index)
        taken -= 1
        // SAFETY: the slot was live, hence initialised; it is free now and will not be read again.
        return unsafe address(of: Int(handle.index)).move()
    }

    /// True while the value that was inserted under this handle is still there.
    @inlinable @inline(__always)
    public func contains(_ handle: Handle) -> Bool {
        handle.index < generations.count && generations[Int(handle.index)] == handle.generation
            && handle.generation & 1 == 1
    }

    /// The handle of a live slot.
    @inlinable
    public func handle(at index: UInt32) -> Handle {
        precondition(isLive(index))
        return Handle(index: index, generation: generations[Int(index)])
    }

    /// True where the slot is taken. A live slot has an odd generation.
    @inlinable @inline(__always)
    public func isLive(_ index: UInt32) -> Bool {
        index < generations.count && generations[Int(index)] & 1 == 1
    }

    /// How many slots there are, taken or free: the bound for walking over all with `isLive`.
    @inlinable
    public var slots: UInt32 { UInt32(generations.count) }

    /// The value in a live slot.
    @inlinable
    public subscript(index: UInt32) -> Element {
        @inline(__always) unsafeAddress {
            precondition(isLive(index))
            // SAFETY: a live slot is initialised; the access borrows the slab, so it cannot go away meanwhile.
            return unsafe UnsafePointer(address(of: Int(index)))
        }
        @inline(__always) unsafeMutableAddress {
            precondition(isLive(index))
            // SAFETY: as above, and the access is exclusive.
            return unsafe address(of: Int(index))
        }
    }

    @inlinable @inline(__always)
    func address(of slot: Int) -> UnsafeMutablePointer<Element> {
        unsafe chunks[slot >> Self.chunkShift] + (slot & (Self.chunkSize - 1))
    }

    @inlinable
    mutating func grow() {
        // SAFETY: count < capacity, so fewer than `chunkLimit` chunks are in use.
        unsafe (chunks + chunksInUse).initialize(to: .allocate(capacity: Self.chunkSize))
        let first = chunksInUse << Self.chunkShift
        chunksInUse += 1
        generations.append(contentsOf: repeatElement(0, count: Self.chunkSize))
        free.reserveCapacity(chunksInUse << Self.chunkShift)
        for slot in (first..<first + Self.chunkSize).reversed() { free.append(UInt32(slot)) }
    }
}
