public import Bytes
public import HTTP

/// The identifier of a request in logs and in `X-Request-Id`.
public enum RequestIdentifier {
    /// The longest one that is taken over from a client, in characters: a UUID has 36.
    public static let maximumCharacterCount = 128

    /// The client's identifier, where it is one that can stand in a log: 1 to 128 letters, digits, `.`, `_`, `-`.
    /// Else nil, and the proxy makes one.
    public static func accepted(of head: borrowing RequestHead, bytes: Span<UInt8>) -> ByteRange? {
        guard head.requestIDIndex >= 0 else { return nil }
        let range = head.fields[Int(head.requestIDIndex)].valueRange
        return isAcceptable(bytes.slice(range)) ? range : nil
    }

    /// True for 1 to 128 letters, digits, `.`, `_` and `-`.
    public static func isAcceptable(_ value: Span<UInt8>) -> Bool {
        guard value.count > 0, value.count <= maximumCharacterCount else { return false }
        for index in value.indices {
            switch value[index] {
            case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"): continue
            default: guard ASCIISet.alphanumeric.contains(value[index]) else { return false }
            }
        }
        return true
    }
}
