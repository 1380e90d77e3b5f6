import JOSE
import Redis

/// What a proxy knows of the list of revoked tokens in the shared store: what it has read, and what it has to add.
///
/// Nothing is ever taken back because the store has lost it, after a restart without its data or a failover to a server
/// that lagged behind: what this proxy knows is added again. Only what the store itself drops by age goes here, too.
struct RevocationBook {
    /// More entries than are of use, and a bound for what a store can make a proxy hold: beyond it the oldest are let go.
    static let largestCount = 200_000
    /// Entries of one call.
    static let addCount = 500
    static let readCount = 1000
    /// So large a part of the list, one in so many, is kept on when the store has dropped it: it lets go of one entry after
    /// the other, and what is old enough for that revokes no token any more.
    static let keptShare = 8

    /// Everything that the store has said.
    private(set) var list = RevocationList()
    /// What is to be added to the store, each entry once.
    private(set) var pending: [[UInt8]] = []
    private var isPending: Set<[UInt8]> = []
    /// What the store has taken and not said itself yet: until then it may lose it, and nobody would know.
    private var taken: Set<[UInt8]> = []
    /// Entries of the store that are none.
    private(set) var malformedCount = 0
    /// Entries of the store that are not known because there are too many.
    private(set) var leftOutCount = 0
    private let capacity: Int
    /// Each entry that a store has said, and its score: when it was added, in microseconds since 1970. `unsaid` where this
    /// store has not said it yet.
    private var scores: [[UInt8]: Int64] = [:]
    /// No age at all: what a store has not said, it has not dropped by age either.
    private static let unsaid = Int64.max
    /// Longer ones are passed over by the script that reads.
    private static let largestSaidBytes = 65_536
    /// The name of the store's list; nil until it was read once.
    private var name: [UInt8]?
    /// The score that was read last.
    private var read: Int64 = 0
    /// The lowest score that the store had.
    private var lowest: Int64 = 0

    /// A book for so many entries.
    init(capacity: Int = RevocationBook.largestCount) { self.capacity = capacity }

    /// Adds what this proxy was told.
    mutating func add(_ entries: [[UInt8]]) {
        for entry in entries where scores[entry].map({ $0 < lowest }) ?? true { queue(entry) }
    }

    private mutating func queue(_ entry: [UInt8]) {
        if isPending.insert(entry).inserted { pending.append(entry) }
    }

    /// What goes with the next call that adds.
    var nextAdded: [[UInt8]] {
        var bytes = 0
        return Array(
            pending.prefix(Self.addCount).prefix {
                bytes += $0.count
                return bytes <= 500_000 || bytes == $0.count
            })
    }

    /// The store has taken these. Meanwhile others may have come in front of them.
    mutating func noteAdded(_ entries: [[UInt8]]) {
        if pending.starts(with: entries) {
            pending.removeFirst(entries.count)
        } else {
            let added = Set(entries)
            pending.removeAll { added.contains($0) }
        }
        isPending.subtract(entries)
        for entry in entries where isToBeSaid(entry) { taken.insert(entry) }
    }

    /// Whether the store will say what it has just taken: not where it had it before, as somebody else was faster. What will
    /// never be said would be held for ever.
    private func isToBeSaid(_ entry: [UInt8]) -> Bool {
        guard entry.count <= Self.largestSaidBytes else { return false }
        return scores[entry].map { $0 < lowest || $0 == Self.unsaid } ?? true
    }

    /// The connection is gone, and the next one may be to a server that has not seen all that this one took.
    mutating func noteLineEnd() {
        guard !taken.isEmpty else { return }
        pending = Array(taken) + pending.filter { !taken.contains($0) }
        isPending.formUnion(taken)
        taken = []
    }

    /// Another store: everything that is known is news to it; true where `list` has changed.
    mutating func forgetStore() -> Bool {
        name = nil
        return addAll()
    }

    /// Begins anew: everything that is known is added, and everything that there is read; true where `list` has changed.
    /// What the store had dropped by its age is not known any more.
    private mutating func addAll() -> Bool {
        noteLineEnd()
        let isChanged = drop(before: lowest, butForFewerThan: 1)
        read = 0
        lowest = 0
        pending = Array(scores.keys) + pending.filter { scores[$0] == nil }
        isPending = Set(pending)
        scores = scores.mapValues { _ in Self.unsaid }
        return isChanged
    }

    /// The arguments of a call that reads; `proposed` names the list where it has no name.
    func readArguments(proposed: [UInt8]) -> [[UInt8]] {
        [Array("\(read)".utf8), proposed, Array("\(Self.readCount)".utf8)]
    }

    /// What a reply came to.
    struct Outcome: Equatable {
        /// `list` has changed.
        var isChanged = false
        /// There is nothing more to read.
        var isWhole = false
    }

    /// Takes in the reply to a call that reads. What is not older than `young`, a score, cannot have been dropped by age.
    mutating func take(_ reply: RedisReply, young: Int64 = .max) throws(RedisFault) -> Outcome {
        guard let parts = reply.parts, parts.count == 5, let named = parts[0].bytes, !named.isEmpty,
            let low = Self.score(parts[1]), let top = Self.score(parts[2]), let last = Self.score(parts[3]),
            let entries = parts[4].parts, entries.count.isMultiple(of: 2)
        else { throw .unexpected }
        if let name, name != named || top < read {
            self.name = named
            return Outcome(isChanged: addAll())
        }
        // A page that leads nowhere would be asked for again at once, for ever.
        guard last >= top || last > read else { throw .unexpected }
        name = named
        var outcome = Outcome(isWhole: last >= top)
        if low > lowest {
            giveBack(before: low, young: young)
            outcome.isChanged = drop(before: low, butForFewerThan: scores.count / Self.keptShare)
        }
        lowest = low
        for place in stride(from: 0, to: entries.count, by: 2) {
            guard let entry = entries[place].bytes, let score = Self.score(entries[place + 1]) else {
                throw .unexpected
            }
            if take(entry, score) { outcome.isChanged = true }
        }
        read = max(read, last)
        return outcome
    }

    private mutating func take(_ entry: [UInt8], _ score: Int64) -> Bool {
        taken.remove(entry)
        guard scores[entry] == nil else {
            scores[entry] = score
            return false
        }
        guard let parsed = RevocationList(entry) else {
            malformedCount += 1
            return false
        }
        if scores.count >= capacity { makeRoom() }
        guard scores.count < capacity else {
            leftOutCount += 1
            return false
        }
        scores[entry] = score
        list.formUnion(parsed)
        return true
    }

    /// Adds again what the store has no more, though it was too young to go: the list was lost, and somebody has begun another
    /// one before this proxy looked.
    private mutating func giveBack(before low: Int64, young: Int64) {
        for (entry, score) in scores where score < low && score >= young {
            scores[entry] = Self.unsaid
            queue(entry)
        }
    }

    /// Lets the oldest go, an eighth of all, since all the others are read anew each time: they are the likeliest to be about
    /// tokens that have ended. Without them nobody would know the youngest.
    private mutating func makeRoom() {
        let oldest = scores.values.sorted()[scores.count / Self.keptShare]
        // Of what this store has not said nobody knows the age.
        guard oldest != Self.unsaid else { return }
        let before = scores.count
        _ = drop(before: oldest, butForFewerThan: 1)
        leftOutCount += before - scores.count
    }

    /// Drops what the store has dropped by its age, but for so few that it is not worth reading all the others anew.
    private mutating func drop(before low: Int64, butForFewerThan least: Int) -> Bool {
        guard scores.values.count(where: { $0 < low }) >= max(least, 1) else { return false }
        let kept = scores.filter { $0.value >= low }
        scores = kept
        list = RevocationList()
        for entry in kept.keys {
            if let parsed = RevocationList(entry) { list.formUnion(parsed) }
        }
        return true
    }

    /// Scores are whole microseconds, which a store may write in another way.
    private static func score(_ reply: RedisReply) -> Int64? {
        guard let bytes = reply.bytes, bytes.count <= 32 else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        if let whole = Int64(text) { return whole >= 0 ? whole : nil }
        return Double(text).flatMap { Int64(exactly: $0.rounded(.down)) }.flatMap { $0 >= 0 ? $0 : nil }
    }
}
