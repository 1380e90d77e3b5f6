/// The name of a slot in a `Slab`: survives in the kernel (`epoll_data`) and in timers, and is refused when the
/// slot has since been given to somebody else.
public struct Handle: Hashable, Sendable, BitwiseCopyable {
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

    @usableFromInline let chunks: UnsafeMutablePointer<UnsafeMutablePointer<Element>>
    /// For each slot how often it was given out and back; odd while it is taken.
    @usableFromInline let generations: UnsafeMutablePointer<UInt32>
    /// The free slots, the first `freeCount` entries.
    @usableFromInline let free: UnsafeMutablePointer<UInt32>
    @usableFromInline var freeCount = 0
    @usableFromInline var slotCount: UInt32 = 0
    /// How many slots are taken.
    @inlinable public var count: Int { Int(slotCount) - freeCount }
    /// How many slots may be taken at once.
    public let capacity: Int

    /// An empty slab for at most `capacity` values.
    @inlinable
    public init(capacity: Int) {
        precondition(capacity > 0)
        self.capacity = capacity
        let chunkLimit = (capacity + Self.chunkSize - 1) >> Self.chunkShift
        // SAFETY: owned by this value alone; only what `grow` has initialised is ever read. The system gives memory
        // to what is touched, so that a table for many slots costs little while it has few.
        unsafe chunks = .allocate(capacity: chunkLimit)
        unsafe generations = .allocate(capacity: chunkLimit << Self.chunkShift)
        unsafe free = .allocate(capacity: chunkLimit << Self.chunkShift)
    }

    @inlinable
    deinit {
        for slot in 0..<slotCount where isLive(slot) {
            // SAFETY: a live slot is initialised, and each is visited once.
            unsafe address(of: slot).deinitialize(count: 1)
        }
        for chunk in 0..<Int(slotCount) >> Self.chunkShift {
            // SAFETY: allocated in `grow`, freed once.
            unsafe chunks[chunk].deallocate()
        }
        // SAFETY: allocated in `init`, freed once.
        unsafe chunks.deallocate()
        unsafe generations.deallocate()
        unsafe free.deallocate()
    }

    /// True where no further value fits.
    @inlinable
    public var isFull: Bool { count == capacity }

    /// Takes a slot for a value. The slab must not be full.
    @inlinable @inline(__always)
    public mutating func insert(_ element: consuming Element) -> Handle {
        precondition(count < capacity, "the owner checks isFull first")
        if freeCount == 0 { grow() }
        freeCount &-= 1
        // SAFETY: there is a free slot; its memory is uninitialised, and its generation is even.
        let slot = unsafe free[freeCount]
        let generation = unsafe generations[Int(slot)] | 1
        unsafe generations[Int(slot)] = generation
        unsafe address(of: slot).initialize(to: element)
        return Handle(index: slot, generation: generation)
    }

    /// Gives the slot back and its value to the caller. The handle must be live.
    @inlinable
    public mutating func remove(_ handle: Handle) -> Element {
        precondition(contains(handle))
        // SAFETY: the slot was live, hence initialised; it is free now and will not be read again. There is room in
        // `free` for every slot.
        unsafe generations[Int(handle.index)] &+= 1
        unsafe free[freeCount] = handle.index
        freeCount &+= 1
        return unsafe address(of: handle.index).move()
    }

    /// Gives the slot back and destroys its value where it lies. The handle must be live.
    @inlinable
    public mutating func discard(_ handle: Handle) {
        precondition(contains(handle))
        // SAFETY: as in `remove`; the value is destroyed once, here.
        unsafe generations[Int(handle.index)] &+= 1
        unsafe free[freeCount] = handle.index
        freeCount &+= 1
        unsafe address(of: handle.index).deinitialize(count: 1)
    }

    /// True while the value that was inserted under this handle is still there.
    @inlinable @inline(__always)
    public func contains(_ handle: Handle) -> Bool {
        // SAFETY: the index is compared with the number of slots first.
        unsafe handle.index < slotCount && generations[Int(handle.index)] == handle.generation
            && handle.generation & 1 == 1
    }

    /// The handle of a live slot.
    @inlinable @inline(__always)
    public func handle(at index: UInt32) -> Handle {
        precondition(isLive(index))
        // SAFETY: a live slot has an index below the number of slots.
        return unsafe Handle(index: index, generation: generations[Int(index)])
    }

    /// True where the slot is taken. A live slot has an odd generation.
    @inlinable @inline(__always)
    public func isLive(_ index: UInt32) -> Bool {
        // SAFETY: the index is compared with the number of slots first.
        unsafe index < slotCount && generations[Int(index)] & 1 == 1
    }

    /// How many slots there are, taken or free: the bound for walking over all with `isLive`.
    @inlinable
    public var slots: UInt32 { slotCount }

    /// The value in a live slot.
    @inlinable
    public subscript(index: UInt32) -> Element {
        @inline(__always) unsafeAddress {
            precondition(isLive(index))
            // SAFETY: a live slot is initialised; the access borrows the slab, so it cannot go away meanwhile.
            return unsafe UnsafePointer(address(of: index))
        }
        @inline(__always) unsafeMutableAddress {
            precondition(isLive(index))
            // SAFETY: as above, and the access is exclusive.
            return unsafe address(of: index)
        }
    }

    @inlinable @inline(__always)
    func address(of slot: UInt32) -> UnsafeMutablePointer<Element> {
        unsafe chunks[Int(slot) &>> Self.chunkShift] + (Int(slot) & (Self.chunkSize &- 1))
    }

    @inlinable
    mutating func grow() {
        let chunk = Int(slotCount) >> Self.chunkShift
        // SAFETY: fewer slots than `capacity` exist, so there is room for another chunk in each of the three.
        unsafe (chunks + chunk).initialize(to: .allocate(capacity: Self.chunkSize))
        unsafe (generations + Int(slotCount)).initialize(repeating: 0, count: Self.chunkSize)
        // The lowest slot is given out first.
        for place in 0..<Self.chunkSize {
            unsafe (free + place).initialize(to: slotCount + UInt32(Self.chunkSize - 1 - place))
        }
        freeCount = Self.chunkSize
        slotCount += UInt32(Self.chunkSize)
    }
}
