internal import Bytes
internal import HTTP
public import JOSE

/// One `[session.NAME]`. Routes name it by its place in `PolicySpec.sessions` behind all issuers.
public struct SessionEntry: Sendable {
    /// The name that routes use.
    public var name: String
    /// What the verifier is built from.
    public var spec: SessionSpec
    /// What the names of its cookies begin with, such as `better-auth`: a token (RFC 9110 §5.6.2).
    public var cookiePrefix: String
    /// Whether the names have `__Secure-` in front.
    public var hasSecureCookies: Bool
    /// Origins whose pages may use its cookies for more than reading.
    public var trustedOrigins: [String]
    /// The server that is asked, a place in `PolicySpec.remoteSources`; nil where the cookies alone decide.
    public var remote: Int?

    /// The session of that name.
    public init(
        name: String, spec: SessionSpec, cookiePrefix: String = "better-auth", hasSecureCookies: Bool = true,
        trustedOrigins: [String] = [], remote: Int? = nil
    ) {
        self.name = name
        self.spec = spec
        self.cookiePrefix = cookiePrefix
        self.hasSecureCookies = hasSecureCookies
        self.trustedOrigins = trustedOrigins
        self.remote = remote
    }
}

/// What a request carries of a session's cookies. Ranges are of the head's bytes, without quotes.
struct SessionCookies {
    /// `session_token`; empty where there is none.
    var token = ByteRange.empty
    /// `session_data` in one piece.
    var cache = ByteRange.empty
    /// `dont_remember`.
    var remembrance = ByteRange.empty
    /// The chunks of `session_data`: how many there are, and the number behind the largest one's.
    var chunkCount = 0
    var chunkEnd = 0
    /// One of them is there twice, and which one counts is nothing to guess: servers differ.
    var isAmbiguous = false

    /// True where there is a session to look at.
    var isPresent: Bool { isAmbiguous || !token.isEmpty }
    /// True where the cache is there, whole as far as can be seen.
    var hasCache: Bool { !cache.isEmpty || (chunkCount > 0 && chunkCount == chunkEnd) }
}

/// The sessions of a snapshot: whose cookies are whose.
struct SessionPlaces: ~Copyable {
    /// Better Auth numbers its chunks from 0 to 99.
    private static var largestChunkCount: Int { 100 }
    /// What Better Auth proves somebody by, its plugins included: while an admin impersonates a user, `admin_session` has the
    /// admin's own session token; `two_factor` and `trust_device` stand for a sign-in half done, and for a second factor.
    private static var ownCookies: [String] {
        [
            "session_token", "session_data", "account_data", "dont_remember", "admin_session", "two_factor",
            "trust_device",
        ]
    }

    struct Names: BitwiseCopyable {
        /// What the names of the cookies that count begin with, the dot included.
        let counting: ByteRange
        /// What those begin with that do not count: without `__Secure-`, or with it.
        let other: ByteRange
    }

    /// The places of all sessions, behind those of the issuers.
    private(set) var all: IssuerSet = []
    private let first: Int
    private var names: FixedArray<Names>
    /// What stands behind that in the names of those that are not for the backend.
    private var ownNames = FixedArray<ByteRange>(capacity: SessionPlaces.ownCookies.count)
    private var text = ByteArray()
    /// Where the chunks stand that were found last.
    private var chunks: FixedArray<ByteRange>

    init(_ sessions: [SessionEntry], behind issuerCount: Int) {
        first = issuerCount
        names = FixedArray(capacity: max(1, sessions.count))
        chunks = FixedArray(capacity: Self.largestChunkCount)
        while chunks.append(.empty) {}
        for name in Self.ownCookies { _ = ownNames.append(add(name)) }
        for (index, session) in sessions.enumerated() {
            all.insert(IssuerSet(index: issuerCount + index))
            let plain = add(session.cookiePrefix + ".")
            let secure = add("__Secure-" + session.cookiePrefix + ".")
            _ = names.append(
                session.hasSecureCookies
                    ? Names(counting: secure, other: plain) : Names(counting: plain, other: secure))
        }
    }

    private mutating func add(_ name: String) -> ByteRange {
        let start = text.count
        text.append(Array(name.utf8).span)
        return text.range(since: start)
    }

    /// How many sessions there are.
    var count: Int { names.count }

    /// The place of a session among those that routes accept.
    func place(_ session: Int) -> Int { first + session }

    /// What a request has of a session's cookies.
    mutating func find(_ session: Int, _ head: borrowing RequestHead, _ bytes: Span<UInt8>) -> SessionCookies
    {
        var found = SessionCookies()
        guard head.cookieCount > 0 else { return found }
        let prefix = names[session].counting
        for index in Int(head.cookieIndex)..<head.fields.count where head.fields[index].name == .cookie {
            var pairs = CookiePairs(head.fields[index].valueRange)
            while let pair = pairs.next(bytes) {
                guard hasPrefix(prefix, bytes.slice(pair)) else { continue }
                note(pair, prefix, bytes, &found)
            }
        }
        return found
    }

    @inline(__always)
    private func hasPrefix(_ prefix: ByteRange, _ pair: Span<UInt8>) -> Bool {
        let count = Int(prefix.count)
        return pair.count > count && ASCII.equals(pair.extracting(0..<count), text.span(prefix))
    }

    private mutating func note(
        _ pair: ByteRange, _ prefix: ByteRange, _ bytes: Span<UInt8>, _ found: inout SessionCookies
    ) {
        let rest = ByteRange(from: Int(pair.start) + Int(prefix.count), to: pair.end)
        let name = bytes.slice(rest)
        if let value = Self.value(of: "session_token", rest, bytes) {
            if !Self.note(value, as: &found.token) { found.isAmbiguous = true }
        } else if let value = Self.value(of: "session_data", rest, bytes) {
            if !Self.note(value, as: &found.cache) { found.isAmbiguous = true }
        } else if let value = Self.value(of: "dont_remember", rest, bytes) {
            if !Self.note(value, as: &found.remembrance) { found.isAmbiguous = true }
        } else if let (number, start) = Self.chunk(name) {
            let value = Pair.unquoted(ByteRange(from: Int(rest.start) + start, to: rest.end), bytes)
            noteChunk(number, value, &found)
        }
    }

    /// False for a cookie that is there twice. One that was cleared is none.
    private static func note(_ value: ByteRange, as place: inout ByteRange) -> Bool {
        guard !value.isEmpty else { return true }
        guard place.isEmpty else { return false }
        place = value
        return true
    }

    /// The first chunk of a request takes away what an earlier request left behind.
    private mutating func noteChunk(_ number: Int, _ value: ByteRange, _ found: inout SessionCookies) {
        guard !value.isEmpty else { return }
        if found.chunkCount == 0 { for index in 0..<chunks.count { chunks[index] = .empty } }
        guard chunks[number].isEmpty else {
            found.isAmbiguous = true
            return
        }
        chunks[number] = value
        found.chunkCount += 1
        found.chunkEnd = max(found.chunkEnd, number + 1)
    }

    private static func value(of name: StaticString, _ rest: ByteRange, _ bytes: Span<UInt8>) -> ByteRange? {
        let count = name.utf8CodeUnitCount
        guard rest.count > count, bytes[Int(rest.start) + count] == UInt8(ascii: "="),
            ASCII.equals(bytes.extracting(Int(rest.start)..<Int(rest.start) + count), name)
        else { return nil }
        return Pair.unquoted(ByteRange(from: Int(rest.start) + count + 1, to: rest.end), bytes)
    }

    /// The number in `session_data.7=…`, written in one way only, and where the value starts.
    private static func chunk(_ text: Span<UInt8>) -> (number: Int, start: Int)? {
        let name: StaticString = "session_data."
        let count = name.utf8CodeUnitCount
        guard text.count > count + 1, ASCII.equals(text.extracting(0..<count), name),
            ASCII.isDigit(text[count])
        else { return nil }
        let digit = Int(text[count] - 0x30)
        if text[count + 1] == UInt8(ascii: "=") { return (digit, count + 2) }
        guard digit > 0, text.count > count + 2, ASCII.isDigit(text[count + 1]),
            text[count + 2] == UInt8(ascii: "=")
        else { return nil }
        return (digit * 10 + Int(text[count + 1] - 0x30), count + 3)
    }

    /// Adds the cache of what was found last, its chunks joined.
    func appendCache(_ cookies: SessionCookies, _ bytes: Span<UInt8>, to output: inout ByteArray) {
        guard cookies.cache.isEmpty else { return output.append(bytes.slice(cookies.cache)) }
        for number in 0..<cookies.chunkEnd { output.append(bytes.slice(chunks[number])) }
    }

    /// Adds the whole name of a cookie, with its `=`.
    func appendName(_ name: StaticString, of session: Int, to output: inout ByteArray) {
        output.append(text.span(names[session].counting))
        output.append(name)
    }

    // MARK: What goes upstream

    /// True where a cookie that begins the text (`name=value`) is one of these sessions', and not for the backend: all by which
    /// Better Auth knows somebody, under either name, so that no backend takes one that was not looked at for one that was.
    func takes(cookie pair: Span<UInt8>, from sessions: IssuerSet) -> Bool {
        for session in 0..<count where sessions.contains(index: first + session) {
            if isOwn(pair, behind: names[session].counting) || isOwn(pair, behind: names[session].other) {
                return true
            }
        }
        return false
    }

    private func isOwn(_ pair: Span<UInt8>, behind prefix: ByteRange) -> Bool {
        guard let end = Pair.end(of: text.span(prefix), in: pair) else { return false }
        let rest = pair.extracting(droppingFirst: end)
        for index in 0..<ownNames.count where isOwn(rest, text.span(ownNames[index])) { return true }
        return false
    }

    /// The name itself, a chunk, or that of another session of the same browser.
    private func isOwn(_ rest: Span<UInt8>, _ name: Span<UInt8>) -> Bool {
        guard var index = Pair.end(of: name, in: rest), index < rest.count else { return false }
        let next = RoutedPath.octet(rest, &index)
        return next == 0 || next == UInt8(ascii: "=") || Pair.folded(next) == UInt8(ascii: "_")
            || Pair.isTrimmed(next)
    }
}
