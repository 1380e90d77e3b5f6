/// Where and when a request came from.
struct RequestOrigin: BitwiseCopyable {
    let peer: PeerFacts
    /// Of the clock that never steps.
    let microseconds: Int64
    let round: DecisionRound
}
