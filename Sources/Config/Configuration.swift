public import JOSE
public import Proxy

/// Everything that `usher.toml` says, complete and valid: defaults filled in, secrets and key files read,
/// names checked. A value of this type is only worth running when the load reported no error.
public struct Configuration: Sendable, Equatable {
    /// Event-loop threads (`workers`).
    public var workers: WorkerCount
    /// Listeners in the order of the file; at least one.
    public var listeners: [ListenerConfiguration]
    /// Upstreams in the order of the file.
    public var upstreams: [UpstreamConfiguration]
    /// Issuers in the order of the file.
    public var issuers: [IssuerConfiguration]
    /// Sessions in the order of the file.
    public var sessions: [SessionConfiguration] = []
    /// Which headers carry the identity, and which are taken away from clients.
    public var identity: IdentityConfiguration
    /// Routes, the most specific first (see `RouteOrder`).
    public var routes: [RouteConfiguration]
    /// Rate limits in the order of the file.
    public var rateLimits: [RateLimitConfiguration]
    /// Rules for pages of other origins, in the order of the file.
    public var crossOrigins: [CrossOriginConfiguration] = []
    /// Bounds on what one client can cost.
    public var limits: LimitsConfiguration
    /// Application log and access log.
    public var log: LogConfiguration
    /// The admin listener; nil = off.
    public var admin: AdminConfiguration?
    /// Revoked tokens; nil where nothing can be revoked.
    public var revocation: RevocationConfiguration?
    /// The store that several proxies have in common; nil = none.
    public var shared: SharedConfiguration? = nil
    /// Where the next process asks for the listening sockets of this one; nil = nowhere.
    public var takeover: TakeoverConfiguration? = nil
    /// Where spans of requests go; nil: none are recorded.
    public var tracing: TracingConfiguration?
    /// Reload whenever the file, or one that it names, changes.
    public var watch = false

    /// The place of an upstream in `upstreams`, or nil when there is none of that name.
    public func upstreamIndex(named name: String) -> Int? {
        upstreams.firstIndex { $0.name == name }
    }

    /// The place of an issuer in `issuers`, or nil when there is none of that name.
    public func issuerIndex(named name: String) -> Int? {
        issuers.firstIndex { $0.name == name }
    }

    /// The place of a rule in `crossOrigins`, or nil when there is none of that name.
    public func crossOriginIndex(named name: String) -> Int? {
        crossOrigins.firstIndex { $0.name == name }
    }

    /// The place of a rate limit in `rateLimits`, or nil when there is none of that name.
    public func rateLimitIndex(named name: String) -> Int? {
        rateLimits.firstIndex { $0.name == name }
    }
}

/// How many event loops to run.
public enum WorkerCount: Sendable, Equatable {
    /// As many as this process may use CPUs (affinity and cgroup quota).
    case automatic
    /// Exactly so many, 1 to 1024.
    case count(Int)
}

/// One `[listen.NAME]` table.
public struct ListenerConfiguration: Sendable, Equatable {
    /// The table's name.
    public var name: String
    /// Where to listen: an IP address with a port, or a Unix socket.
    public var address: EndpointAddress
    /// Peers whose `X-Forwarded-*` and `Forwarded` are believed; never everybody (H9).
    public var trustedProxies: [AddressRange]
    /// Every connection begins with a PROXY header, and comes from a trusted proxy.
    public var proxyProtocol: Bool
    /// True for `mode = "forward-auth"`: requests are questions of a proxy in front about its clients' requests.
    public var answersForwardAuth = false
    /// The versions of HTTP that it speaks (`protocols`).
    public var protocols = ProtocolSet.http1
    /// Not nil for `mode = "redirect"`: requests are sent to the same place over TLS, at this port.
    public var redirectPort: UInt16? = nil
    /// TLS; nil where connections are plain.
    public var tls: ListenerTLSConfiguration? = nil
    /// Where the file says `address`.
    public var position: SourcePosition
}

/// The `[admin]` table.
public struct AdminConfiguration: Sendable, Equatable {
    /// Where to listen.
    public var address: EndpointAddress
    /// What a call that changes something must bear; nil = such calls only on loopback and Unix sockets.
    public var token: Secret? = nil
    /// Host names under which the pages may be asked for, besides addresses and names without a dot; in lower case.
    public var names: [String] = []
    /// Where the file says `address`.
    public var position: SourcePosition
}

/// The key `takeover`.
public struct TakeoverConfiguration: Sendable, Equatable {
    /// The path of a Unix socket.
    public var path: String
    /// Where the file says it.
    public var position: SourcePosition
}

/// The `[revocation]` table.
public struct RevocationConfiguration: Sendable, Equatable {
    /// The list that is watched, resolved; nil where tokens are revoked on the admin listener alone.
    public var file: String?
    /// What it said when the configuration was loaded.
    public var list: RevocationList
}

/// The `[identity]` table.
public struct IdentityConfiguration: Sendable, Equatable {
    /// Header to claim, in the order of the file; names are distinct after folding (H1, H2).
    public var headers: [IdentityHeader]
    /// Further names and `Prefix-*` patterns removed from every request.
    public var strip: [HeaderPattern]
}

/// One identity header and the claim that fills it.
public struct IdentityHeader: Sendable, Equatable {
    /// A valid field name (RFC 9110, 5.1), as written in the file.
    public var name: String
    /// A claim name, or a path of names joined by dots.
    public var claim: String
    /// Where the file names the header.
    public var position: SourcePosition
}

/// A header name to strip, or all names with a prefix.
public struct HeaderPattern: Sendable, Equatable {
    /// The name, or the part before `*`; as written in the file.
    public var name: String
    /// True for `Name*`: every name that begins so.
    public var isPrefix: Bool
}

/// The `[limits]` table: sizes in bytes, times as durations.
public struct LimitsConfiguration: Sendable, Equatable {
    /// A whole request head, 1 KiB to 240 KiB.
    public var headerBytes: Int = 32 * 1024
    /// Field lines in a request head, 1 to 1000.
    public var headerCount: Int = 100
    /// A request target, at most `headerBytes`.
    public var targetBytes: Int = 8 * 1024
    /// A bearer token, at most 16 KiB (J12) and at most `headerBytes`.
    public var tokenBytes: Int = 8 * 1024
    /// Open client connections; nil = derived from the file-descriptor limit.
    public var connections: Int? = nil
    /// Memory of buffers from which on nothing new is taken on; nil = half of what the control group allows.
    public var bufferBytes: Int? = nil
    /// Open client connections of one address; nil = no bound.
    public var connectionsPerAddress: Int? = nil
    /// From the connection to the end of the TLS handshake.
    public var handshakeTimeout: Duration = .seconds(10)
    /// From the first byte of a head to its end.
    public var headerTimeout: Duration = .seconds(10)
    /// Of a kept-alive client connection between two requests.
    public var idleTimeout: Duration = .seconds(75)
    /// Between two reads of a body.
    public var bodyTimeout: Duration = .seconds(30)
    /// For requests in flight when the process is told to stop.
    public var drainTimeout: Duration = .seconds(30)
    /// Tokens of one address that may fail to verify; nil = no bound.
    public var failedAuthentications: RateConfiguration? = nil
    /// Verified tokens remembered by each worker, at least 1.
    public var tokensCached: Int = 10_000
}

/// The `[log]` table.
public struct LogConfiguration: Sendable, Equatable {
    /// The least level that is written.
    public var level: LogLevel = .info
    /// Nil = text on a terminal, JSON elsewhere.
    public var format: LogFormat? = nil
    /// Where access lines go.
    public var access: AccessLogDestination = .standardOutput
    /// The form of access lines.
    public var accessForm: AccessLogForm = .json
    /// Which share of the requests gets a line, 0 to 1, by the class of the status: five shares, that of 1xx first.
    public var sample: [Double] = [1, 1, 1, 1, 1]
}

/// The form of access lines.
public enum AccessLogForm: String, Sendable, Equatable, CaseIterable {
    /// One JSON object a line.
    case json
    /// The "combined" form of web servers.
    case combined
}

/// Levels of the application log, by swift-log's names.
public enum LogLevel: String, Sendable, Equatable, CaseIterable {
    /// Every step.
    case trace
    /// What a developer wants to know.
    case debug
    /// What an operator wants to know.
    case info
    /// Worth a look.
    case notice
    /// Something is off, and was handled.
    case warning
    /// Something failed.
    case error
    /// The process cannot go on.
    case critical
}

/// The form of application log lines.
public enum LogFormat: String, Sendable, Equatable, CaseIterable {
    /// One JSON object a line.
    case json
    /// One line of text.
    case text
}

/// Where access lines go.
public enum AccessLogDestination: Sendable, Equatable {
    /// Nowhere.
    case off
    /// Standard output.
    case standardOutput
    /// Appended to a file; an absolute path, or relative to the working directory if the configuration's is.
    case file(path: String)
}
