public import Bytes
internal import HTTP

/// What of a request a browser comes back to after it has signed in: path and query, never scheme or host, which a
/// stranger could have made up (F10).
public struct ReturnPath: Sendable, BitwiseCopyable {
    /// Path and query as they came; empty where they are too long to be sent around.
    let whole: ByteRange
    /// The part with a token, which stays here.
    let cut: ByteRange

    /// The most of a path and query that is sent around, in bytes; whoever comes from a longer one lands where the
    /// sign-in page likes.
    public static let maximumByteCount = 1024

    /// Copies the path and query out of the head's bytes; false where they do not fit.
    public func append(_ bytes: Span<UInt8>, to buffer: inout Buffer) -> Bool {
        guard !cut.isEmpty else { return buffer.append(bytes.slice(whole)) }
        return buffer.append(bytes.slice(ByteRange(from: Int(whole.start), to: Int(cut.start))))
            && buffer.append(bytes.slice(ByteRange(from: cut.end, to: whole.end)))
    }
}

/// The sign-in pages of the routes, as the start of a `Location` each.
struct SignInPages {
    /// The most of one address, in bytes.
    static var maximumByteCount: Int { 2048 }
    /// The parameter that names the path to come back to.
    static var parameter: String { "return_to" }

    /// In the order of `PolicySpec.routes`; empty where there is none.
    private let pages: [[UInt8]]

    init(_ routes: [RouteSpec]) throws(PolicyError) {
        for (index, route) in routes.enumerated() {
            guard Self.isSound(route) else { throw .badSignIn(route: index) }
        }
        pages = routes.map { route in
            guard let page = route.signIn else { return [] }
            return Array("\(page)\(page.contains("?") ? "&" : "?")\(Self.parameter)=".utf8)
        }
    }

    /// An absolute URL or path of visible ASCII, on a route that has somebody to sign in.
    private static func isSound(_ route: RouteSpec) -> Bool {
        guard let page = route.signIn else { return true }
        let isAbsolute = page.hasPrefix("https://") || page.hasPrefix("http://")
        let isPath = page.hasPrefix("/") && !page.hasPrefix("//")
        return (isAbsolute || isPath) && page.utf8.count <= maximumByteCount
            && page.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != 0x23 && $0 != 0x5C }
            && route.authentication != .none
    }

    /// The page with the parameter's name and `=` behind it.
    func page(_ route: Int) -> [UInt8] { pages[route] }
}

extension PolicySnapshot {
    /// Where a browser that asked for a page goes instead of being refused; nil where the answer stays a refusal.
    ///
    /// A page is what somebody navigates to: browsers say so in Sec-Fetch-Mode. Where they say nothing, on plain HTTP
    /// away from loopback, whoever accepts HTML is taken for one. Programs, scripts of pages and WebSockets get the
    /// refusal.
    func returnPath(
        _ head: borrowing RequestHead, _ target: borrowing CanonicalTarget, _ bytes: Span<UInt8>,
        cut: ByteRange
    ) -> ReturnPath? {
        guard head.method == .get, !head.doesMoreThanRead, Self.isNavigation(head, bytes) else { return nil }
        let whole = target.pathAndQuery
        let isShort = Int(whole.count) <= ReturnPath.maximumByteCount
        return ReturnPath(whole: isShort ? whole : .empty, cut: isShort ? cut : .empty)
    }

    private static func isNavigation(_ head: borrowing RequestHead, _ bytes: Span<UInt8>) -> Bool {
        var (saysMode, navigates, saysSite, acceptsHTML) = (false, true, false, false)
        for index in 0..<head.fields.count {
            let line = head.fields[index]
            guard !line.flags.contains(.alias) else { continue }
            switch line.name {
            case .secFetchMode:
                saysMode = true
                navigates = navigates && ASCII.equals(bytes.slice(line.valueRange), "navigate")
            case .secFetchSite: saysSite = true
            case .accept: acceptsHTML = acceptsHTML || Self.acceptsHTML(line.valueRange, bytes)
            default: continue
            }
        }
        return saysMode ? navigates : acceptsHTML && !saysSite
    }

    private static func acceptsHTML(_ value: ByteRange, _ bytes: Span<UInt8>) -> Bool {
        var ranges = ListElements(value)
        while let range = ranges.next(bytes) {
            let end = ASCII.firstIndex(
                of: UInt8(ascii: ";"), in: bytes, from: Int(range.start), to: range.end)
            var last = end
            while last > Int(range.start), ASCII.isWhitespace(bytes[last - 1]) { last -= 1 }
            let type = bytes.slice(ByteRange(from: Int(range.start), to: last))
            if ASCII.equalsIgnoringCase(type, "text/html") { return true }
        }
        return false
    }

    /// Adds the `Location` line: the sign-in page of the rejection's route, and the path to come back to with all but
    /// letters, digits and `-._~` percent-encoded. `path` is what `ReturnPath.append` gave, at most
    /// `ReturnPath.maximumByteCount`. False where it does not fit.
    public func appendSignIn(_ rejection: Rejection, path: Span<UInt8>, to buffer: inout Buffer) -> Bool {
        guard case .signIn = rejection.form, let route = rejection.route else { return false }
        guard buffer.append("Location: "), buffer.append(signInPages.page(route).span) else { return false }
        // An absolute target may have no path, which is the root's.
        if path.count == 0 || path[0] != UInt8(ascii: "/") {
            guard buffer.append("%2F") else { return false }
        }
        for index in path.indices {
            guard Self.appendEncoded(path[index], to: &buffer) else { return false }
        }
        return buffer.append("\r\n")
    }

    private static func appendEncoded(_ byte: UInt8, to buffer: inout Buffer) -> Bool {
        if ASCIISet.unreserved.contains(byte) { return buffer.append(byte) }
        return buffer.append(UInt8(ascii: "%")) && buffer.append(digit(byte >> 4))
            && buffer.append(digit(byte & 15))
    }

    private static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "A") + value - 10
    }
}
