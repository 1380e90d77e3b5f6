internal import Bytes

/// The parts of a compact token as they are, with nothing verified: for people to look at, never for decisions.
public struct DecodedToken: Sendable, Equatable {
    /// The JSON text of the header.
    public let header: [UInt8]
    /// The JSON text of the payload.
    public let payload: [UInt8]
    /// The bytes of the signature.
    public let signature: [UInt8]

    /// nil where it is not three strict base64url parts with strict JSON objects in the first two.
    public init?(_ token: Span<UInt8>) {
        guard let parts = CompactToken(token),
            let header = Self.decode(token.extracting(0..<parts.headerEnd)),
            let payload = Self.decode(token.extracting(parts.headerEnd + 1..<parts.payloadEnd)),
            let signature = Self.decode(token.extracting(parts.payloadEnd + 1..<token.count)),
            Self.isObject(header), Self.isObject(payload)
        else { return nil }
        self.header = header
        self.payload = payload
        self.signature = signature
    }

    private static func isObject(_ text: [UInt8]) -> Bool {
        var document = JSONDocument(capacity: text.count, limits: .token)
        return document.load(text.span)
    }

    private static func decode(_ part: Span<UInt8>) -> [UInt8]? {
        guard let count = Base64URL.decodedCount(part.count) else { return nil }
        var bytes = [UInt8](repeating: 0, count: count)
        var span = bytes.mutableSpan
        return Base64URL.decode(part, into: &span) == nil ? nil : bytes
    }
}
