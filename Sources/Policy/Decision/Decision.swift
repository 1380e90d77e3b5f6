public import Bytes
public import HTTP
public import JOSE

/// What is done with a request: it goes upstream, or it is answered here.
public enum Decision: ~Copyable {
    /// It may go upstream, under this permit.
    case permit(Permit)
    /// It is answered by the proxy.
    case reject(Rejection)
    /// Its token's key is not known, but may be fetched: keep the head, and decide again when keys have come.
    case awaitKeys(KeyWait)
    /// A server must be asked about its credential: put the question that `PolicySnapshot.takeQuestion` gives, keep the
    /// head, and decide again when the answer is there.
    case awaitVerdict
}

/// A request whose token's key is not known yet. It is decided on again: in the round `withKeys` when the issuer was asked, in
/// `last` where it waits no longer.
public struct KeyWait: Sendable {
    /// The issuer whose keys may have changed, a place in `PolicySpec.issuers`.
    public let issuer: Int

    init(issuer: Int) {
        self.issuer = issuer
    }
}

/// Which time it is that a request is decided on.
public enum DecisionRound: Sendable, BitwiseCopyable {
    /// The first.
    case first
    /// Again after a wait that something else ended: it is counted already, and may wait again.
    case again
    /// Again after a wait for keys: they are what they are, but a server may still have to be asked.
    case withKeys
    /// Again, and for the last time: the answer is a permit or a rejection.
    case last

    /// Keys that are not known may still come.
    var mayAwaitKeys: Bool { self == .first || self == .again }
}

/// The proof that a request was routed, authenticated and authorized. Only `PolicySnapshot.decide` makes one, and
/// nothing goes upstream without one.
///
/// It names an entry of the verified-token cache and is good for the turn of the event loop that made it: write the
/// upstream head, and copy what the log needs, before the snapshot decides anything else.
public struct Permit: ~Copyable {
    /// The route, a place in `PolicySpec.routes`.
    public let route: Int
    /// The upstream, a place in `PolicySpec.upstreams`.
    public let upstream: Int
    /// The longest the whole exchange may take, in milliseconds; nil is without end.
    public let timeoutMilliseconds: Int64?
    /// The largest request body, in bytes.
    public let maxBodyBytes: Int64
    /// Path and query as they go upstream, a range of the head's bytes (see `appendTarget`).
    public let target: ByteRange
    /// True where a `/` goes before `target`: the path is empty, or `strip_prefix` took all of it.
    public let targetNeedsSlash: Bool
    /// When the token expires, in seconds since 1970; nil for nobody.
    public let expires: Int64?
    /// When the token is no longer accepted, leeway included, in seconds since 1970; nil for nobody. Nothing is sent in its
    /// user's name from then on.
    public let tokenEnd: Int64?
    /// True where a tunnel or a long answer that has begun may go on beyond that.
    public let streamOutlivesToken: Bool
    /// True where the peer is a trusted proxy, whose forwarding headers are believed.
    public let peerIsTrusted: Bool
    /// What the answer says to pages of other origins.
    public internal(set) var crossOrigin = CrossOriginAnswer.none
    /// True where the upstream gets the client's Host, false where it gets its server's own.
    public let preservesHost: Bool
    /// The entry of the cache; none for nobody.
    let identity: Handle
    /// What of the token is not for the backend.
    let carried: CarriedToken

    init(
        route: Int, upstream: Int, timeoutMilliseconds: Int64?, maxBodyBytes: Int64, target: ByteRange,
        targetNeedsSlash: Bool, expires: Int64?, tokenEnd: Int64?, streamOutlivesToken: Bool,
        peerIsTrusted: Bool,
        preservesHost: Bool, identity: Handle, carried: CarriedToken
    ) {
        self.route = route
        self.upstream = upstream
        self.timeoutMilliseconds = timeoutMilliseconds
        self.maxBodyBytes = maxBodyBytes
        self.target = target
        self.targetNeedsSlash = targetNeedsSlash
        self.expires = expires
        self.tokenEnd = tokenEnd
        self.streamOutlivesToken = streamOutlivesToken
        self.peerIsTrusted = peerIsTrusted
        self.preservesHost = preservesHost
        self.identity = identity
        self.carried = carried
    }

    /// Names what is remembered of the token, for `PolicySnapshot.remembers`; none for nobody.
    public var verdict: Handle { identity }

    /// True where the token was offered as the WebSocket subprotocol `bearer`: the answer must accept one of those
    /// that were offered, and the backend saw only the others.
    public var offersBearerSubprotocol: Bool { carried.isSubprotocol }

    /// True where nobody was authenticated: a public route, or an optional one without a token.
    public var isAnonymous: Bool { identity.isNone }

    /// Adds the request target for the upstream (RFC 9112 §3.2.1); false where it does not fit.
    public func appendTarget(_ bytes: Span<UInt8>, to buffer: inout Buffer) -> Bool {
        guard buffer.room > Int(target.count) else { return false }
        if targetNeedsSlash { _ = buffer.append(UInt8(ascii: "/")) }
        guard carried.cut.isEmpty else { return appendCutTarget(bytes, to: &buffer) }
        return buffer.append(bytes.slice(target))
    }

    /// The same without the parameter that holds the token.
    private func appendCutTarget(_ bytes: Span<UInt8>, to buffer: inout Buffer) -> Bool {
        let before = ByteRange(from: Int(target.start), to: Int(carried.cut.start))
        let behind = ByteRange(from: carried.cut.end, to: target.end)
        return buffer.append(bytes.slice(before)) && buffer.append(bytes.slice(behind))
    }
}

/// Why a request is answered by the proxy, and how.
public struct Rejection: Sendable {
    /// The code of the answer, and of the log.
    public let code: ReasonCode
    /// The route, a place in `PolicySpec.routes`; nil where none was found.
    public let route: Int?
    /// What exactly is wrong with the token: for the log, never for the client (J21).
    public let refusal: TokenRefusal?
    /// What is wrong with the request itself, for the log.
    public let fault: MessageFault?
    /// True where the connection must end after the answer (P8).
    public let closesConnection: Bool
    /// What the answer says to pages of other origins.
    public internal(set) var crossOrigin = CrossOriginAnswer.none
    /// What kind of answer it is.
    public internal(set) var form = Form.problem
    /// Where the client is sent instead of being refused; whoever does not know of it answers with `code`.
    public internal(set) var redirection: Redirection?
    /// Which limit was exceeded and for how long, where one was.
    let wait: RateWait?
    /// The entry of the cache where the token was good, but not for this; else none.
    let identity: Handle

    init(
        _ code: ReasonCode, route: Int? = nil, refusal: TokenRefusal? = nil, fault: MessageFault? = nil,
        closesConnection: Bool = false, identity: Handle = .none, wait: RateWait? = nil
    ) {
        self.code = code
        self.route = route
        self.refusal = refusal
        self.fault = fault
        self.closesConnection = closesConnection
        self.identity = identity
        self.wait = wait
    }

    /// What a request gets that was permitted, and whose token ended while it waited for a server.
    ///
    /// - Parameter code: `tokenExpired` or `tokenInvalid`.
    public init(endOfToken code: ReasonCode) { self.init(code, route: nil) }

    /// The kinds of answers that are made here.
    public enum Form: Sendable, BitwiseCopyable {
        /// A problem document with the status of the code.
        case problem
        /// 204 to a preflight: nothing is wrong, and nothing goes upstream. The number is the rule's.
        case preflight(rule: Int32)
        /// 302 to the route's sign-in page, for a browser; the code says what was wrong with its credentials.
        case signIn(ReturnPath)
    }

    /// The status of the answer.
    public var status: UInt16 {
        switch form {
        case .problem: code.status
        case .preflight: 204
        case .signIn: 302
        }
    }

    /// True where the answer bears `WWW-Authenticate` (RFC 9110 §11.6.1, RFC 6750 §3).
    public var challenges: Bool {
        guard case .problem = form else { return false }
        return switch code {
        case .tokenMissing, .tokenInvalid, .tokenExpired, .insufficientScope: true
        default: false
        }
    }
}
