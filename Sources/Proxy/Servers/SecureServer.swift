internal import Bytes
internal import HTTP
internal import Reactor
internal import TLS
internal import Telemetry
internal import Upstream

// Step 4b: a connection to a server begins with a TLS handshake, where its upstream says so. A server that does not
// prove its name is not there: nothing of the request has been sent, and another server may be tried.

extension Worker {
    /// TLS to the servers of an upstream; nil where connections are plain. The control thread has made the same before:
    /// a failure is a lack of memory, and then no connection is made, never a plain one.
    func serverSecurity(_ settings: UpstreamSettings) -> TLSClientContext? {
        guard let security = settings.security else { return nil }
        return try? TLSClientContext(security)
    }

    /// Begins the handshake on a connection that was just made.
    mutating func beginHandshake(withServer server: UInt32) {
        let upstream = servers[server].pool.index
        let own = ServerName.of(servers[server].server, &pools[upstream])
        guard let context = poolSecurity[upstream] else { return handshakeFailed(server, .badServerName) }
        let name = context.settings.serverName.map { ServerName(host: $0) } ?? own
        guard
            servers[server].transport.secure(
                by: context, server: name.host, isAddress: name.isAddress, number: servers[server].server)
        else { return handshakeFailed(server, .badServerName) }
        servers[server].phase = .handshaking
        servers[server].transport.isReadable = true
        shakeHands(withServer: server)
    }

    /// Goes on with the handshake with a server.
    mutating func shakeHands(withServer server: UInt32) {
        guard servers[server].transport.isReadable || servers[server].transport.isBroken else { return }
        switch servers[server].transport.shakeHands() {
        case .needsInput, .needsRoom: break
        case .done:
            counters.add(1, to: .upstreamTLSHandshakes)
            startExchange(server)
        case .failed(let error): handshakeFailed(server, error)
        }
    }

    private mutating func handshakeFailed(_ server: UInt32, _ error: TLSError) {
        let exchange = servers[server].exchange.index
        let number = servers[server].server
        if !servers[server].carrier.isNone { return carrierFailed(servers[server].carrier, error.code) }
        counters.add(1, to: .upstreamConnectFailures)
        counters.add(1, to: .upstreamTLSHandshakeFailures)
        exchanges[exchange].notes.note(refusal: error.code)
        closeServer(server, wasBusy: true)
        connectFailed(exchange, server: number)
    }
}

/// The name that a server has to prove.
public struct ServerName: Sendable, Equatable {
    /// A host name, or an IP address as text without brackets.
    public let host: String
    /// True for an IP address, which is proven otherwise than a name (RFC 9525 §6.5).
    public let isAddress: Bool

    /// The name `host`, which stands without a port.
    public init(host: String) {
        self.host = host
        isAddress = SocketAddress.numeric(host, port: 1) != nil
    }

    /// The host of `host:port`.
    public init(authority: String) {
        var text = authority
        if let colon = text.lastIndex(of: ":"), text[text.index(after: colon)...].allSatisfy(\.isNumber) {
            text = String(text[..<colon])
        }
        if text.hasPrefix("["), text.hasSuffix("]") { text = String(text.dropFirst().dropLast()) }
        if text.hasSuffix(".") { text.removeLast() }
        self.init(host: text)
    }

    /// That of a server of a pool, by the way the configuration names it.
    static func of(_ server: Int, _ pool: inout UpstreamPool) -> ServerName {
        let authority = pool.authority(ofServer: server)
        return ServerName(
            authority: String(decoding: authority.indices.map { authority[$0] }, as: UTF8.self))
    }
}

extension TLSError {
    /// Why a server was not believed, as the access log names it in `detail`.
    var code: StaticString {
        switch self {
        case .certificate(let reason):
            switch reason {
            case "certificate has expired": "server_certificate_expired"
            case "certificate is not yet valid": "server_certificate_not_yet_valid"
            case "hostname mismatch", "IP address mismatch": "server_certificate_for_another_name"
            case "self-signed certificate", "self-signed certificate in certificate chain":
                "server_certificate_self_signed"
            case "unable to get local issuer certificate", "unable to verify the first certificate":
                "server_certificate_of_unknown_authority"
            default: "server_certificate_refused"
            }
        case .badServerName, .noAuthorities, .outOfMemory, .protocolViolation, .plainHTTP:
            "server_tls_failed"
        }
    }
}
