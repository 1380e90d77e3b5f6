/// Plain values in a list that grows like an array, but is never shared: using it costs neither a reference count nor a check
/// for uniqueness. Memory that it has taken it keeps, for the values of the next turn.
///
/// Everything is inlinable, as in `FixedArray`, and for the same reason.
@safe public struct GrowingArray<Element: BitwiseCopyable>: ~Copyable {
    @usableFromInline var storage: UnsafeMutablePointer<Element>?
    @usableFromInline var used = 0
    /// How many elements there are.
    @inlinable @inline(__always)
    public var count: Int { used }
    /// How many elements fit before memory has to be taken.
    @usableFromInline var capacity = 0

    /// An empty list, without memory.
    @inlinable
    public init() {}

    @inlinable
    deinit {
        // SAFETY: owned by this value alone; BitwiseCopyable elements need no deinitialisation.
        unsafe storage?.deallocate()
    }

    /// True where there is no element.
    @inlinable @inline(__always)
    public var isEmpty: Bool { count == 0 }

    /// Adds an element.
    @inlinable @inline(__always)
    public mutating func append(_ element: Element) {
        if count == capacity { reserve(max(8, count)) }
        guard let storage = unsafe storage else { return }
        // SAFETY: there is room behind the elements in use.
        unsafe (storage + count).initialize(to: element)
        used &+= 1
    }

    /// Takes the last element away, and gives it.
    @inlinable @inline(__always)
    public mutating func popLast() -> Element? {
        guard count > 0 else { return nil }
        let element = self[count &- 1]
        used &-= 1
        return element
    }

    /// The last element.
    @inlinable @inline(__always)
    public var last: Element? { count > 0 ? self[count &- 1] : nil }

    /// Forgets every element, and keeps the memory.
    @inlinable @inline(__always)
    public mutating func removeAll() { used = 0 }

    /// Makes room for that many more elements.
    @inlinable @inline(never)
    public mutating func reserve(_ extra: Int) {
        guard count + extra > capacity else { return }
        let larger = count + extra
        let new = UnsafeMutablePointer<Element>.allocate(capacity: larger)
        if let old = unsafe storage {
            // SAFETY: `new` is larger, and the two do not overlap.
            unsafe new.initialize(from: old, count: count)
            unsafe old.deallocate()
        }
        unsafe storage = new
        capacity = larger
    }

    /// The element at `index`, which must be below `count`.
    @inlinable
    public subscript(index: Int) -> Element {
        @inline(__always) unsafeAddress {
            // SAFETY: the index is checked, so there is memory; the access borrows the list.
            return unsafe UnsafePointer(address(of: index))
        }
        @inline(__always) unsafeMutableAddress {
            // SAFETY: as above, and the access is exclusive.
            return unsafe address(of: index)
        }
    }

    @inlinable @inline(__always)
    func address(of index: Int) -> UnsafeMutablePointer<Element> {
        guard index >= 0, index < count, let storage = unsafe storage else {
            preconditionFailure("there is no such element")
        }
        // SAFETY: the index was checked.
        return unsafe storage + index
    }
}
