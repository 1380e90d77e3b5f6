public import Reactor
internal import Synchronization

/// Counts the workers that have answered since it was sent: proof that their loops turn.
public final class Heartbeat: Sendable {
    private let answers = Atomic<Int>(0)

    /// When it was sent.
    let sentAt: Instant

    /// A heartbeat that nobody has answered.
    public init(at now: Instant = Instant.now()) { sentAt = now }

    /// How many have answered.
    public var count: Int { answers.load(ordering: .relaxed) }

    /// The answer of one worker.
    func beat() {
        answers.wrappingAdd(1, ordering: .relaxed)
    }
}
