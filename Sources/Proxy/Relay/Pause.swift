internal import Reactor

/// A body that does not move on, for the sake of one side.
struct Pause: BitwiseCopyable {
    /// When it has lasted too long, or is looked at; never where there is none.
    var deadline = Instant.never
    /// How far that side had come when it began.
    var moved = Moved.source(0)
    /// What had arrived with that side when this was looked at last, once it was.
    var seen: Delivery?

    /// Goes on until that side has moved, and begins anew then.
    mutating func last(_ moved: Moved, until deadline: Instant) {
        guard self.deadline == .never || self.moved != moved else { return }
        self = Pause(deadline: deadline, moved: moved)
    }
}

/// How far a side that makes a pause has come, in bytes.
enum Moved: Equatable, BitwiseCopyable {
    /// So much of the body has arrived.
    case source(UInt64)
    /// So much was written to whoever is to take it.
    case sink(UInt64)
}

extension Exchange {
    /// Takes over when the pauses end.
    mutating func settlePauses() { stallDeadline = min(requestPause.deadline, responsePause.deadline) }

    /// The answer waits for the client to take of it.
    var awaitsReader: Bool {
        guard responsePause.deadline != .never, case .sink = responsePause.moved else { return false }
        return true
    }

    /// Nothing is waited for.
    mutating func endPauses() {
        (requestPause, responsePause) = (Pause(), Pause())
        stallDeadline = .never
    }
}
