/// What is wrong with a message: the rule it breaks. For requests `code` says what the client is told; every fault
/// of a response is `upstreamInvalidResponse`. The connection closes after any of them.
public enum MessageFault: UInt8, Error, Sendable, BitwiseCopyable, CaseIterable {
    // Lines (RFC 9112 §2.2, §5).
    case bareLineFeed, bareCarriageReturn, controlCharacter, obsoleteFolding, whitespaceBeforeFirstField
    case whitespaceBeforeColon, badFieldName, missingColon
    // The start line (RFC 9112 §3, §4).
    case badMethod, methodTooLong, methodNotAllowed, badRequestLine, badVersion, versionNotSupported
    case badStatusLine, badStatus
    // The target (RFC 9112 §3.2, RFC 3986, rules P1 to P4).
    case badTarget, badPercentEncoding, encodedUnreserved, encodedSeparator, dotSegment, emptySegment
    case tooManySegments, ambiguousParameters, ambiguousCase
    // Host (RFC 9112 §3.2, rule P5).
    case missingHost, severalHosts, badHost
    // Framing (RFC 9112 §6, rule F2).
    case badContentLength, severalContentLengths, lengthAndTransferEncoding, transferEncodingInHTTP10
    case badTransferEncoding, unknownTransferCoding, bodyNotAllowed
    // Other fields that decide something (RFC 9110 §7.6.1, §10.1.1, rule H7).
    case badConnection, expectationFailed, severalValues
    // HTTP without TLS, where TLS is due.
    case plainHTTPOverTLS
    // Limits.
    case headTooLarge, tooManyFields, targetTooLong
    // The body (RFC 9112 §7, §8).
    case badChunkSize, badChunkExtension, chunkExtensionTooLong, badChunkEnd, badTrailer, trailerTooLarge
    case truncated

    /// What a client that sent a request with this fault is told.
    public var code: ReasonCode {
        switch self {
        case .methodTooLong, .unknownTransferCoding: .notImplemented
        case .methodNotAllowed: .methodNotAllowed
        case .versionNotSupported: .versionNotSupported
        case .expectationFailed: .expectationFailed
        case .headTooLarge, .tooManyFields, .trailerTooLarge: .headersTooLarge
        case .targetTooLong: .uriTooLong
        default: .badRequest
        }
    }
}
