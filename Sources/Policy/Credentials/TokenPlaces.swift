internal import Bytes
internal import HTTP
internal import JOSE

/// Where a request may carry a token.
public enum TokenPlace: Sendable, Hashable {
    /// `Authorization: Bearer …` (RFC 6750 §2.1).
    case header
    /// A cookie of that name.
    case cookie(String)
    /// A parameter of the query, by its exact name (RFC 6750 §2.3).
    case query(String)
    /// The offer of the subprotocol `bearer`, with the token as the next one: browsers can set no other field of a
    /// WebSocket handshake.
    case webSocket
}

/// The places of all issuers of a snapshot, each with the issuers that look there.
struct TokenPlaces: ~Copyable {
    struct Entry: BitwiseCopyable {
        enum Kind: UInt8 { case header, cookie, query, webSocket }

        let kind: Kind
        let name: ByteRange
        var issuers: IssuerSet
    }

    /// The issuers whose tokens come in the header alone: the fast way is theirs.
    private(set) var plainIssuers: IssuerSet = []
    /// The issuers whose tokens may come with a DPoP proof.
    private(set) var provingIssuers: IssuerSet = []
    private var entries: FixedArray<Entry>
    private var names = ByteArray()

    init(_ issuers: [IssuerEntry]) {
        entries = FixedArray(capacity: max(1, issuers.reduce(0) { $0 + $1.tokenFrom.count }))
        for (index, issuer) in issuers.enumerated() {
            let set = IssuerSet(index: index)
            if issuer.tokenFrom == [.header], issuer.dpop == nil { plainIssuers.insert(set) }
            if issuer.dpop != nil { provingIssuers.insert(set) }
            for place in issuer.tokenFrom { add(place, set) }
        }
    }

    private mutating func add(_ place: TokenPlace, _ issuers: IssuerSet) {
        let (kind, text): (Entry.Kind, String) =
            switch place {
            case .header: (.header, "")
            case .cookie(let name): (.cookie, name)
            case .query(let name): (.query, name)
            case .webSocket: (.webSocket, "")
            }
        let name = Array(text.utf8)
        for index in 0..<entries.count
        where entries[index].kind == kind && ASCII.equals(names.span(entries[index].name), name.span) {
            var entry = entries[index]
            entry.issuers.formUnion(issuers)
            entries[index] = entry
            return
        }
        let start = names.count
        names.append(name.span)
        _ = entries.append(Entry(kind: kind, name: names.range(since: start), issuers: issuers))
    }

    /// The token of a request, wherever one of these issuers looks for it. With `readsHeader` an `Authorization` is
    /// theirs, too, or else nobody's.
    func find(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, for issuers: IssuerSet, readsHeader: Bool = true
    ) -> FoundToken {
        var found = FoundToken(for: issuers)
        var isHeaderUnread = readsHeader && head.authorizationCount > 0
        for index in 0..<entries.count {
            let entry = entries[index]
            let accepting = entry.issuers.intersection(issuers)
            guard !accepting.isEmpty else { continue }
            switch entry.kind {
            case .header:
                if readsHeader { found.noteHeader(head, bytes, accepting, proving: provingIssuers) }
                isHeaderUnread = false
            case .cookie: found.noteCookies(head, bytes, names.span(entry.name), accepting)
            case .query: found.noteQuery(head, bytes, names.span(entry.name), accepting, self)
            case .webSocket: found.noteSubprotocol(head, bytes, accepting)
            }
        }
        if isHeaderUnread { found.noteUnreadHeader(head, bytes) }
        return found
    }

    /// True where a cookie that begins the text (`name=value`) is a token of one of these issuers, and not for the backend.
    func takes(cookie pair: Span<UInt8>, from issuers: IssuerSet) -> Bool {
        for index in 0..<entries.count {
            let entry = entries[index]
            guard entry.kind == .cookie, !entry.issuers.isDisjoint(with: issuers) else { continue }
            if Pair.bears(names.span(entry.name), pair) { return true }
        }
        return false
    }

    /// True where one of these issuers looks for that parameter of the query, by just that name.
    fileprivate func reads(parameter: Span<UInt8>, for issuers: IssuerSet) -> Bool {
        reads(.query, parameter, for: issuers)
    }

    /// True where one of these issuers looks for that cookie, by just that name.
    func reads(cookie pair: Span<UInt8>, for issuers: IssuerSet) -> Bool {
        reads(.cookie, pair, for: issuers)
    }

    private func reads(_ kind: Entry.Kind, _ pair: Span<UInt8>, for issuers: IssuerSet) -> Bool {
        for index in 0..<entries.count {
            let entry = entries[index]
            guard entry.kind == kind, !entry.issuers.isDisjoint(with: issuers) else { continue }
            if Pair.value(of: names.span(entry.name), in: pair) != nil { return true }
        }
        return false
    }

    /// True where one of these issuers looks into cookies.
    func readsCookies(_ issuers: IssuerSet) -> Bool { reads(.cookie, issuers) }

    /// True where one of these issuers looks into the query: a page that was opened with a token in it says so in the
    /// `Referer` of all that it loads (RFC 6750 §5.3).
    func readsQueries(_ issuers: IssuerSet) -> Bool { reads(.query, issuers) }

    private func reads(_ kind: Entry.Kind, _ issuers: IssuerSet) -> Bool {
        for index in 0..<entries.count where entries[index].kind == kind {
            if !entries[index].issuers.isDisjoint(with: issuers) { return true }
        }
        return false
    }
}

/// What was found of tokens in a request. Ranges are of the head's bytes.
struct FoundToken {
    /// What there is in all places together.
    enum Kind {
        case none, token, several, malformed
        /// There are credentials in `Authorization` of a scheme that none of the issuers takes.
        case otherScheme
        /// There is a token in the header alone, where none of the issuers looks.
        case unread
    }

    private(set) var kind = Kind.none
    private(set) var token = ByteRange.empty
    /// How it came.
    private(set) var scheme = TokenScheme.bearer
    /// The issuers that look where the token was found.
    private(set) var issuers: IssuerSet = []
    /// All issuers of the route, wherever they look.
    let route: IssuerSet
    /// What is cut out of the target, so that the token does not reach the backend; with one `&` or `?`.
    private(set) var cut = ByteRange.empty
    /// A browser may have added it by itself: it was found in cookies alone.
    private(set) var isFromCookieAlone = true
    /// It was offered as a subprotocol.
    private(set) var isSubprotocol = false

    fileprivate init(for route: IssuerSet) { self.route = route }

    fileprivate mutating func note(_ range: ByteRange, _ bytes: Span<UInt8>, _ accepting: IssuerSet) {
        switch kind {
        case .none:
            kind = .token
            token = range
        case .token where !ASCII.equals(bytes.slice(token), bytes.slice(range)): kind = .several
        case .token, .several, .otherScheme, .malformed, .unread: break
        }
        issuers.formUnion(accepting)
    }

    fileprivate mutating func noteHeader(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ accepting: IssuerSet, proving: IssuerSet
    ) {
        guard head.authorizationCount > 0 else { return }
        isFromCookieAlone = false
        let value = head.fields[Int(head.authorizationIndex)].valueRange
        switch BearerCredentials.parse(bytes.slice(value)) {
        case .token(let range):
            note(range.within(value), bytes, accepting)
        case .tokenWithProof(let range):
            guard !accepting.isDisjoint(with: proving) else {
                kind = .otherScheme
                return
            }
            scheme = .proof
            note(range.within(value), bytes, accepting.intersection(proving))
        // Credentials that nobody looks at must not pass for none (J15), whatever else there is.
        case .otherScheme: kind = .otherScheme
        case .malformed: kind = .malformed
        }
    }

    /// Nobody looks at the header, and yet it must not pass for none, nor reach a backend beside somebody else's token
    /// (J15).
    fileprivate mutating func noteUnreadHeader(_ head: borrowing RequestHead, _ bytes: Span<UInt8>) {
        let value = head.fields[Int(head.authorizationIndex)].valueRange
        switch BearerCredentials.parse(bytes.slice(value)) {
        case .token(let range):
            guard kind == .none else { return note(range.within(value), bytes, []) }
            kind = .unread
        case .otherScheme, .tokenWithProof: kind = .otherScheme
        case .malformed: kind = .malformed
        }
    }

    fileprivate mutating func noteCookies(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ name: Span<UInt8>, _ accepting: IssuerSet
    ) {
        guard head.cookieCount > 0 else { return }
        for index in Int(head.cookieIndex)..<head.fields.count where head.fields[index].name == .cookie {
            var pairs = CookiePairs(head.fields[index].valueRange)
            while let pair = pairs.next(bytes) {
                guard let value = Pair.value(of: name, in: bytes.slice(pair)) else { continue }
                let start = Int(pair.start) + value.lowerBound
                let unquoted = Pair.unquoted(ByteRange(start: start, count: value.count), bytes)
                // A cookie that was cleared is none.
                if !unquoted.isEmpty { note(unquoted, bytes, accepting) }
            }
        }
    }

    fileprivate mutating func noteQuery(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ name: Span<UInt8>, _ accepting: IssuerSet,
        _ places: borrowing TokenPlaces
    ) {
        var start = Int(head.query.start)
        let end = head.query.end
        while start < end {
            let next = ASCII.firstIndex(of: UInt8(ascii: "&"), in: bytes, from: start, to: end)
            let parameter = ByteRange(from: start, to: next)
            if let value = Pair.value(of: name, in: bytes.slice(parameter)) {
                isFromCookieAlone = false
                note(ByteRange(start: start + value.lowerBound, count: value.count), bytes, accepting)
                // Only one can be cut out; nobody sends two.
                if !cut.isEmpty { kind = .several }
                cut = Self.cut(parameter, head.query)
            } else if Pair.hides(name, in: bytes.slice(parameter)),
                !places.reads(parameter: bytes.slice(parameter), for: route)
            {
                // Nobody looks at it, and a backend may take it for the one that was looked at (H7), or that there is none (J15).
                kind = kind == .none ? .otherScheme : .several
            }
            start = next + 1
        }
    }

    /// The parameter and one separator: the one behind it, or else the one before, which may be the `?`.
    private static func cut(_ parameter: ByteRange, _ query: ByteRange) -> ByteRange {
        parameter.end < query.end
            ? ByteRange(from: Int(parameter.start), to: parameter.end + 1)
            : ByteRange(from: Int(parameter.start) - 1, to: parameter.end)
    }

    fileprivate mutating func noteSubprotocol(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ accepting: IssuerSet
    ) {
        guard head.wantsUpgrade else { return }
        for index in 0..<head.fields.count {
            let line = head.fields[index]
            guard line.name == .secWebSocketProtocol else { continue }
            var elements = ListElements(line.valueRange)
            while let offer = Subprotocols.nextToken(&elements, bytes) {
                isFromCookieAlone = false
                isSubprotocol = true
                note(offer, bytes, accepting)
            }
        }
    }
}
