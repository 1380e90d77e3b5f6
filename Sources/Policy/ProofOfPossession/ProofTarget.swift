internal import Bytes
internal import HTTP

/// Compares the `htu` of a DPoP proof with the URI of a request (RFC 9449 §4.3): scheme, authority and path, without
/// query and fragment, after the normalisations of RFC 3986 §6.2.2 and §6.2.3.
///
/// Dot segments are not removed: no request with one gets so far.
struct ProofTarget: BitwiseCopyable {
    let isSecure: Bool
    /// Ranges of the request's bytes.
    let authority: Authority
    let path: ByteRange

    /// True where `uri` means this target of the request in `bytes`.
    func matches(_ uri: Span<UInt8>, _ bytes: Span<UInt8>) -> Bool {
        guard let (secure, start) = Self.scheme(uri), secure == isSecure, !authority.name.isEmpty else {
            return false
        }
        let end = Self.end(of: uri, from: start)
        let slash = ASCII.firstIndex(of: UInt8(ascii: "/"), in: uri, from: start, to: end)
        guard let other = Authority.parse(uri, ByteRange(from: start, to: slash)),
            port(other) == port(authority),
            ASCII.equalsIgnoringCase(uri.slice(other.name), bytes.slice(authority.name))
        else { return false }
        return Self.equal(uri, ByteRange(from: slash, to: end), bytes, path)
    }

    private func port(_ authority: Authority) -> Int32 {
        authority.port >= 0 ? authority.port : isSecure ? 443 : 80
    }

    /// Whether it is a secure one, and where the authority starts; nil for anything but http, https, ws and wss.
    private static func scheme(_ uri: Span<UInt8>) -> (isSecure: Bool, start: Int)? {
        for (text, isSecure) in [
            ("https://", true), ("http://", false), ("wss://", true), ("ws://", false),
        ] as [(StaticString, Bool)] {
            let count = text.utf8CodeUnitCount
            if uri.count > count, ASCII.equalsIgnoringCase(uri.extracting(0..<count), text) {
                return (isSecure, count)
            }
        }
        return nil
    }

    /// Where the query or the fragment starts, or the end.
    private static func end(of uri: Span<UInt8>, from start: Int) -> Int {
        let query = ASCII.firstIndex(of: UInt8(ascii: "?"), in: uri, from: start, to: uri.count)
        return ASCII.firstIndex(of: UInt8(ascii: "#"), in: uri, from: start, to: query)
    }

    private static func equal(
        _ one: Span<UInt8>, _ first: ByteRange, _ other: Span<UInt8>, _ second: ByteRange
    ) -> Bool {
        var a = PathReader(first)
        var b = PathReader(second)
        // An empty path means `/`.
        if first.isEmpty { return second.isEmpty || (second.count == 1 && other[Int(second.start)] == 0x2F) }
        if second.isEmpty { return first.count == 1 }
        while true {
            let next = a.next(one)
            guard next == b.next(other) else { return false }
            if next < 0 { return true }
        }
    }
}

/// The characters of a path, where `%41` is the same as `A`, and `%2f` the same as `%2F` (RFC 3986 §6.2.2).
private struct PathReader {
    private var index: Int
    private let end: Int

    init(_ range: ByteRange) {
        index = Int(range.start)
        end = range.end
    }

    /// The next character, 256 more for one that is encoded and would mean something else if it were not; -1 at the end.
    mutating func next(_ bytes: Span<UInt8>) -> Int {
        guard index < end else { return -1 }
        let byte = bytes[index]
        index += 1
        guard byte == UInt8(ascii: "%"), index + 1 < end,
            let high = ASCII.hexadecimalValue(bytes[index]),
            let low = ASCII.hexadecimalValue(bytes[index + 1])
        else { return Int(byte) }
        index += 2
        let value = Int(high) << 4 | Int(low)
        return Self.isUnreserved(UInt8(truncatingIfNeeded: value)) ? value : 256 + value
    }

    /// RFC 3986 §2.3.
    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"):
            true
        default: false
        }
    }
}
