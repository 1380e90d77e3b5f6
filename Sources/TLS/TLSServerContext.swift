internal import COpenSSL
internal import CTLS

/// What the TLS sessions of a listener have in common: certificates, versions, whom to ask for a certificate.
///
/// Not Sendable: each worker makes its own, so that no reference is counted across threads; only the keys of tickets
/// are shared.
@safe public final class TLSServerContext {
    /// What it was made of.
    public let settings: TLSServerSettings
    /// About each certificate, in the order of the settings.
    public var facts: [CertificateFacts] { certificates.map(\.facts) }
    private let tickets: TicketKeys
    private let certificates: [CertifiedKey]
    private let choice: CertificateChoice
    /// OpenSSL's contexts, one for each set of certificates that some host gets; the first is for everybody else.
    /// SAFETY: each is owned by this object, from `addContext` to `deinit`.
    private var contexts: [OpaquePointer] = unsafe []

    /// Compiles the settings. What the context of the same thread before has parsed is not parsed again: a certificate takes
    /// up to a millisecond, a listener may have hundreds, and mostly one of them is renewed.
    public init(
        _ settings: TLSServerSettings, tickets: TicketKeys, renewing before: TLSServerContext? = nil
    ) throws(CertificateFault) {
        var certificates: [CertifiedKey] = []
        for text in settings.certificates {
            if let parsed = before?.certificate(text) {
                certificates.append(parsed)
            } else {
                certificates.append(try CertifiedKey(text))
            }
        }
        guard !certificates.isEmpty else { throw .noCertificate }
        self.settings = settings
        self.tickets = tickets
        self.certificates = certificates
        choice = CertificateChoice(certificates.map { ($0.kind, $0.facts.hosts) })
        for set in choice.sets { try addContext(set) }
    }

    deinit {
        // SAFETY: owned by this object; sessions hold references of their own, and keep this object alive besides,
        // whose address the contexts know.
        while let context = unsafe contexts.popLast() { unsafe SSL_CTX_free(context) }
    }

    /// The context that a session starts with.
    var first: OpaquePointer { unsafe contexts[0] }

    /// The parsed pair of that text; nil where there is none.
    private func certificate(_ text: CertifiedKeyText) -> CertifiedKey? {
        settings.certificates.firstIndex(of: text).map { certificates[$0] }
    }

    private func addContext(_ set: [Int]) throws(CertificateFault) {
        ERR_clear_error()
        let made = unsafe usher_tls_new_server_context(
            settings.requiresTLS13 ? 1 : 0, settings.issuesTickets ? 1 : 0)
        guard let context = unsafe made else { throw .outOfMemory }
        unsafe contexts.append(context)
        let owner = unsafe Unmanaged.passUnretained(self).toOpaque()
        // SAFETY: the context knows this object's address; whoever uses the context keeps the object alive.
        unsafe usher_tls_set_owner(context, owner)
        for place in set { try unsafe certificates[place].use(in: context) }
        try unsafe askClients(context)
        try unsafe limitSessions(context)
        let protocols = unsafe usher_tls_set_protocols(context, settings.protocols.mask, 1)
        guard protocols == 1 else { throw .outOfMemory }
        unsafe usher_tls_set_server_name_callback(context, TLSServerContext.nameCallback, owner)
        unsafe usher_tls_set_status_callback(context, TLSServerContext.statusCallback)
        if settings.issuesTickets {
            unsafe SSL_CTX_set_tlsext_ticket_key_evp_cb(context, TLSServerContext.ticketCallback)
        }
    }

    private func askClients(_ context: OpaquePointer) throws(CertificateFault) {
        guard let authorities = settings.clients.authorities else { return }
        guard let count = Int32(exactly: authorities.count) else { throw .noAuthorities }
        var isRequired = false
        if case .required = settings.clients { isRequired = true }
        let added = unsafe authorities.withUnsafeBytes { text in
            // SAFETY: the text is read during the call, and has `count` bytes.
            unsafe usher_tls_ask_clients(context, text.baseAddress, count, isRequired ? 1 : 0)
        }
        guard added > 0 else { throw .noAuthorities }
    }

    /// A session that began under other rules for clients, or at another listener, is not taken up again.
    private func limitSessions(_ context: OpaquePointer) throws(CertificateFault) {
        var scope = Array(settings.name.utf8) + [0]
        switch settings.clients {
        case .ignored: scope.append(0)
        case .optional(let authorities): scope += [1] + authorities
        case .required(let authorities): scope += [2] + authorities
        }
        var digest = InlineArray<32, UInt8>(repeating: 0)
        let done = unsafe withUnsafeMutableBytes(of: &digest) { room in
            // SAFETY: 32 bytes of room for a SHA-256, read again at once.
            guard let start = unsafe room.baseAddress?.assumingMemoryBound(to: UInt8.self) else {
                return false
            }
            unsafe SHA256(scope, scope.count, start)
            return unsafe usher_tls_limit_sessions(context, start, 32, Int(TicketKeys.sessionSeconds)) == 1
        }
        guard done else { throw .outOfMemory }
    }

    // MARK: Call-backs

    private static func owner(_ session: OpaquePointer) -> TLSServerContext? {
        // SAFETY: every context that can be a session's knows the object that made it, which the session keeps alive.
        guard let address = unsafe usher_tls_owner(session) else { return nil }
        return unsafe Unmanaged<TLSServerContext>.fromOpaque(address).takeUnretainedValue()
    }

    /// The client has said which host it wants: chooses the certificates (RFC 6066 §3).
    private static let nameCallback:
        @convention(c) (OpaquePointer?, UnsafeMutablePointer<Int32>?, UnsafeMutableRawPointer?) -> Int32 = {
            session, _, _ in
            guard let session = unsafe session, let owner = unsafe TLSServerContext.owner(session),
                let name = unsafe SSL_get_servername(session, TLSEXT_NAMETYPE_host_name)
            else { return SSL_TLSEXT_ERR_NOACK }
            let place = unsafe owner.choice.set(forHost: String(cString: name))
            guard let place else { return SSL_TLSEXT_ERR_NOACK }
            unsafe SSL_set_SSL_CTX(session, owner.contexts[place])
            return SSL_TLSEXT_ERR_OK
        }

    /// The client asks for the status of the certificate that was chosen (RFC 6066 §8).
    private static let statusCallback: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Int32 = {
        session, _ in
        guard let session = unsafe session, let owner = unsafe TLSServerContext.owner(session) else {
            return SSL_TLSEXT_ERR_NOACK
        }
        let shown = unsafe SSL_get_certificate(session)
        guard let certificate = owner.certificates.first(where: { unsafe $0.isLeaf(shown) }),
            let status = certificate.status, certificate.statusEnd > Wall.seconds()
        else { return SSL_TLSEXT_ERR_NOACK }
        // SAFETY: the bytes are copied during the call.
        let done = unsafe status.withUnsafeBytes {
            unsafe usher_tls_staple(session, $0.baseAddress, $0.count)
        }
        return done == 1 ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK
    }

    private static let ticketCallback:
        @convention(c) (
            OpaquePointer?, UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<UInt8>?, OpaquePointer?,
            OpaquePointer?, Int32
        ) -> Int32 = { session, name, iv, cipher, mac, encrypts in
            guard let session = unsafe session, let name = unsafe name, let iv = unsafe iv,
                let cipher = unsafe cipher, let mac = unsafe mac,
                let owner = unsafe TLSServerContext.owner(session)
            else { return -1 }
            return unsafe owner.tickets.prepare(name, iv, cipher, mac, encrypts: encrypts == 1)
        }
}

extension [ApplicationProtocol] {
    /// The list in the form of CTLS.
    var mask: Int32 {
        switch (contains(.http11), contains(.h2), first) {
        case (true, true, .h2): Int32(USHER_ALPN_H2_HTTP1)
        case (true, true, _): Int32(USHER_ALPN_HTTP1_H2)
        case (true, false, _): Int32(USHER_ALPN_HTTP1)
        case (false, true, _): Int32(USHER_ALPN_H2)
        case (false, false, _): Int32(USHER_ALPN_NONE)
        }
    }
}

/// Which certificates a host gets: of each kind of key one.
struct CertificateChoice {
    /// Sets of certificates, as places in the list; the first set is for clients that name no host, or an unknown one.
    private(set) var sets: [[Int]] = []
    private var exact: [String: Int] = [:]
    /// By what follows `*.`.
    private var wildcard: [String: Int] = [:]

    init(_ certificates: [(kind: CertifiedKey.Kind, hosts: [String])]) {
        let first = certificates[0]
        let rest = certificates.indices.filter { place in
            place == 0 || !Set(certificates[place].hosts).isDisjoint(with: first.hosts)
        }
        sets = [Self.oneOfEachKind(rest, certificates)]
        for host in Set(certificates.flatMap(\.hosts)) {
            let matching = Self.matching(host, certificates)
            if host.hasPrefix("*.") {
                wildcard[String(host.dropFirst(2))] = place(of: Self.oneOfEachKind(matching, certificates))
            } else {
                exact[host] = place(of: Self.oneOfEachKind(matching, certificates))
            }
        }
    }

    /// The set for that host, which may come in any case and with a dot at its end; nil where none is for it.
    func set(forHost name: String) -> Int? {
        var host = name.lowercased()
        if host.hasSuffix(".") { host.removeLast() }
        if let place = exact[host] { return place }
        guard let dot = host.firstIndex(of: "."), dot != host.startIndex else { return nil }
        return wildcard[String(host[host.index(after: dot)...])]
    }

    /// Those that name the host itself, then those that have it below a wildcard.
    private static func matching(
        _ host: String, _ certificates: [(kind: CertifiedKey.Kind, hosts: [String])]
    ) -> [Int] {
        let named = certificates.indices.filter { certificates[$0].hosts.contains(host) }
        guard !host.hasPrefix("*."), let dot = host.firstIndex(of: ".") else { return named }
        let above = "*" + host[dot...]
        return named + certificates.indices.filter { certificates[$0].hosts.contains(above) }
    }

    private static func oneOfEachKind(
        _ places: [Int], _ certificates: [(kind: CertifiedKey.Kind, hosts: [String])]
    ) -> [Int] {
        var chosen: [Int] = []
        for place in places
        where !chosen.contains(where: { certificates[$0].kind == certificates[place].kind }) {
            chosen.append(place)
        }
        return chosen
    }

    private mutating func place(of set: [Int]) -> Int {
        if let known = sets.firstIndex(of: set) { return known }
        sets.append(set)
        return sets.count - 1
    }
}
