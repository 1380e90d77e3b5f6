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
        @inlinable
        public static func < (left: SizeClass, right: SizeClass) -> Bool { left.rawValue < right.rawValue }

        /// The size in bytes.
        @inlinable
        public var byteCount: Int { 4096 << (Int(rawValue) * 2) }

        /// The next larger class, or nil for the largest.
        @inlinable
        public var larger: SizeClass? { SizeClass(rawValue: rawValue + 1) }

        /// The smallest class that holds `count` bytes, or nil beyond the largest.
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

    private var free:
        (
            tiny: [UnsafeMutableRawPointer], small: [UnsafeMutableRawPointer],
            medium: [UnsafeMutableRawPointer],
            large: [UnsafeMutableRawPointer]
        )
    private var freeBytes = 0
    private let keptBytes: Int
    /// How many bytes of blocks buffers hold right now.
    public private(set) var bytesInUse = 0

    /// A pool that keeps at most `keptBytes` of free blocks for reuse.
    public init(keptBytes: Int) {
        self.keptBytes = keptBytes
        unsafe free = ([], [], [], [])
    }

    deinit {
        // SAFETY: blocks on the free lists are owned by the pool alone.
        unsafe free.tiny.forEach { block in unsafe block.deallocate() }
        unsafe free.small.forEach { block in unsafe block.deallocate() }
        unsafe free.medium.forEach { block in unsafe block.deallocate() }
        unsafe free.large.forEach { block in unsafe block.deallocate() }
    }

    @usableFromInline
    mutating func take(_ sizeClass: SizeClass) -> UnsafeMutableRawPointer {
        bytesInUse += sizeClass.byteCount
        let reused: UnsafeMutableRawPointer? =
            switch sizeClass {
            case .tiny: unsafe free.tiny.popLast()
            case .small: unsafe free.small.popLast()
            case .medium: unsafe free.medium.popLast()
            case .large: unsafe free.large.popLast()
            }
        if let block = unsafe reused {
            freeBytes -= sizeClass.byteCount
            return unsafe block
        }
        return UnsafeMutableRawPointer.allocate(byteCount: sizeClass.byteCount, alignment: 64)
    }

    @usableFromInline
    mutating func give(_ block: UnsafeMutableRawPointer, _ sizeClass: SizeClass) {
        bytesInUse -= sizeClass.byteCount
        guard freeBytes + sizeClass.byteCount <= keptBytes else {
            // SAFETY: the buffer gave up its only reference.
            unsafe block.deallocate()
            return
        }
        freeBytes += sizeClass.byteCount
        switch sizeClass {
        case .tiny: unsafe free.tiny.append(block)
        case .small: unsafe free.small.append(block)
        case .medium: unsafe free.medium.append(block)
        case .large: unsafe free.large.append(block)
        }
    }
}
