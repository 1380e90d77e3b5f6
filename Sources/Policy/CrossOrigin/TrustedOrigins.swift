internal import Bytes
internal import HTTP
internal import JOSE

/// Whose pages may use a cookie for more than reading (`trusted_origins`): of each issuer and session for its own cookies
/// alone. Browsers add cookies to whatever any page sends; they say truthfully which page it is, in `Origin` for all but
/// plain reading, and older ones in `Referer` (OWASP's "verifying origin").
struct TrustedOrigins {
    /// Of the issuers, and behind them of the sessions.
    private let origins: [[[UInt8]]]
    private let issuerCount: Int

    init(_ spec: PolicySpec) {
        let lists = spec.issuers.map(\.trustedOrigins) + spec.sessions.map(\.trustedOrigins)
        origins = lists.map { $0.map { Array($0.utf8) } }
        issuerCount = spec.issuers.count
    }

    /// True where the request does more than read, and comes from a page that may not use the cookies of the issuer or
    /// session at that place.
    func isForged(_ place: Int, _ head: borrowing RequestHead, _ bytes: Span<UInt8>) -> Bool {
        isForged(IssuerSet(index: place), head, bytes)
    }

    /// True where that is so for each of these.
    func isForged(_ places: IssuerSet, _ head: borrowing RequestHead, _ bytes: Span<UInt8>) -> Bool {
        guard head.doesMoreThanRead else { return false }
        let sender = Sender(head, bytes)
        for place in origins.indices where places.contains(index: place) {
            if mayWrite(place, sender, head, bytes) { return false }
        }
        return true
    }

    private func mayWrite(
        _ place: Int, _ sender: Sender, _ head: borrowing RequestHead, _ bytes: Span<UInt8>
    ) -> Bool {
        let isSession = place >= issuerCount
        guard !sender.isUnclear else { return false }
        if sender.origin.isEmpty {
            // No browser is that silent: a program may use a token of its own as a cookie, but has no session.
            guard !sender.referer.isEmpty else { return !isSession && !sender.isForeign }
            guard isSession || !sender.isForeign else { return false }
        }
        let page =
            sender.origin.isEmpty
            ? Self.origin(ofReferer: bytes.slice(sender.referer)) : bytes.slice(sender.origin)
        for trusted in origins[place] where ASCII.equalsIgnoringCase(page, trusted.span) { return true }
        return !isSession && Self.isSameSite(page, bytes.slice(head.host))
    }

    /// What a request says of the page that it comes from.
    private struct Sender {
        var origin = ByteRange.empty
        var referer = ByteRange.empty
        /// It says so twice, or nothing in so many words: which one counts is nothing to guess (H7).
        var isUnclear = false
        /// It is a page of another site.
        var isForeign = false

        init(_ head: borrowing RequestHead, _ bytes: Span<UInt8>) {
            for index in 0..<head.fields.count {
                let value = head.fields[index].valueRange
                switch head.fields[index].name {
                case .origin:
                    isUnclear = isUnclear || !origin.isEmpty || value.isEmpty
                    origin = value
                case .referer:
                    isUnclear = isUnclear || !referer.isEmpty || value.isEmpty
                    referer = value
                case .secFetchSite:
                    let site = bytes.slice(value)
                    if !ASCII.equals(site, "same-origin"), !ASCII.equals(site, "none") { isForeign = true }
                default: continue
                }
            }
        }
    }

    /// True for `http://HOST` and `https://HOST`: which of the two it was is hidden behind a TLS terminator.
    private static func isSameSite(_ origin: Span<UInt8>, _ host: Span<UInt8>) -> Bool {
        for scheme in ["https://", "http://"] as [StaticString] {
            let count = scheme.utf8CodeUnitCount
            guard origin.count > count, ASCII.equalsIgnoringCase(origin.extracting(0..<count), scheme) else {
                continue
            }
            return ASCII.equalsIgnoringCase(origin.extracting(count..<origin.count), host)
        }
        return false
    }

    /// Scheme and authority: everything in front of the third slash.
    @_lifetime(copy referer)
    private static func origin(ofReferer referer: Span<UInt8>) -> Span<UInt8> {
        var slashes = 0
        for index in 0..<referer.count where referer[index] == UInt8(ascii: "/") {
            slashes += 1
            if slashes == 3 { return referer.extracting(0..<index) }
        }
        return referer
    }
}

extension RequestHead {
    /// True where it may change something, or open a WebSocket, for which browsers ask nobody: then the page counts that
    /// it comes from.
    ///
    /// A proxy in front that asks about a handshake (forward-auth) leaves out `Connection` and `Upgrade`, which are its
    /// own, and passes on the key, which no page can set by itself.
    var doesMoreThanRead: Bool {
        guard method == .get || method == .head || method == .options, !wantsUpgrade else { return true }
        for index in 0..<fields.count where fields[index].name == .secWebSocketKey { return true }
        return false
    }
}
