internal import Bytes

/// The requests that wait for a connection, in the order in which they came. A request that leaves from the middle takes
/// no longer than one that is served: thousands that lose patience together would hold up their worker otherwise.
///
/// Takes no memory once it has grown to its working size.
struct RequestQueue {
    /// Those that wait, and between them some that have left.
    private var items: [Handle] = []
    private var head = 0
    private var members: Set<Handle> = []

    /// So few that have left are never worth a walk over the others.
    private static let fewLeft = 64

    var count: Int { members.count }
    var isEmpty: Bool { members.isEmpty }

    func contains(_ item: Handle) -> Bool { members.contains(item) }

    /// Puts a request at the end, which is not in the queue.
    mutating func append(_ item: Handle) {
        items.append(item)
        members.insert(item)
    }

    /// Puts a request in front of all others, which has just left.
    mutating func prepend(_ item: Handle) {
        if head > 0 {
            head -= 1
            items[head] = item
        } else {
            items.insert(item, at: 0)
        }
        members.insert(item)
    }

    /// True where it was there.
    mutating func remove(_ item: Handle) -> Bool {
        guard members.remove(item) != nil else { return false }
        if items.count - head > 2 * members.count + Self.fewLeft { forgetThoseWhoLeft() }
        return true
    }

    mutating func popFirst() -> Handle? {
        while head < items.count {
            let item = items[head]
            head += 1
            // Moving the rest down only when half is spent keeps each step constant on average.
            if head * 2 >= items.count {
                items.removeFirst(head)
                head = 0
            }
            if members.remove(item) != nil { return item }
        }
        return nil
    }

    /// More have left than wait: on average a step for each.
    private mutating func forgetThoseWhoLeft() {
        items.removeFirst(head)
        head = 0
        let waiting = members
        items.removeAll { !waiting.contains($0) }
    }
}
