import Bytes

/// What an Upgrade field asks for, or grants (RFC 9110 §7.8).
enum UpgradeField {
    /// True where `websocket` is among the protocols that a client asks for. It has no version.
    static func offersWebSocket(_ bytes: Span<UInt8>, _ value: ByteRange) -> Bool {
        var elements = ListElements(value)
        while let element = elements.next(bytes) {
            if isWebSocket(bytes, element) { return true }
        }
        return false
    }

    /// True where it is the one protocol that a server switches to.
    static func isWebSocket(_ bytes: Span<UInt8>, _ value: ByteRange) -> Bool {
        ASCII.equalsIgnoringCase(bytes.slice(value), "websocket")
    }
}
