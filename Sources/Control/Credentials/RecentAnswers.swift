import Policy
import Reactor

/// What a server has said of credentials a moment ago, for workers that ask the same meanwhile. Bounded by size, too: a
/// credential is as long as its sender likes, and an answer as long as the server does.
struct RecentAnswers {
    /// How long an answer is repeated.
    static let repeatMilliseconds: Int64 = 1000
    static let largestCount = 4096
    /// Credentials and answers in all: room for that many of the usual ones.
    static let largestBytes = 8 << 20

    private var entries: [RemoteKey: (result: RemoteAnswer.Result, until: Instant)] = [:]
    /// How much they take.
    private(set) var byteCount = 0

    /// What was said of a credential, as long as it is repeated.
    func result(for key: RemoteKey, now: Instant) -> RemoteAnswer.Result? {
        guard let known = entries[key], now < known.until else { return nil }
        return known.result
    }

    /// Keeps an answer; the others make way where there is no room.
    mutating func note(_ answer: RemoteAnswer, now: Instant) {
        let size = Self.size(answer.key, answer.result)
        if !hasRoom(size) { forget(before: now) }
        if !hasRoom(size) { (entries, byteCount) = ([:], 0) }
        let until = now.advanced(byMilliseconds: Self.repeatMilliseconds)
        if let before = entries.updateValue((answer.result, until), forKey: answer.key) {
            byteCount -= Self.size(answer.key, before.result)
        }
        byteCount += size
    }

    private mutating func forget(before now: Instant) {
        entries = entries.filter { now < $0.value.until }
        byteCount = entries.reduce(0) { $0 + Self.size($1.key, $1.value.result) }
    }

    private func hasRoom(_ size: Int) -> Bool {
        entries.count < Self.largestCount && byteCount + size <= Self.largestBytes
    }

    private static func size(_ key: RemoteKey, _ result: RemoteAnswer.Result) -> Int {
        guard case .accepted(let body) = result else { return key.credential.count }
        return key.credential.count + body.count
    }
}
