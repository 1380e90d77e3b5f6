public import HTTP

/// What a head parser says.
public enum HeadParseResult: Equatable, Sendable, BitwiseCopyable {
    /// The head is complete and takes the first `head.byteCount` bytes.
    case complete
    /// More bytes are needed. Call again with the same bytes and more behind them.
    case incomplete
    /// The head breaks a rule. A request is answered with `fault.code`, a response is a bad gateway; either way the
    /// connection closes.
    case refused(MessageFault)
}
