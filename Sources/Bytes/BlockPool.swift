/// The blocks of memory that buffers borrow, one pool a worker.
///
/// A block goes back to its free list when its buffer is empty, so memory follows the bytes in flight and not the
/// number of connections. At most `keptBytes` stay on the free lists; the rest goes back to the system.
@safe public struct BlockPool: ~Copyable {
    /// The sizes a block can have.
    public enum SizeClass: UInt8, Sendable, Comparable {
        /// 4 KiB: what the log and the answer need to remember of a request.
        case tiny
        /// 16 KiB: a message head, and a body as it passes.
        case small
        /// 64 KiB: a large head, and bodies that keep coming.
        case medium
        /// 256 KiB: the largest head that a configuration may allow.
        case large

        /// True where the blocks of `left` are smaller.
        @inlinable @inline(__always)
        public static func < (left: SizeClass, right: SizeClass) -> Bool { left.rawValue < right.rawValue }

        /// The size in bytes.
        @inlinable @inline(__always)
        public var byteCount: Int { 4096 &<< (Int(rawValue) &* 2) }

        /// The next larger class, or nil for the largest.
        @inlinable
        public var larger: SizeClass? { SizeClass(rawValue: rawValue + 1) }

        /// The smallest class that holds `count` bytes, or nil beyond the largest.
        @inlinable @inline(__always)
        public static func holding(_ count: Int) -> SizeClass? {
            switch count {
            case ...4096: .tiny
            case ...16_384: .small
            case ...65_536: .medium
            case ...262_144: .large
            default: nil
            }
        }
    }

    /// The last block that was given back of each size class. Each free block begins with the address of the one
    /// given back before it.
    private var free: InlineArray<4, UnsafeMutableRawPointer?>
    private var freeBytes = 0
    private let keptBytes: Int
    /// How many bytes of blocks buffers hold right now.
    public private(set) var bytesInUse = 0
    /// From how many bytes on the owner takes on nothing new. The pool itself refuses nobody: what was begun is
    /// finished.
    public var limitBytes = Int.max

    /// More is in use than should be.
    @inlinable @inline(__always)
    public var isSpent: Bool { bytesInUse > limitBytes }

    /// A pool that keeps at most `keptBytes` of free blocks for reuse.
    public init(keptBytes: Int) {
        self.keptBytes = keptBytes
        unsafe free = InlineArray(repeating: nil)
    }

    deinit {
        for place in 0..<4 {
            var next = unsafe free[place]
            while let block = unsafe next {
                // SAFETY: blocks on the free lists are owned by the pool alone, and begin with the next one's address.
                unsafe next = block.load(as: UnsafeMutableRawPointer?.self)
                unsafe block.deallocate()
            }
        }
    }

    @usableFromInline
    mutating func take(_ sizeClass: SizeClass) -> UnsafeMutableRawPointer {
        let size = sizeClass.byteCount
        bytesInUse &+= size
        let place = Int(sizeClass.rawValue)
        guard let block = unsafe free[place] else {
            return UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64)
        }
        // SAFETY: a free block begins with the address of the next one, written by `give`.
        unsafe free[place] = block.load(as: UnsafeMutableRawPointer?.self)
        freeBytes &-= size
        return unsafe block
    }

    @usableFromInline
    mutating func give(_ block: UnsafeMutableRawPointer, _ sizeClass: SizeClass) {
        let size = sizeClass.byteCount
        bytesInUse &-= size
        guard freeBytes &+ size <= keptBytes else {
            // SAFETY: the buffer gave up its only reference.
            unsafe block.deallocate()
            return
        }
        freeBytes &+= size
        let place = Int(sizeClass.rawValue)
        // SAFETY: the block is the pool's now, large enough for an address and aligned for one.
        unsafe block.storeBytes(of: free[place], as: UnsafeMutableRawPointer?.self)
        unsafe free[place] = block
    }
}
