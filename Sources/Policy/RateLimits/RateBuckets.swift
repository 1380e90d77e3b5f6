internal import Bytes
internal import Crypto
internal import Synchronization

/// The token buckets of all rate limits, shared by all workers, so that a limit holds for the process and not for
/// each worker.
///
/// Memory is fixed: 65,536 buckets, 1 MiB. A bucket that is full again is as good as none, so its place is free by
/// itself; where a place is needed and none is free, the bucket that is nearest to full makes way. Whoever comes
/// from very many addresses thus gains what a new address gains anyway: one burst.
public final class RateBuckets: Sendable {
    /// Locks that workers seldom meet at.
    private static let shardCount = 64
    private let shards: [Shard]
    private let hash: KeyedHash

    /// Full buckets under that seed, which must be random: nobody chooses which buckets share a place.
    public init(seed: (UInt64, UInt64)) {
        hash = KeyedHash(seed: seed)
        shards = (0..<Self.shardCount).map { _ in Shard() }
    }

    /// Full buckets under a random seed; nil where the system has no randomness.
    public convenience init?() {
        guard let first = Random.uint64(), let second = Random.uint64() else { return nil }
        self.init(seed: (first, second))
    }

    /// Takes one token out of a bucket, where it holds one.
    func take(_ key: UInt64, _ rate: CompiledRate, now: Int64) -> RateVerdict {
        shard(key).take(key, rate, now: now)
    }

    /// What `take` would say; nothing is taken.
    func look(_ key: UInt64, _ rate: CompiledRate, now: Int64) -> RateVerdict {
        shard(key).look(key, rate, now: now)
    }

    /// Takes over what is known of a bucket from elsewhere: when it will be full.
    func set(_ key: UInt64, fullAt: Int64) { shard(key).set(key, fullAt: fullAt) }

    private func shard(_ key: UInt64) -> Shard { shards[Int(key >> 58)] }

    /// The bucket of a subject under a limit; never 0, which stands for a place that was never used. `limit` and
    /// `authority`, who vouches for the subject, are identifiers.
    func key(limit: UInt64, authority: UInt64, subject: Span<UInt8>) -> UInt64 {
        max(hash(limit, authority, hash(subject)), 1)
    }

    /// The bucket of an address under a limit: an IPv4 address, or an IPv6 network of 64 bits, which is what one
    /// customer has.
    func key(limit: UInt64, address: IPAddress) -> UInt64 {
        max(hash(limit, address.high, address.isV4 ? address.low : 0), 1)
    }

    /// What a limit, an issuer or a session is called in keys: the same before and after a reload, so that buckets stay what
    /// they were.
    func identifier(of name: String) -> UInt64 {
        let bytes = Array(name.utf8)
        return hash(bytes.span)
    }
}

/// What a bucket says.
enum RateVerdict: Equatable {
    /// There is a token.
    case passes
    /// There will be one, in so many microseconds.
    case waits(microseconds: Int64)
}

/// A rate in microseconds, for the generic cell rate algorithm: a bucket is the one moment when it will be full.
struct CompiledRate: BitwiseCopyable {
    /// The time in which one token comes.
    let interval: Int64
    /// The time in which an empty bucket fills.
    let fillTime: Int64

    init(_ spec: RateSpec) {
        interval = max(spec.perSeconds * 1_000_000 / Int64(spec.requests), 1)
        fillTime = interval * Int64(spec.burst)
    }

    /// The verdict for a bucket that will be full then.
    func verdict(fullAt: Int64, now: Int64) -> RateVerdict {
        let missing = max(fullAt, now) + interval - now - fillTime
        return missing <= 0 ? .passes : .waits(microseconds: missing)
    }
}

/// One lock's share of the buckets, in sets of a few places each.
private final class Shard: Sendable {
    private struct Bucket: BitwiseCopyable {
        var key: UInt64
        /// When it will be full, by the clock that never steps.
        var fullAt: Int64
    }

    private static let setCount = 128
    private static let placesPerSet = 8
    private let buckets: Mutex<FixedArray<Bucket>>

    init() {
        var empty = FixedArray<Bucket>(capacity: Self.setCount * Self.placesPerSet)
        while empty.append(Bucket(key: 0, fullAt: 0)) {}
        buckets = Mutex(empty)
    }

    func take(_ key: UInt64, _ rate: CompiledRate, now: Int64) -> RateVerdict {
        buckets.withLock { buckets in
            let place = Self.place(of: key, in: buckets)
            let fullAt = buckets[place].key == key ? buckets[place].fullAt : now
            let verdict = rate.verdict(fullAt: fullAt, now: now)
            guard verdict == .passes else { return verdict }
            buckets[place] = Bucket(key: key, fullAt: max(fullAt, now) + rate.interval)
            return verdict
        }
    }

    func look(_ key: UInt64, _ rate: CompiledRate, now: Int64) -> RateVerdict {
        buckets.withLock { buckets in
            let place = Self.place(of: key, in: buckets)
            return rate.verdict(fullAt: buckets[place].key == key ? buckets[place].fullAt : now, now: now)
        }
    }

    func set(_ key: UInt64, fullAt: Int64) {
        buckets.withLock { buckets in
            buckets[Self.place(of: key, in: buckets)] = Bucket(key: key, fullAt: fullAt)
        }
    }

    /// The bucket of that key, or the place of its set that will be full first.
    private static func place(of key: UInt64, in buckets: borrowing FixedArray<Bucket>) -> Int {
        let first = Int(key & UInt64(setCount - 1)) * placesPerSet
        var best = first
        for place in first..<first + placesPerSet {
            if buckets[place].key == key { return place }
            if buckets[place].fullAt < buckets[best].fullAt { best = place }
        }
        return best
    }
}
