internal import CNghttp2
internal import Glibc

/// The memory of all sessions that live on one thread. What nghttp2 gives back of a stream, a field or a frame is kept
/// for the next one of its size: in the long run a request over HTTP/2 allocates nothing.
///
/// Sessions keep their memory alive. It is not locked: it belongs to the thread of its sessions.
@safe public final class HTTP2Memory {
    private let blocks: UnsafeMutablePointer<KeptBlocks>

    /// Memory that keeps nothing yet.
    ///
    /// - Parameter kept: how many blocks of each size are kept at most. 64 streams at work need as many, and all sizes
    ///   together are some 650 KB. With 0 every block goes back to where it came from, for programs that look for misuse.
    public init(kept: Int = 64) {
        unsafe blocks = .allocate(capacity: 1)
        // SAFETY: allocated in the line before, freed in `deinit`.
        unsafe blocks.initialize(to: KeptBlocks(limit: UInt32(clamping: kept)))
    }

    deinit {
        // SAFETY: whoever got a block holds this object.
        unsafe blocks.pointee.release()
        unsafe blocks.deinitialize(count: 1)
        unsafe blocks.deallocate()
    }

    /// How many blocks wait for their next use.
    var keptCount: Int {
        // SAFETY: they belong to this object.
        unsafe blocks.pointee.count
    }

    /// What nghttp2 is to call. It copies the structure, and passes the address of the blocks each time.
    var callbacks: nghttp2_mem {
        unsafe nghttp2_mem(
            mem_user_data: blocks,
            malloc: { count, data in unsafe kept(data).pointee.take(count) },
            free: { block, data in unsafe kept(data).pointee.give(block) },
            calloc: { count, size, data in unsafe kept(data).pointee.takeZeros(count, size) },
            realloc: { block, count, data in unsafe kept(data).pointee.resize(block, count) })
    }
}

private func kept(_ data: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<KeptBlocks> {
    // SAFETY: `callbacks` is the only place that says what is passed.
    unsafe data.unsafelyUnwrapped.assumingMemoryBound(to: KeptBlocks.self)
}

/// Lists of free blocks: one for each multiple of 64 bytes up to a kilobyte, and two for the fields of a message, which
/// nghttp2 keeps in one piece of one to four. A block is a header of 16 bytes, which says where it belongs and how much it
/// holds, and what nghttp2 sees; a free one has the address of the next behind its header.
@safe private struct KeptBlocks: ~Copyable {
    private static let headerBytes = 16
    private static let listCount = 19
    /// The last list of blocks that differ by 64 bytes.
    private static let lastSmallList = 16
    private let limit: UInt32
    private var first = unsafe InlineArray<19, UnsafeMutableRawPointer?>(repeating: nil)
    private var counts = InlineArray<19, UInt32>(repeating: 0)

    init(limit: UInt32) { self.limit = limit }

    /// How many there are.
    var count: Int {
        var sum = 0
        for list in counts.indices { sum += Int(counts[list]) }
        return sum
    }

    /// The list whose blocks hold `count` bytes; 0 where they are too large to be kept.
    @inline(__always)
    private static func list(holding count: Int) -> Int {
        guard count >= 0 else { return 0 }
        if count <= room(lastSmallList) { return (count &+ (headerBytes + 63)) &>> 6 }
        for list in (lastSmallList + 1)..<listCount where count <= room(list) { return list }
        return 0
    }

    /// What the blocks of a list hold, in bytes.
    private static func room(_ list: Int) -> Int {
        (list <= lastSmallList ? list << 6 : 1024 << (list - lastSmallList)) - headerBytes
    }

    /// How many blocks of a list are kept: fewer of the large ones.
    private func limit(_ list: Int) -> UInt32 { list <= Self.lastSmallList ? limit : limit / 4 }

    /// A block that holds `count` bytes; nil where memory is short.
    mutating func take(_ count: Int) -> UnsafeMutableRawPointer? {
        let list = Self.list(holding: count)
        guard list > 0 else { return unsafe Self.allocate(0, count) }
        guard let block = unsafe first[list] else {
            return unsafe Self.allocate(list, Self.room(list))
        }
        // SAFETY: a block of a list holds the address of the next one, and belongs to nobody else.
        unsafe first[list] = block.load(as: UnsafeMutableRawPointer?.self)
        counts[list] &-= 1
        return unsafe block
    }

    private static func allocate(_ list: Int, _ count: Int) -> UnsafeMutableRawPointer? {
        guard count >= 0, count < Int.max - headerBytes, let start = unsafe malloc(count + headerBytes) else {
            return nil
        }
        // SAFETY: malloc gave that many bytes, aligned to sixteen.
        unsafe start.storeBytes(of: list, as: Int.self)
        unsafe start.storeBytes(of: count, toByteOffset: 8, as: Int.self)
        return unsafe start + headerBytes
    }

    /// Takes a block back.
    mutating func give(_ block: UnsafeMutableRawPointer?) {
        guard let block = unsafe block else { return }
        // SAFETY: made by `allocate`, whose header stands before it, and given up by nghttp2.
        let list = unsafe (block - Self.headerBytes).load(as: Int.self)
        guard list > 0, counts[list] < limit(list) else { return unsafe free(block - Self.headerBytes) }
        unsafe block.storeBytes(of: first[list], as: UnsafeMutableRawPointer?.self)
        unsafe first[list] = block
        counts[list] &+= 1
    }

    mutating func takeZeros(_ count: Int, _ size: Int) -> UnsafeMutableRawPointer? {
        let (bytes, isTooMuch) = count.multipliedReportingOverflow(by: size)
        guard !isTooMuch, let block = unsafe take(bytes) else { return nil }
        // SAFETY: the block holds at least that many bytes.
        unsafe memset(block, 0, bytes)
        return unsafe block
    }

    /// The same bytes in a block that holds `count`; where memory is short nil, and the block stays.
    mutating func resize(_ block: UnsafeMutableRawPointer?, _ count: Int) -> UnsafeMutableRawPointer? {
        guard let block = unsafe block else { return unsafe take(count) }
        // SAFETY: made by `allocate`, whose header stands before it.
        let held = unsafe (block - Self.headerBytes).load(fromByteOffset: 8, as: Int.self)
        guard count > held else { return unsafe block }
        guard let larger = unsafe take(count) else { return nil }
        unsafe memcpy(larger, block, held)
        unsafe give(block)
        return unsafe larger
    }

    /// Frees what is kept.
    mutating func release() {
        for list in 0..<Self.listCount {
            while let block = unsafe first[list] {
                // SAFETY: as in `take`; nobody has the block.
                unsafe first[list] = block.load(as: UnsafeMutableRawPointer?.self)
                unsafe free(block - Self.headerBytes)
            }
        }
    }
}
