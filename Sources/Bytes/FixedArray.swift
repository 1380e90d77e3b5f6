/// Room for a fixed number of plain values, allocated once and used again for every message.
///
/// The hot path fills and empties it without touching the allocator; what does not fit is refused, never grown.
@safe public struct FixedArray<Element: BitwiseCopyable>: ~Copyable {
    @usableFromInline let storage: UnsafeMutablePointer<Element>
    /// How many elements fit.
    public let capacity: Int
    /// How many elements there are.
    public private(set) var count: Int

    /// An empty array with room for `capacity` elements; `capacity` must be positive.
    public init(capacity: Int) {
        precondition(capacity > 0)
        // SAFETY: owned by this value alone, freed once in `deinit`.
        unsafe storage = UnsafeMutablePointer<Element>.allocate(capacity: capacity)
        self.capacity = capacity
        count = 0
    }

    deinit {
        // SAFETY: allocated in `init`; BitwiseCopyable elements need no deinitialisation.
        unsafe storage.deallocate()
    }

    /// Adds an element; false, and nothing changed, where the array is full.
    @inline(__always)
    public mutating func append(_ element: Element) -> Bool {
        guard count < capacity else { return false }
        // SAFETY: count < capacity was checked.
        unsafe (storage + count).initialize(to: element)
        count &+= 1
        return true
    }

    /// Forgets every element.
    @inline(__always)
    public mutating func removeAll() {
        count = 0
    }

    /// The element at `index`, which must be below `count`.
    public subscript(index: Int) -> Element {
        @inline(__always) get {
            precondition(index >= 0 && index < count)
            // SAFETY: index was checked.
            return unsafe storage[index]
        }
        @inline(__always) set {
            precondition(index >= 0 && index < count)
            // SAFETY: index was checked.
            unsafe storage[index] = newValue
        }
    }
}
