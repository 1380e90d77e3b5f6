public import Policy

/// One `[[route]]` table.
public struct RouteConfiguration: Sendable, Equatable {
    /// Hosts in lower case without port and trailing dot (P5); empty = every host.
    public var hosts: [String]
    /// Methods; empty = every method.
    public var methods: [String]
    /// The path template.
    public var path: PathPattern
    /// Who may call.
    public var authentication: RouteAuthentication
    /// Alternatives of which one must hold entirely; empty = nothing is required.
    public var require: [ClaimRequirement]
    /// Scopes of which all are needed.
    public var scopes: [String]
    /// The status for a caller who fails `require`: 403 or 404.
    public var denied: Int
    /// The upstream's name; it exists, unless requests are redirected: then it is empty.
    public var upstream: String
    /// Not nil: requests are sent to the same place over TLS, at this port.
    public var redirectPort: UInt16? = nil
    /// For the whole exchange; nil = no bound (`"off"`).
    public var timeout: Duration?
    /// Bytes of request body; nil = no bound (`"off"`).
    public var maxBodyBytes: Int?
    /// Taken off the front of the path that the backend sees: begins with `/`, does not end with it.
    public var stripPrefix: String?
    /// What becomes of a tunnel or a long answer when its token expires.
    public var streamLifetime: StreamLifetime
    /// The name of a rate limit, which exists; nil = none.
    public var rateLimit: String?
    /// The name of a rule for other origins, which exists; nil leaves them to the backend.
    public var crossOrigin: String?
    /// Where browsers go that ask for a page without valid credentials: an absolute URL or a path.
    public var signIn: String?
    /// Where the file begins the route.
    public var position: SourcePosition
}

extension RouteConfiguration: RankedRoute {
    /// The segments of its path, from the left.
    public var rankedSegments: [RankedSegment] {
        path.segments.map { segment in
            switch segment {
            case .literal(let text): .literal(text)
            case .capture: .capture
            case .rest: .rest
            }
        }
    }
}

/// How long a tunnel or a long answer may go on.
public enum StreamLifetime: String, Sendable, Equatable, CaseIterable {
    /// Until the token that permitted it expires.
    case token
    /// As long as both sides like.
    case unlimited
}

/// Who may call a route.
public enum RouteAuthentication: Sendable, Equatable {
    /// Everybody; no token is looked at (`auth = "none"`).
    case open
    /// A valid token of one of these issuers.
    case required(issuers: [String])
    /// No token, or a valid token of one of these issuers; a bad token is still 401 (J15).
    case optional(issuers: [String])
}

/// Claims that must all hold.
public struct ClaimRequirement: Sendable, Equatable {
    /// The entries in the order of the file.
    public var entries: [RequiredClaim]
}

/// One claim and the values of which one must be the claim's.
public struct RequiredClaim: Sendable, Equatable {
    /// A claim name, or a path of names joined by dots.
    public var claim: String
    /// At least one value.
    public var anyOf: [ClaimExpectation]
}

/// What a claim is compared with: text in which `{name}` stands for what the path holds there.
public struct ClaimExpectation: Sendable, Equatable {
    /// A stretch of the text.
    public enum Part: Sendable, Equatable {
        /// Exactly this.
        case literal(String)
        /// What the path holds at that capture.
        case capture(String)
    }

    /// The stretches from left to right.
    public let parts: [Part]
    /// The text as the file writes it, variables expanded.
    public let text: String

    /// The captures that it needs.
    public var captureNames: [String] {
        parts.compactMap { if case .capture(let name) = $0 { name } else { nil } }
    }
}
