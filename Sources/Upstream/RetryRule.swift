public import HTTP

/// How far a request had got when its connection failed.
public enum RequestProgress: Sendable, Equatable {
    /// The kernel took no byte of it: the server cannot have seen it.
    case nothingSent
    /// Some of it, or all, may have been read.
    case maybeProcessed
    /// The server answered at least one byte.
    case answered
}

/// Whether a request may be sent once more (RFC 9110 §9.2.2): never twice where it may have been processed and twice
/// is not the same as once.
public enum RetryRule {
    /// True where a retry is safe. `isReplayable` says that every byte of the request is still at hand.
    public static func allows(_ method: Method, after progress: RequestProgress, isReplayable: Bool) -> Bool {
        guard isReplayable else { return false }
        return switch progress {
        case .nothingSent: true
        case .maybeProcessed: method.isIdempotent
        case .answered: false
        }
    }
}
