internal import Bytes
internal import JOSE

/// The tokens that were verified lately, one cache a worker, so that a token is verified once and not once a request.
///
/// The key is every byte of the token and the set of issuers that the route accepts: never a prefix, a `kid` or a
/// signature (J5, J6). Only good tokens are in here. An entry dies at the `exp` of its token, with the key that
/// verified it, on revocation, and with the snapshot that owns the cache. Room is bounded twice, in entries and in
/// bytes; what was not used lately makes way.
struct VerifiedTokenCache: ~Copyable {
    private let inPlace = InPlace()
    /// What entries may take on average, in bytes: a large token of 1 KiB and as much derived from it.
    private static var averageEntryByteCount: Int { 2048 }
    /// How many entries are looked at before one is evicted: a bound on the time, at the price of exactness.
    private static var evictionSampleCount: Int { 16 }
    /// A request may bring two that must be known at once, a session's cookies and a bearer: with room for one alone each would drive
    /// out the other, and its server be asked again until the request is refused.
    private static var leastCapacity: Int { 2 }
    private static var none: UInt32 { .max }

    private var entries: Slab<VerifiedTokenEntry>
    private var buckets: FixedArray<UInt32>
    private let bucketMask: UInt64
    private let hash: KeyedHash
    private let byteLimit: Int
    private var hand: UInt32 = 0
    /// What the entries hold, in bytes.
    private(set) var byteCount = 0
    /// How many tokens were put in, and how many of them made way for others, since somebody looked.
    var inserted = 0
    var evicted = 0

    /// A cache for `capacity` tokens, though never fewer than two, of at most `tokenBytes` each.
    init(capacity: Int, tokenBytes: Int, seed: (UInt64, UInt64)) {
        let capacity = max(capacity, Self.leastCapacity)
        entries = Slab(capacity: capacity)
        var bucketCount = 64
        while bucketCount < capacity, bucketCount < 1 << 20 { bucketCount *= 2 }
        buckets = FixedArray(capacity: bucketCount)
        while buckets.append(Self.none) {}
        bucketMask = UInt64(bucketCount - 1)
        hash = KeyedHash(seed: seed)
        byteLimit = max(capacity * Self.averageEntryByteCount, tokenBytes * 4)
    }

    /// How many tokens are remembered.
    var count: Int { entries.count }

    /// What tells the hash of a token that is bound to a key from that of any other: the fast way, which asks for no
    /// proof, never finds one.
    private static var boundMark: UInt64 { 1 << 63 }

    /// The entry of that token under that set of issuers, where there is one that is good at `now`, among those that
    /// are bound to a key or a certificate, or among the others.
    mutating func find(
        _ token: Span<UInt8>, _ issuers: IssuerSet, isBound: Bool = false, now: Int64
    ) -> Handle {
        let hashed = isBound ? hash(token) ^ Self.boundMark : hash(token)
        var index = buckets[Int(hashed & bucketMask)]
        while index != Self.none {
            if entries[index].hash == hashed, entries[index].matches(token, issuers) {
                guard entries[index].isGood(at: now) else {
                    remove(index)
                    return .none
                }
                entries[index].wasUsed = true
                return entries.handle(at: index)
            }
            index = entries[index].next
        }
        return .none
    }

    /// Remembers a token that was just verified, in place of older ones where there is no room.
    mutating func insert(_ entry: consuming VerifiedTokenEntry) -> Handle {
        entry.hash = entry.binding.isNone ? hash(entry.token) : hash(entry.token) ^ Self.boundMark
        let size = entry.byteCount
        inserted &+= 1
        while entries.isFull || (byteCount + size > byteLimit && entries.count > 0) { evict() }
        let bucket = Int(entry.hash & bucketMask)
        entry.next = buckets[bucket]
        byteCount += size
        let handle = entries.insert(entry)
        buckets[bucket] = handle.index
        return handle
    }

    /// True while the entry is there.
    func contains(_ handle: Handle) -> Bool { entries.contains(handle) }

    /// The entry of a live handle.
    subscript(handle: Handle) -> VerifiedTokenEntry {
        @inline(__always) _read {
            precondition(entries.contains(handle), "a permit is used in the turn that made it")
            yield entries[handle.index]
        }
        @inline(__always) _modify {
            precondition(entries.contains(handle), "a permit is used in the turn that made it")
            yield &entries[handle.index]
        }
    }

    /// The subject of a live entry.
    @_lifetime(borrow self)
    func subject(_ handle: Handle) -> Span<UInt8> { entries[handle.index].subject }

    /// The identity lines of a live entry.
    @_lifetime(borrow self)
    func lines(_ handle: Handle) -> Span<UInt8> { entries[handle.index].lines }

    /// The minted credentials of a live entry: a whole line, made fresh by `decide`.
    @_lifetime(borrow self)
    func minted(_ handle: Handle) -> Span<UInt8> { entries[handle.index].mintedLine }

    /// When what the token of a live entry permits must end, in seconds since 1970.
    func permitsUntil(_ handle: Handle) -> Int64 { self[handle].permitsUntil }

    /// `exp` of a live entry.
    func expires(_ handle: Handle) -> Int64 { self[handle].expires }

    /// Sees to it that a live entry has fresh credentials by that mint; false where the system failed.
    mutating func mint(
        _ handle: Handle, by authorizations: inout UpstreamAuthorizationTable, number: Int, now: Int64
    ) -> Bool {
        let before = entries[handle.index].byteCount
        let isMade = authorizations.refresh(&self[handle], mint: number, now: now)
        byteCount += entries[handle.index].byteCount - before
        return isMade
    }

    /// Forgets a token under that set of issuers, bound to a key or not.
    mutating func removeAll(_ token: Span<UInt8>, _ issuers: IssuerSet) {
        let hashed = hash(token) & ~Self.boundMark
        // The mark is in no bucket's number.
        var index = buckets[Int(hashed & bucketMask)]
        while index != Self.none {
            let next = entries[index].next
            if entries[index].hash & ~Self.boundMark == hashed, entries[index].matches(token, issuers) {
                remove(index)
            }
            index = next
        }
    }

    /// Forgets the tokens of an issuer whose keys the verifier no longer has (J7, J22).
    mutating func removeAll(ofIssuer issuer: Int, notIn verifier: borrowing TokenVerifier) {
        for index in 0..<entries.slots where entries.isLive(index) && entries[index].keyIssuer == issuer {
            guard let key = entries[index].key, verifier.contains(key, ofIssuer: issuer) else {
                remove(index)
                continue
            }
        }
    }

    /// Forgets the tokens that are revoked.
    mutating func removeAll(revokedBy list: RevocationList, _ issuerNames: [[UInt8]?]) {
        guard !list.isEmpty else { return }
        for index in 0..<entries.slots where entries.isLive(index) {
            if entries[index].isRevoked(by: list, issuer: issuerNames[entries[index].issuer]) {
                remove(index)
            }
        }
    }

    /// Forgets every token.
    mutating func removeAll() {
        for index in 0..<entries.slots where entries.isLive(index) { remove(index) }
    }

    /// Takes out one entry that was not used since the hand last came by, or the one under the hand.
    private mutating func evict() {
        evicted &+= 1
        var looked = 0
        while true {
            hand = hand + 1 < entries.slots ? hand + 1 : 0
            guard entries.isLive(hand) else { continue }
            looked += 1
            guard entries[hand].wasUsed, looked < Self.evictionSampleCount else { return remove(hand) }
            entries[hand].wasUsed = false
        }
    }

    private mutating func remove(_ index: UInt32) {
        let bucket = Int(entries[index].hash & bucketMask)
        let next = entries[index].next
        if buckets[bucket] == index {
            buckets[bucket] = next
        } else {
            var before = buckets[bucket]
            while entries[before].next != index { before = entries[before].next }
            entries[before].next = next
        }
        byteCount -= entries[index].byteCount
        _ = entries.remove(entries.handle(at: index))
    }
}
