public import Bytes
public import HTTP

/// An answer that sends the client to the same place over TLS: `redirect = "https"` of a route, or `mode = "redirect"`
/// of a listener. The ranges are of the head's bytes.
public struct Redirection: Sendable, BitwiseCopyable {
    /// The host that the request names, without its port.
    let host: ByteRange
    /// Path and query, as they came.
    let target: ByteRange
    /// The port of the secure listener.
    let port: Int32
}

extension PolicySnapshot {
    /// The answer of a listener that sends everybody to the secure one. Path rules hold as ever: what could be read in
    /// two ways is refused, and not passed on to another request.
    public func redirect(
        head: borrowing RequestHead, bytes: Span<UInt8>, port: Int32
    ) -> Rejection {
        switch CanonicalTarget.parse(bytes, head) {
        case .refused(let fault): Rejection(fault.code, fault: fault, closesConnection: true)
        case .canonical(let target): redirection(to: target, head, bytes, port: port, route: nil)
        }
    }

    /// The answer of a route that sends plain requests to the secure listener. Over TLS already there is nothing behind
    /// it, and sending the client on would be for ever.
    func redirection(
        _ route: CompiledRoute, _ target: CanonicalTarget, _ head: borrowing RequestHead,
        _ bytes: Span<UInt8>,
        _ peer: borrowing PeerFacts
    ) -> Rejection {
        guard !isSecure(head, bytes, peer) else { return Rejection(.noRoute) }
        return redirection(
            to: target, head, bytes, port: route.redirectPort, route: Int(route.specIndex))
    }

    private func redirection(
        to target: CanonicalTarget, _ head: borrowing RequestHead, _ bytes: Span<UInt8>, port: Int32,
        route: Int?
    ) -> Rejection {
        guard target.form != .asterisk, let host = Authority.parse(bytes, head.host)?.name else {
            return Rejection(.badRequest, route: route, fault: .missingHost, closesConnection: true)
        }
        var rejection = Rejection(.noRoute, route: route)
        rejection.redirection = Redirection(host: host, target: target.pathAndQuery, port: port)
        return rejection
    }

    /// True where the client speaks TLS: with us, or with the trusted proxy in front, which says so.
    private func isSecure(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ peer: borrowing PeerFacts
    ) -> Bool {
        if peer.isSecure { return true }
        guard let told = toldOrigin(head, bytes, peer), !told.isSchemeAmbiguous else { return false }
        return ForwardedScheme.isSecure(bytes.slice(told.proto)) == true
    }

    /// Adds the `Location` line; false where it does not fit.
    public func appendLocation(
        _ redirection: Redirection, bytes: Span<UInt8>, to buffer: inout Buffer
    ) -> Bool {
        let target = bytes.slice(redirection.target)
        let hasPath = target.count > 0 && target[0] == UInt8(ascii: "/")
        return buffer.append("Location: https://") && buffer.append(bytes.slice(redirection.host))
            && Self.append(port: redirection.port, to: &buffer) && (hasPath || buffer.append("/"))
            && buffer.append(target) && buffer.append("\r\n")
    }

    private static func append(port: Int32, to buffer: inout Buffer) -> Bool {
        guard port != 443 else { return true }
        guard buffer.append(":") else { return false }
        for digit in String(port).utf8 { guard buffer.append(digit) else { return false } }
        return true
    }
}
