/// What a server of the Redis protocol answers to one command (RESP2).
public enum RedisReply: Sendable, Equatable {
    /// `+OK`: a word.
    case status([UInt8])
    /// `-ERR …`: the command was refused.
    case error([UInt8])
    /// `:1`: a number.
    case integer(Int64)
    /// `$3`: bytes.
    case text([UInt8])
    /// `$-1` or `*-1`: nothing.
    case none
    /// `*2`: several of these.
    case list([RedisReply])

    /// The bytes of a text.
    public var bytes: [UInt8]? { if case .text(let bytes) = self { bytes } else { nil } }

    /// The number of an integer.
    public var number: Int64? { if case .integer(let number) = self { number } else { nil } }

    /// The parts of a list.
    public var parts: [RedisReply]? { if case .list(let parts) = self { parts } else { nil } }
}

/// Why a connection to such a server cannot go on.
public enum RedisFault: Error, Equatable, Sendable, CustomStringConvertible {
    /// What came is not the protocol.
    case malformed
    /// An answer is larger than any that was asked for.
    case tooLarge
    /// An answer came that nobody asked for, or one that says something else than it may.
    case unexpected
    /// The server refused the login, or does not know what is needed of it; its own words.
    case refused(String)

    /// One line for a log.
    public var description: String {
        switch self {
        case .malformed: "the answer is not the Redis protocol"
        case .tooLarge: "the answer is too large"
        case .unexpected: "the answer makes no sense"
        case .refused(let words): "the server refuses: \(words)"
        }
    }
}

/// Takes replies out of a stream of bytes. Whatever a server sends, memory is bounded: it may be somebody else who
/// answers at that address.
public struct RedisReplyParser: Sendable {
    /// The largest text, in bytes: no script gives more than half of it.
    static let largestText = 1 << 20
    /// The largest reply, in bytes, with everything in it.
    static let largestReply = 4 << 20
    /// The most parts of a list.
    static let largestList = 4096
    /// How deep lists may lie in lists; the recursion goes as deep.
    static let deepest = 4
    /// The longest line, in bytes: error messages are the longest.
    static let longestLine = 1024

    private var received: [UInt8] = []
    /// What lies before this is taken already.
    private var start = 0

    /// A parser at the start of a connection.
    public init() {}

    /// Takes in bytes.
    public mutating func feed(_ bytes: Span<UInt8>) {
        if start > 0 {
            received.removeFirst(start)
            start = 0
        }
        received.reserveCapacity(received.count + bytes.count)
        for index in bytes.indices { received.append(bytes[index]) }
    }

    /// The next reply that is whole; nil where more bytes are needed.
    public mutating func next() throws(RedisFault) -> RedisReply? {
        var place = start
        guard let reply = try reply(&place, depth: 0) else {
            guard received.count - start <= Self.largestReply else { throw .tooLarge }
            return nil
        }
        guard place - start <= Self.largestReply else { throw .tooLarge }
        start = place
        return reply
    }

    private func reply(_ place: inout Int, depth: Int) throws(RedisFault) -> RedisReply? {
        guard let line = try line(&place) else { return nil }
        guard let kind = line.first else { throw .malformed }
        let rest = line.dropFirst()
        switch kind {
        case UInt8(ascii: "+"): return .status(Array(rest))
        case UInt8(ascii: "-"): return .error(Array(rest))
        case UInt8(ascii: ":"): return .integer(try Self.number(rest))
        case UInt8(ascii: "$"): return try text(try Self.number(rest), &place)
        case UInt8(ascii: "*"): return try list(try Self.number(rest), &place, depth: depth)
        default: throw .malformed
        }
    }

    private func text(_ count: Int64, _ place: inout Int) throws(RedisFault) -> RedisReply? {
        if count == -1 { return RedisReply.none }
        guard count >= 0 else { throw .malformed }
        guard count <= Int64(Self.largestText) else { throw .tooLarge }
        let end = place + Int(count)
        guard received.count >= end + 2 else { return nil }
        guard received[end] == 0x0D, received[end + 1] == 0x0A else { throw .malformed }
        defer { place = end + 2 }
        return .text(Array(received[place..<end]))
    }

    private func list(_ count: Int64, _ place: inout Int, depth: Int) throws(RedisFault) -> RedisReply? {
        if count == -1 { return RedisReply.none }
        guard count >= 0 else { throw .malformed }
        guard count <= Int64(Self.largestList), depth < Self.deepest else { throw .tooLarge }
        var parts: [RedisReply] = []
        for _ in 0..<count {
            guard let part = try reply(&place, depth: depth + 1) else { return nil }
            parts.append(part)
        }
        return .list(parts)
    }

    /// The line at `place`, without its end; nil while that is not here.
    private func line(_ place: inout Int) throws(RedisFault) -> ArraySlice<UInt8>? {
        var end = place
        let bound = min(received.count, place + Self.longestLine)
        while end < bound, received[end] != 0x0D { end += 1 }
        guard end < bound else {
            if end - place >= Self.longestLine { throw .tooLarge }
            return nil
        }
        guard end + 1 < received.count else { return nil }
        guard received[end + 1] == 0x0A else { throw .malformed }
        defer { place = end + 2 }
        return received[place..<end]
    }

    private static func number(_ digits: ArraySlice<UInt8>) throws(RedisFault) -> Int64 {
        let isNegative = digits.first == UInt8(ascii: "-")
        let digits = isNegative ? digits.dropFirst() : digits
        guard (1...19).contains(digits.count) else { throw .malformed }
        var value: Int64 = 0
        for digit in digits {
            guard (0x30...0x39).contains(digit) else { throw .malformed }
            let (scaled, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, tooLarge) = scaled.addingReportingOverflow(Int64(digit) - 0x30)
            guard !overflow, !tooLarge else { throw .malformed }
            value = sum
        }
        return isNegative ? -value : value
    }
}
