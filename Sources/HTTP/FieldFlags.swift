/// What must be known about a field before it is passed on. The lower bits belong to the name, the upper ones to
/// one line.
public struct FieldFlags: OptionSet, Sendable, BitwiseCopyable {
    /// The bits.
    public let rawValue: UInt16

    /// The flags with these bits.
    @inlinable
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Meant for this connection only, never passed on (RFC 9110 §7.6.1).
    @inlinable public static var hopByHop: FieldFlags { FieldFlags(rawValue: 1) }
    /// Says where the message ends: read, and written anew (RFC 9112 §6).
    @inlinable public static var framing: FieldFlags { FieldFlags(rawValue: 2) }
    /// Says who forwarded what: a client's own is removed or replaced (rule H8).
    @inlinable public static var forwarding: FieldFlags { FieldFlags(rawValue: 4) }
    /// Claims a verified client certificate: a client's own is always removed (rule H6).
    @inlinable public static var clientCertificate: FieldFlags { FieldFlags(rawValue: 8) }
    /// Never passed on, whoever sent it: `Proxy` (rule H12), `HTTP2-Settings`.
    @inlinable public static var neverForwarded: FieldFlags { FieldFlags(rawValue: 16) }
    /// Decides something and has one value: more than one line refuses the request (rule H7).
    @inlinable public static var singleton: FieldFlags { FieldFlags(rawValue: 32) }
    /// Must not stand in a trailer section, and is dropped there (RFC 9110 §6.5.1).
    @inlinable public static var forbiddenInTrailers: FieldFlags { FieldFlags(rawValue: 64) }
    /// Of this line: `Connection` nominates its name, so it is not passed on (rule H5).
    @inlinable public static var nominated: FieldFlags { FieldFlags(rawValue: 128) }
    /// Of this line: it is exactly `name: value` CRLF and can be copied as it is.
    @inlinable public static var canonical: FieldFlags { FieldFlags(rawValue: 256) }
    /// Of this line: another spelling (`X_Forwarded_For`) of a known name, whose flags it bears (rules H1, H2).
    @inlinable public static var alias: FieldFlags { FieldFlags(rawValue: 512) }

    /// What no client's request may carry through to a backend, whoever sent it: a line with any of these is left out.
    /// One with `forwarding` is, unless a trusted proxy sent it.
    @inlinable public static var removedFromRequest: FieldFlags {
        [.hopByHop, .framing, .clientCertificate, .neverForwarded, .nominated]
    }
    /// What no backend's answer may carry through to a client.
    @inlinable public static var removedFromResponse: FieldFlags {
        [.hopByHop, .framing, .neverForwarded, .nominated]
    }
    /// What is left out of a trailer section.
    @inlinable public static var removedFromTrailers: FieldFlags {
        [
            .hopByHop, .framing, .forwarding, .clientCertificate, .neverForwarded, .nominated,
            .forbiddenInTrailers,
        ]
    }
}
