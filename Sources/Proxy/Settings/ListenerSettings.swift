public import Reactor
public import TLS

/// A listener as the configuration describes it.
public struct ListenerSettings: Sendable, Equatable {
    /// The name of its table.
    public var name: String
    /// Where it listens.
    public var address: SocketAddress
    /// What it does with a request.
    public var mode: ListenerMode
    /// Every connection begins with a PROXY header and comes from a trusted proxy.
    public var expectsProxyHeader: Bool
    /// The versions of HTTP that it speaks.
    public var protocols = ProtocolSet.http1
    /// TLS; nil where connections are plain.
    public var security: TLSServerSettings?
    /// What answers over TLS say of its use in the future.
    public var strictTransportSecurity = StrictTransportSecurity.none

    /// The listener of that name and address.
    public init(
        name: String, address: SocketAddress, mode: ListenerMode = .proxy, expectsProxyHeader: Bool = false
    ) {
        self.name = name
        self.address = address
        self.mode = mode
        self.expectsProxyHeader = expectsProxyHeader
    }

    /// True where a PROXY header is taken from trusted proxies alone: on a Unix socket it is from everybody.
    var asksWhoGreets: Bool {
        if case .unix = address { return false }
        return expectsProxyHeader
    }

    /// True where a connection that began under `other` has proven what one that begins now must: which authorities know its
    /// client, and whether a proxy tells its address.
    func welcomes(asBefore other: ListenerSettings) -> Bool {
        security?.clients == other.security?.clients && expectsProxyHeader == other.expectsProxyHeader
            && mode == other.mode
    }
}

/// What a listener does with a request that is allowed.
public enum ListenerMode: Sendable, Equatable {
    /// It goes to the upstream.
    case proxy
    /// The request was a question about another one, and is answered with 200 and the identity headers.
    case forwardAuth
    /// Nothing: the client is sent to the same place over TLS, at that port.
    case redirect(port: UInt16)
}

/// The versions of HTTP that a listener speaks.
public struct ProtocolSet: OptionSet, Sendable, Hashable {
    /// The bits.
    public let rawValue: UInt8

    /// The set with these bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// HTTP/1.1, and HTTP/1.0 with it.
    public static var http1: ProtocolSet { ProtocolSet(rawValue: 1) }
    /// HTTP/2: where ALPN says so, and with prior knowledge on a listener without TLS.
    public static var http2: ProtocolSet { ProtocolSet(rawValue: 2) }
}
