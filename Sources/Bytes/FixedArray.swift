/// Room for a fixed number of plain values, allocated once and used again for every message.
///
/// The hot path fills and empties it without touching the allocator; what does not fit is refused, never grown.
/// Everything is inlinable: a generic that is not specialised copies each element through its type's witness table.
@safe public struct FixedArray<Element: BitwiseCopyable>: ~Copyable {
    @usableFromInline let storage: UnsafeMutablePointer<Element>
    /// How many elements fit.
    public let capacity: Int
    @usableFromInline var used: Int
    /// How many elements there are.
    @inlinable @inline(__always)
    public var count: Int { used }

    /// An empty array with room for `capacity` elements; `capacity` must be positive.
    @inlinable
    public init(capacity: Int) {
        precondition(capacity > 0)
        // SAFETY: owned by this value alone, freed once in `deinit`.
        unsafe storage = UnsafeMutablePointer<Element>.allocate(capacity: capacity)
        self.capacity = capacity
        used = 0
    }

    @inlinable
    deinit {
        // SAFETY: allocated in `init`; BitwiseCopyable elements need no deinitialisation.
        unsafe storage.deallocate()
    }

    /// Adds an element; false, and nothing changed, where the array is full.
    @inlinable @inline(__always)
    public mutating func append(_ element: Element) -> Bool {
        guard used < capacity else { return false }
        // SAFETY: used < capacity was checked.
        unsafe (storage + used).initialize(to: element)
        used &+= 1
        return true
    }

    /// Forgets every element.
    @inlinable @inline(__always)
    public mutating func removeAll() {
        used = 0
    }

    /// The element at `index`, which must be below `count`.
    @inlinable
    public subscript(index: Int) -> Element {
        @inline(__always) get {
            precondition(index >= 0 && index < used)
            // SAFETY: index was checked.
            return unsafe storage[index]
        }
        @inline(__always) set {
            precondition(index >= 0 && index < used)
            // SAFETY: index was checked.
            unsafe storage[index] = newValue
        }
    }
}
