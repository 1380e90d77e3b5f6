internal import Bytes
internal import Crypto
internal import HTTP
internal import Synchronization

// Rate limits that several proxies share: the budget lies in a store, of which a worker takes a request at a time, or a
// few where a client is busy. Here is what is known of it; asking and waiting are for others.

/// How limits are shared, as the policy knows it.
public struct SharedLimitSpec: Sendable, Equatable {
    /// What the names of buckets begin with in the store.
    public var prefix: String
    /// How long a request waits for the store at most, in milliseconds.
    public var timeoutMilliseconds: Int64
    /// What is refused while the store does not answer: true = requests that a shared limit counts, and, where
    /// `checksRevocations`, tokens; false = local limits and the last known list apply.
    public var refusesWithoutStore: Bool
    /// The list of revoked tokens is kept in the store, too.
    public var checksRevocations: Bool

    /// Limits that are shared so.
    public init(
        prefix: String, timeoutMilliseconds: Int64, refusesWithoutStore: Bool, checksRevocations: Bool
    ) {
        self.prefix = prefix
        self.timeoutMilliseconds = timeoutMilliseconds
        self.refusesWithoutStore = refusesWithoutStore
        self.checksRevocations = checksRevocations
    }
}

/// How the store is, for all workers to see: written by whoever talks to it.
public final class SharedStanding: Sendable {
    private let answers = Atomic<Bool>(false)
    private let revocationsRead = Atomic<Int64>(.min)
    private let localCount = Atomic<UInt64>(0)
    private let refusedCount = Atomic<UInt64>(0)
    private let sharedCount = Atomic<UInt64>(0)

    /// A store that has not answered yet.
    public init() {}

    /// True while the store answers in time: then it is worth waiting for.
    public var isAnswering: Bool {
        get { answers.load(ordering: .relaxed) }
        set { answers.store(newValue, ordering: .relaxed) }
    }

    /// When the list of revoked tokens was last as the store has it, by the clock that never steps.
    public var revocationsReadMicroseconds: Int64 {
        get { revocationsRead.load(ordering: .relaxed) }
        set { revocationsRead.store(newValue, ordering: .relaxed) }
    }

    /// Requests counted by the store, by this process alone because the store did not answer, and refused for that.
    public var tally: (shared: UInt64, local: UInt64, refused: UInt64) {
        (
            sharedCount.load(ordering: .relaxed), localCount.load(ordering: .relaxed),
            refusedCount.load(ordering: .relaxed)
        )
    }

    func countShared() { sharedCount.wrappingAdd(1, ordering: .relaxed) }
    func countLocal() { localCount.wrappingAdd(1, ordering: .relaxed) }
    func countRefused() { refusedCount.wrappingAdd(1, ordering: .relaxed) }
}

/// What the store is asked for one request, or several of the same bucket.
public struct RateQuestion: Sendable {
    /// The bucket in this process.
    public let bucket: UInt64
    /// Its name in the store.
    public let name: [UInt8]
    /// The microseconds in which one request comes back.
    public let interval: Int64
    /// The microseconds in which an empty bucket fills.
    public let fillTime: Int64
    /// How long to wait at most, in milliseconds.
    public let timeoutMilliseconds: Int64
    /// How many requests wait, at least 1.
    public var wanted = 1
    /// How many more may be taken ahead.
    public var ahead = 0
}

/// What the store said.
public struct RateAnswer: Sendable, Equatable {
    /// The verdict.
    public enum Verdict: Sendable, Equatable {
        /// So many may pass, and so long it takes until the bucket is full.
        case given(Int, fullInMicroseconds: Int64)
        /// It said nothing, or nothing in time.
        case unavailable
    }

    /// The bucket of the question.
    public let bucket: UInt64
    /// How many were wanted.
    public let wanted: Int
    /// The verdict.
    public let verdict: Verdict

    /// The answer to that question.
    public init(_ question: RateQuestion, _ verdict: Verdict) {
        bucket = question.bucket
        wanted = question.wanted
        self.verdict = verdict
    }
}

/// What is known in advance of a request that has waited for the store.
public enum SharedVerdict: Sendable, BitwiseCopyable {
    /// Nothing: it has not waited, or the bucket was empty, which shows in this process's copy of it.
    case none
    /// It may pass the limit with this bucket.
    case given(bucket: UInt64)
    /// The store said nothing.
    case unavailable
}

/// What a limit says to a request.
enum RateOutcome {
    case passes
    case exceeded(RateWait)
    /// The store is to be asked: `PolicySnapshot.takeRateQuestion` has the question.
    case asks
    /// The store does not answer, and then nothing may pass.
    case unavailable
}

/// The shared part of a snapshot's rate limits, and what one worker has in hand of the store's buckets.
struct SharedLimits: ~Copyable {
    /// What is taken ahead is good for so long, in microseconds: then the budget is somebody else's.
    private static var leaseMicroseconds: Int64 { 1_000_000 }
    /// Buckets with something in hand; a busier worker asks more often.
    private static var leaseCount: Int { 4096 }
    /// The most requests that are taken ahead at once.
    private static var largestLead: Int { 1024 }

    private struct Lease {
        /// Requests in hand.
        var count: Int
        /// How many were taken at once.
        var taken: Int
        var until: Int64
    }

    /// True where limits are shared at all.
    let isOn: Bool
    let spec: SharedLimitSpec
    let standing: SharedStanding
    /// The names of issuers, then of sessions: what a user's bucket is named by besides the user.
    private let authorities: [[UInt8]]
    private var leases: [UInt64: Lease] = [:]
    private var digest = SHA256()
    /// What the next decision knows; see `PolicySnapshot.setSharedVerdict`.
    var verdict = SharedVerdict.none
    private var question: RateQuestion?

    init(_ spec: SharedLimitSpec?, _ standing: SharedStanding, authorities: [String]) {
        isOn = spec != nil
        self.spec =
            spec
            ?? SharedLimitSpec(
                prefix: "", timeoutMilliseconds: 0, refusesWithoutStore: false, checksRevocations: false)
        self.standing = standing
        self.authorities = authorities.map { Array($0.utf8) }
    }

    /// True where tokens are not to be believed, because nobody knows which are revoked.
    func distrustsTokens(now: Int64) -> Bool {
        guard isOn, spec.refusesWithoutStore, spec.checksRevocations else { return false }
        let read = standing.revocationsReadMicroseconds
        return read == .min || now - read > Self.oldestRevocations
    }

    /// A revocation counts everywhere within a second: a list that is older is not to be relied on. In microseconds.
    private static var oldestRevocations: Int64 { 1_000_000 }

    /// Takes the verdict that the request has waited for, once.
    mutating func takeVerdict(_ bucket: UInt64) -> SharedVerdict {
        defer { verdict = .none }
        if case .given(let named) = verdict, named != bucket { return .none }
        return verdict
    }

    mutating func takeQuestion() -> RateQuestion? {
        defer { question = nil }
        return question
    }

    /// Takes one of what is in hand; false where nothing is.
    mutating func takeLease(_ bucket: UInt64, now: Int64) -> Bool {
        guard let lease = leases[bucket], lease.count > 0, now < lease.until else { return false }
        leases[bucket]?.count -= 1
        return true
    }

    /// Remembers how many were taken at once, and what is left of them.
    mutating func note(_ bucket: UInt64, taken: Int, left: Int, now: Int64) {
        if leases.count >= Self.leaseCount, leases[bucket] == nil {
            leases = leases.filter { now < $0.value.until }
            if leases.count >= Self.leaseCount { leases.removeAll(keepingCapacity: true) }
        }
        leases[bucket] = Lease(count: left, taken: taken, until: now + Self.leaseMicroseconds)
    }

    /// Who uses up a lease before it ends gets twice as much ahead.
    func lead(_ bucket: UInt64, now: Int64) -> Int {
        guard let lease = leases[bucket], now < lease.until else { return 0 }
        return min(2 * lease.taken, Self.largestLead)
    }

    /// Leaves a question for `takeQuestion`. `who` is what the bucket is named by.
    mutating func ask(
        _ bucket: UInt64, _ limit: CompiledLimit, named name: [UInt8], _ who: [UInt8], now: Int64
    ) {
        let words = digest.hash(who.span).words
        var text = Array(spec.prefix.utf8) + Array("rate:".utf8) + name + [UInt8(ascii: ":")]
        for word in [words.0, words.1] { Self.append(hexadecimal: word.bigEndian, to: &text) }
        question = RateQuestion(
            bucket: bucket, name: text, interval: limit.rate.interval, fillTime: limit.rate.fillTime,
            timeoutMilliseconds: spec.timeoutMilliseconds, ahead: lead(bucket, now: now))
    }

    /// What names a user's bucket: the table that vouches for the user, and the subject.
    func who(_ issuer: Int, _ subject: Span<UInt8>) -> [UInt8] {
        var bytes = Array("user".utf8) + [0]
        if authorities.indices.contains(issuer) { bytes += authorities[issuer] }
        bytes.append(0)
        for index in subject.indices { bytes.append(subject[index]) }
        return bytes
    }

    /// What names an address's bucket: an IPv4 address, or an IPv6 network of 64 bits.
    func who(_ address: IPAddress) -> [UInt8] {
        var bytes = Array("address".utf8) + [0]
        for word in [address.high, address.isV4 ? address.low : 0] {
            for shift in stride(from: 56, through: 0, by: -8) {
                bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
            }
        }
        return bytes
    }

    private static func append(hexadecimal word: UInt64, to text: inout [UInt8]) {
        for shift in stride(from: 60, through: 0, by: -4) {
            let digit = UInt8(truncatingIfNeeded: word >> UInt64(shift) & 15)
            text.append(digit < 10 ? 48 + digit : 87 + digit)
        }
    }
}

extension PolicySnapshot {
    /// The question that a decision `awaitVerdict` has for the store; once. Where there is none, the question is one of
    /// `takeQuestion`.
    public mutating func takeRateQuestion() -> RateQuestion? {
        guard shared.isOn else { return nil }
        return shared.takeQuestion()
    }

    /// What the next decision knows in advance, because its request has waited for the store. Whoever sets it sets it
    /// back to `none` behind the decision.
    public mutating func setSharedVerdict(_ verdict: SharedVerdict) { shared.verdict = verdict }

    /// Takes in what the store said of a bucket: how full it is, and what is left over when `used` requests have passed.
    public mutating func note(_ answer: RateAnswer, used: Int, microseconds now: Int64) {
        guard case .given(let count, let fullIn) = answer.verdict else { return }
        rates.buckets?.set(answer.bucket, fullAt: now + fullIn)
        shared.note(answer.bucket, taken: count, left: max(count - used, 0), now: now)
    }
}
