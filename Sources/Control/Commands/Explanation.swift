import Bytes
public import Config
public import HTTP
import HTTP1
import JOSE
import Policy
import Proxy
import Reactor

/// What would become of a request: found out by the parser and the policy that a running proxy uses.
public struct Explanation: Sendable {
    /// Where an answer was decided on.
    public enum Step: Int, Sendable, CaseIterable {
        /// The rules of HTTP and of paths.
        case request
        /// The table of routes.
        case route
        /// The limits of addresses and users.
        case rateLimit
        /// Who it is.
        case authentication
        /// The claims that the route requires.
        case requirements
        /// The scopes that the route requires.
        case scopes
        /// What is made for the backend.
        case forward
    }

    /// Why keys could or could not be used.
    public struct KeyNote: Sendable {
        /// The issuer, a place in `Configuration.keyIssuers`.
        public var issuer: Int
        /// Why its keys could not be fetched; nil where they were.
        public var failure: String?
    }

    /// The step that refused; nil where the request goes to the backend.
    public private(set) var refusedBy: Step?
    /// The code of the answer and of the log's `reason`.
    public private(set) var code = ReasonCode.ok
    /// The log's `detail`: which check of the token or of the request it was; may be empty.
    public private(set) var detail = ""
    /// The route, a place in `Configuration.routes`.
    public private(set) var route: Int?
    /// Who it is; nil for nobody.
    public private(set) var user: String?
    /// Who says so, a place in `Configuration.keyIssuers`, and behind those in `sessions`.
    public private(set) var issuer: Int?
    /// When the token expires, in seconds since 1970.
    public private(set) var expires: Int64?
    /// The upstream, a place in `Configuration.upstreams`.
    public private(set) var upstream: Int?
    /// The target that the backend sees.
    public private(set) var target = ""
    /// The fields that the backend sees, or those of the proxy's own answer, or those that a proxy in front is to pass on.
    public private(set) var fields: [String] = []
    /// The status of the proxy's own answer; 0 where the request goes to the backend.
    public private(set) var status: UInt16 = 0
    /// The body of the proxy's own answer.
    public private(set) var body = ""
    /// The keys that had to be fetched for it.
    public private(set) var keys: [KeyNote] = []
    /// The server that alone could judge the credential, and was not asked; nil where none was needed.
    public private(set) var asked: String?
    /// True where the answer is that server's to decide: what is in `code`, `status` and `fields` is what a client is told
    /// while nobody can ask it.
    public var isUndecided: Bool { asked != nil && code == .authenticationUnavailable }
    /// True where the proxy refuses. A preflight that is answered and a redirection are no refusals.
    public var isRefused: Bool { refusedBy != nil && code != .ok && !isUndecided }
    /// The peer's forwarding headers are believed.
    public private(set) var peerIsTrusted = false
    /// What is done about traces; nil: their fields are like any other.
    private let tracing: TracingSettings?
    /// The listener takes no other version; the request is thought of as text of HTTP/1.1 all the same.
    private let comesOverHTTP2: Bool
    /// The listener answers questions of another proxy, which forwards the request itself.
    private let answersForwardAuth: Bool

    /// Finds out what would become of a request at `now`, in seconds since 1970. `fetch` gives the keys of an issuer
    /// that has them on the network, or why they are not there.
    public init(
        of request: ImaginedRequest, under configuration: Configuration, now: Int64,
        fetch: (Int) -> Result<[UInt8], StartFailure>
    ) throws(StartFailure) {
        tracing = configuration.tracing.map { TracingSettings($0) }
        comesOverHTTP2 = configuration.listeners[request.listener].protocols == .http2
        answersForwardAuth = configuration.listeners[request.listener].answersForwardAuth
        var policy = configuration.policy
        // Nothing is counted here, and of revocations the file's alone are looked at: a store that was not asked is no
        // reason for a 503.
        policy.sharedLimits = nil
        policy.revocations = configuration.revocation?.list ?? RevocationList()
        var snapshot: PolicySnapshot
        do throws(PolicyError) {
            snapshot = try PolicySnapshot(policy)
        } catch {
            throw StartFailure("the policy does not compile: \(error)")
        }
        var head = RequestHead(fieldCapacity: configuration.limits.headerCount)
        let bytes = request.bytes
        let peer = PeerFacts(
            address: request.address, listener: request.listener, isSecure: request.isSecure)
        peerIsTrusted = snapshot.trusts(peer)
        let limits = HeadLimits(
            headBytes: configuration.limits.headerBytes, fieldCount: configuration.limits.headerCount,
            targetBytes: configuration.limits.targetBytes)
        var parser = RequestHeadParser()
        switch parser.parse(bytes.span, into: &head, limits: limits) {
        case .complete: break
        case .refused(let fault):
            answer(to: fault)
            return
        case .incomplete:
            answer(to: .badRequestLine)
            return
        }
        if let port = configuration.listeners[request.listener].redirectPort {
            // Such a listener has no routes.
            let rejection = snapshot.redirect(head: head, bytes: bytes.span, port: Int32(port))
            note(rejection, bytes, snapshot, now)
            return
        }
        let server = configuration.upstreams.map { $0.servers.first?.address.authority ?? "" }
        var round = DecisionRound.first
        while true {
            let decision = snapshot.decide(
                head: head, bytes: bytes.span, peer: peer, now: now, round: round,
                answersPreflights: !answersForwardAuth)
            switch consume decision {
            case .awaitKeys(let wait):
                note(wait.issuer, fetch(wait.issuer), &snapshot)
                round = .last
            case .awaitVerdict:
                // The cookie may have the answer, were the key known that it is signed with.
                if let issuer = snapshot.takeWantedKeyIssuer(), !keys.contains(where: { $0.issuer == issuer })
                {
                    note(issuer, fetch(issuer), &snapshot)
                    continue
                }
                let question = snapshot.takeQuestion()
                asked = question?.key.source
                round = .last
            case .permit(let permit):
                note(permit, snapshot)
                guard !answersForwardAuth else {
                    // A question has no body, and its asker forwards everything but this by itself.
                    fields = Self.lines(Self.written { snapshot.appendConfirmation(of: permit, to: &$0) })
                    return
                }
                noteForwarded(permit, head, bytes, peer, server, snapshot)
                addFraming(
                    head, speaksHTTP2: configuration.upstreams[permit.upstream].backendProtocol == .http2)
                if case .length(let length) = head.framing, length > UInt64(clamping: permit.maxBodyBytes) {
                    refuseBody(permit.crossOrigin, snapshot)
                }
                return
            case .reject(let rejection):
                note(rejection, bytes, snapshot, now)
                return
            }
        }
    }

    private mutating func note(
        _ issuer: Int, _ keys: Result<[UInt8], StartFailure>, _ snapshot: inout PolicySnapshot
    ) {
        switch keys {
        case .failure(let failure): self.keys.append(KeyNote(issuer: issuer, failure: failure.reason))
        case .success(let text):
            do throws(IssuerError) {
                try snapshot.replaceKeys(ofIssuer: issuer, with: .jwks(text))
                self.keys.append(KeyNote(issuer: issuer))
            } catch {
                self.keys.append(KeyNote(issuer: issuer, failure: "\(error)"))
            }
        }
    }

    // MARK: Outcomes

    private mutating func answer(to fault: MessageFault) {
        refusedBy = .request
        code = fault.code
        detail = "\(fault.text)"
        writeAnswer()
    }

    private mutating func note(
        _ rejection: Rejection, _ bytes: [UInt8], _ snapshot: borrowing PolicySnapshot, _ now: Int64
    ) {
        code = rejection.code
        detail = "\(rejection.refusal?.code ?? rejection.fault?.text ?? "")"
        route = rejection.route
        let subject = Self.text(snapshot.subject(of: rejection))
        user = subject.isEmpty ? nil : subject
        issuer = snapshot.issuer(of: rejection)
        refusedBy = Self.step(rejection)
        writeAnswer(rejection, bytes, snapshot)
        add(rejection.crossOrigin, snapshot)
        let challenge = Self.written { buffer in
            !rejection.challenges
                || buffer.append("WWW-Authenticate: ")
                    && snapshot.appendChallenge(rejection, to: &buffer) && buffer.append("\r\n")
        }
        let nonce = Self.written { snapshot.appendNonceField(rejection, now: now, to: &$0) }
        let limit = Self.written { snapshot.appendRateLimitFields(rejection, to: &$0) }
        fields += Self.lines(challenge) + Self.lines(nonce) + Self.lines(limit)
    }

    /// The body that the request announces is more than its route takes.
    private mutating func refuseBody(
        _ crossOrigin: CrossOriginAnswer, _ snapshot: borrowing PolicySnapshot
    ) {
        code = .tooLarge
        refusedBy = .forward
        writeAnswer()
        add(crossOrigin, snapshot)
    }

    private mutating func add(_ crossOrigin: CrossOriginAnswer, _ snapshot: borrowing PolicySnapshot) {
        fields += Self.lines(Self.text(snapshot.crossOriginLines(crossOrigin)))
        if crossOrigin.variesByOrigin { fields.append("Vary: Origin") }
    }

    private mutating func note(_ permit: borrowing Permit, _ snapshot: borrowing PolicySnapshot) {
        route = permit.route
        upstream = permit.upstream
        expires = permit.expires
        user = permit.isAnonymous ? nil : Self.text(snapshot.subject(of: permit))
        issuer = snapshot.issuer(of: permit)
    }

    private mutating func noteForwarded(
        _ permit: borrowing Permit, _ head: borrowing RequestHead, _ bytes: [UInt8], _ peer: PeerFacts,
        _ servers: [String], _ snapshot: borrowing PolicySnapshot
    ) {
        target = Self.written { permit.appendTarget(bytes.span, to: &$0) }
        let id = Array("(one for each request)".utf8)
        let server = Array(servers[permit.upstream].utf8)
        let trace = tracing == nil ? [] : Array("(one for each attempt)".utf8)
        let goesOn = tracing?.continuesFrom.includes(peerIsTrusted) ?? true
        let keepsState = tracing == nil || goesOn && TraceParent.told(by: head, bytes.span) != nil
        let written = Self.written { buffer in
            snapshot.appendUpstreamFields(
                of: head, bytes: bytes.span, permit: permit, peer: peer, certificate: ClientCertificate(),
                requestID: id.span, serverAuthority: server.span, trace: trace.span,
                keepsTraceState: keepsState, to: &buffer)
        }
        fields = Self.lines(written)
        if comesOverHTTP2, let place = fields.lastIndex(of: "Via: 1.1 usher") {
            fields[place] = "Via: 2 usher"
        }
    }

    /// The lines that frame the request, which the proxy writes by itself.
    private mutating func addFraming(_ head: borrowing RequestHead, speaksHTTP2: Bool) {
        // Over HTTP/2 it is an extended CONNECT (RFC 8441), whose pseudo-header says what these lines do.
        if head.wantsWebSocket {
            fields += speaksHTTP2 ? [":protocol: websocket"] : ["Connection: upgrade", "Upgrade: websocket"]
        } else if case .length(let length) = head.framing {
            fields.append("Content-Length: \(length)")
        }
    }

    /// The answer to a rejection: a problem, or what a browser is told instead.
    private mutating func writeAnswer(
        _ rejection: Rejection, _ bytes: [UInt8], _ snapshot: borrowing PolicySnapshot
    ) {
        status = rejection.redirection == nil ? rejection.status : 308
        if let redirection = rejection.redirection {
            code = .ok
            let location = Self.written {
                snapshot.appendLocation(redirection, bytes: bytes.span, to: &$0)
            }
            fields = Self.lines(location) + ["Content-Length: 0"]
            return
        }
        switch rejection.form {
        case .problem:
            writeAnswer()
        case .preflight:
            fields = Self.lines(Self.written { snapshot.appendPreflight(rejection, to: &$0) })
        case .signIn(let path):
            let place = Array(Self.written { path.append(bytes.span, to: &$0) }.utf8)
            let location = Self.written {
                snapshot.appendSignIn(rejection, path: place.span, to: &$0)
            }
            fields = ["Content-Length: 0", "Cache-Control: no-store"] + Self.lines(location)
        }
    }

    /// The answer of the proxy's own, but for what is of the moment.
    private mutating func writeAnswer() {
        fields = ["Content-Type: \(Problem.mediaType)", "Cache-Control: no-store"]
        if code.status == 503 { fields.append("Retry-After: 1") }
        if code == .methodNotAllowed { fields.append("\(Problem.allowField)") }
        status = code.status
        let code = code
        body = Self.written { Problem.append(code, to: &$0) }
    }

    /// The step that a rejection comes from: each has codes of its own.
    private static func step(_ rejection: Rejection) -> Step {
        switch rejection.code {
        case .ok, .noRoute: .route
        case .rateLimited: .rateLimit
        case .tokenMissing, .tokenInvalid, .tokenExpired, .keysUnavailable, .originRefused,
            .authenticationUnavailable:
            .authentication
        case .notYours, .notFound, .forbidden: .requirements
        case .insufficientScope: .scopes
        case .internalError: .forward
        default: rejection.route == nil ? .request : .authentication
        }
    }

    // MARK: Text

    private static func written(_ body: (inout Buffer) -> Bool) -> String {
        var pool = BlockPool(keptBytes: 0)
        var buffer = Buffer()
        buffer.attach(from: &pool, .large)
        defer { buffer.detach(to: &pool) }
        return body(&buffer) ? text(buffer.bytes) : ""
    }

    private static func text(_ bytes: Span<UInt8>) -> String {
        var copy: [UInt8] = []
        for index in bytes.indices { copy.append(bytes[index]) }
        return String(decoding: copy, as: UTF8.self)
    }

    private static func lines(_ text: String) -> [String] {
        text.utf8.split(separator: UInt8(ascii: "\n")).map { line in
            String(decoding: line.last == UInt8(ascii: "\r") ? line.dropLast() : line, as: UTF8.self)
        }
    }
}
