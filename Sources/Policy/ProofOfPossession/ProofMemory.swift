internal import Crypto
internal import Synchronization

/// What all workers share about DPoP proofs: those that were used, so that none is accepted twice whichever worker
/// gets it, and the secret of the nonces, so that each takes those of the others.
public final class ProofMemory: Sendable {
    /// What nonces are made with: it dies with the process, and they with it.
    let nonceSecret: [UInt8]
    private let seen = Mutex(SeenProofs())

    /// A memory of nothing, with a random secret; nil where the system has no randomness.
    public init?() {
        var secret = [UInt8](repeating: 0, count: 32)
        var room = secret.mutableSpan
        guard Random.fill(&room) else { return nil }
        nonceSecret = secret
    }

    /// True for a proof that was used before, or may have been.
    func knows(_ proof: SHA256Digest, issuedAt: Int64) -> Bool {
        seen.withLock { $0.contains(proof, issuedAt: issuedAt) }
    }

    /// Notes that a proof is used; false where it was before, or may have been. Times are seconds since 1970.
    func note(_ proof: SHA256Digest, issuedAt: Int64, now: Int64) -> Bool {
        seen.withLock { $0.insert(proof, issuedAt: issuedAt, now: now) }
    }
}

/// The proofs that were used: a set with a bound, which forgets those that were made in the oldest seconds first, and
/// from then on takes nothing that was made then.
struct SeenProofs {
    /// How many proofs are remembered: 4,000 a second for a minute. They take about 14 MiB then.
    static let largestCount = 1 << 18
    /// No issuer accepts proofs for longer, in seconds.
    static let longestLifetimeSeconds: Int64 = 300

    /// Half of a proof's digest.
    private struct Mark: Hashable {
        let high: UInt64
        let low: UInt64

        init(_ proof: SHA256Digest) { (high, low) = (proof.words.0, proof.words.1) }
    }

    private let largestCount: Int
    private var marks: Set<Mark> = []
    /// The same by the second in which they were made.
    private var seconds: [Int64: [Mark]] = [:]
    /// The latest second that something was forgotten of: of it and those before nothing is remembered for certain. What
    /// was made later is known, whatever the clock has shown meanwhile: one that was far ahead and is put back keeps
    /// nobody out.
    private var forgotten = Int64.min
    /// Before this second nothing is kept: it was looked for already.
    private var kept = Int64.min

    init(largestCount: Int = SeenProofs.largestCount) {
        self.largestCount = largestCount
    }

    var count: Int { marks.count }

    /// True for a proof that was seen, or may have been.
    func contains(_ proof: SHA256Digest, issuedAt: Int64) -> Bool {
        issuedAt <= forgotten || marks.contains(Mark(proof))
    }

    /// True for a proof that is new for certain.
    mutating func insert(_ proof: SHA256Digest, issuedAt: Int64, now: Int64) -> Bool {
        forget(before: now - Self.longestLifetimeSeconds)
        let mark = Mark(proof)
        guard issuedAt > forgotten, marks.insert(mark).inserted else { return false }
        seconds[issuedAt, default: []].append(mark)
        while count > largestCount, let oldest = seconds.keys.min() { drop(oldest) }
        return true
    }

    /// Proofs that no issuer accepts any more need not be remembered.
    private mutating func forget(before second: Int64) {
        guard second != kept else { return }
        for old in seconds.keys.filter({ $0 < second }) { drop(old) }
        kept = second
    }

    private mutating func drop(_ second: Int64) {
        for mark in seconds.removeValue(forKey: second) ?? [] { marks.remove(mark) }
        forgotten = max(forgotten, second)
    }
}
