internal import Bytes
internal import Policy
internal import Telemetry

// What a worker adds to the metrics at the end of each turn.

extension Worker {
    /// What became of the tokens of this turn.
    mutating func countTokens() {
        let tally = policy.takeCacheTally()
        if tally.hits > 0 { counters.add(tally.hits, to: .tokenCacheHits) }
        if tally.misses > 0 { counters.add(tally.misses, to: .tokenCacheMisses) }
        if tally.verified > 0 { counters.add(tally.verified, to: .tokensVerified) }
        if tally.evicted > 0 { counters.add(tally.evicted, to: .tokensEvicted) }
    }

    /// What there is right now, for whoever asks before the next turn.
    func tellGauges() {
        counters.set(.requestsInFlight, to: exchanges.count)
        counters.set(.bufferBytes, to: pool.bytesInUse)
        counters.set(.cachedTokens, to: policy.cachedTokenCount)
        counters.set(.cachedTokenBytes, to: policy.cachedTokenBytes)
    }
}
