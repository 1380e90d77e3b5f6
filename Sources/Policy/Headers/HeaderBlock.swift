public import Bytes
public import HTTP
internal import JOSE

/// The one place that writes what goes upstream of a request's fields: the client's are stripped here, and the
/// proven identity is set here, on every route and every listener alike (H1 to H6, H12).
extension PolicySnapshot {
    /// Adds the field lines for the upstream, each with CRLF, without the empty line behind them: `Host`, what is
    /// kept of the client's, `Authorization` as the upstream wants it, the identity, and who forwarded.
    ///
    /// Left to the caller: `Connection`, `Content-Length`, `Transfer-Encoding`, `TE`, `Upgrade`; `Expect` is not
    /// passed on, the proxy answers it.
    ///
    /// - Parameters:
    ///   - head: the client's head, and `bytes`, which it was parsed out of.
    ///   - permit: what `decide` gave for it, in the same turn.
    ///   - certificate: what the client has proven by its certificate.
    ///   - requestID: the value of `X-Request-Id`.
    ///   - serverAuthority: the value of `Host` where the client's is not preserved, or there is none.
    ///   - trace: the value of `traceparent`; empty where the client's own is passed on.
    ///   - keepsTraceState: the client's `tracestate` goes with the client's trace, and only with it.
    /// - Returns: false, and nothing is written, where the lines might not fit into the buffer's room.
    public func appendUpstreamFields(
        of head: borrowing RequestHead, bytes: Span<UInt8>, permit: borrowing Permit,
        peer: borrowing PeerFacts, certificate: borrowing ClientCertificate, requestID: Span<UInt8>,
        serverAuthority: Span<UInt8>, trace: Span<UInt8> = Span(), keepsTraceState: Bool = true,
        to buffer: inout Buffer
    ) -> Bool {
        let mode = authorizations.mode(permit.upstream)
        let credentials = credentials(mode, permit)
        let identityLines = identityLines(of: permit)
        let host =
            authorizations.preservesHost(permit.upstream) && !head.host.isEmpty
            ? bytes.slice(head.host) : serverAuthority
        // Every line that is rewritten gains at most the space behind its colon; the host is written three times. The
        // request line stands in the buffer already.
        let bound =
            Self.lineBytes(head) + head.fields.count + credentials.count + identityLines.count + host.count
            + 2 * Int(head.host.count) + requestID.count + trace.count + HeaderWriter.addedByteCount
            + identity.byteBound(certificate) + (permit.peerIsTrusted ? HeaderWriter.forwardedHostBytes : 0)
        guard buffer.room >= bound else { return false }

        HeaderWriter.put("Host: ", host, &buffer)
        let kept = appendKept(
            head, bytes, permit, forwardsAuthorization: mode.isForward, isTraced: !trace.isEmpty,
            keepsTraceState: keepsTraceState, &buffer)
        HeaderWriter.put(credentials, &buffer)
        HeaderWriter.put(identityLines, &buffer)
        identity.append(certificate, to: &buffer)
        appendForwarding(head, bytes, permit, peer, kept, &buffer)
        HeaderWriter.put(HeaderWriter.via(head.version), &buffer)
        HeaderWriter.put("X-Request-Id: ", requestID, &buffer)
        if !trace.isEmpty { HeaderWriter.put("traceparent: ", trace, &buffer) }
        return true
    }

    /// The size of the client's lines with what stands between them, in bytes: all of its head but the request line.
    private static func lineBytes(_ head: borrowing RequestHead) -> Int {
        head.fields.count > 0 ? head.byteCount - Int(head.fields[0].lineRange.start) : 0
    }

    /// Adds the trailer lines of a request that may go upstream: never an identity, a framing or a routing field.
    /// False, and nothing is written, where they might not fit.
    public func appendUpstreamTrailers(
        _ fields: borrowing FieldTable, bytes: Span<UInt8>, to buffer: inout Buffer
    ) -> Bool {
        guard buffer.room >= HeaderWriter.bound(fields) else { return false }
        var run = KeptRun()
        for index in 0..<fields.count {
            let line = fields[index]
            if line.flags.isDisjoint(with: .removedFromTrailers), !identity.strips(line, bytes) {
                run.keep(line, bytes, &buffer)
            }
        }
        run.flush(bytes, &buffer)
        return true
    }

    /// The line with the credentials that are not the client's, or nothing.
    @_lifetime(borrow self)
    func credentials(
        _ mode: UpstreamAuthorizationTable.Mode, _ permit: borrowing Permit
    ) -> Span<UInt8> {
        switch mode {
        case .remove, .forward: Span()
        case .line(let range): authorizations.line(range)
        case .mint: permit.isAnonymous ? Span() : cache.minted(permit.identity)
        }
    }

    /// Copies the client's lines that go upstream, contiguous ones at once, and notes what a trusted peer said.
    private func appendKept(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ permit: borrowing Permit,
        forwardsAuthorization: Bool, isTraced: Bool, keepsTraceState: Bool, _ buffer: inout Buffer
    ) -> PeerForwarding {
        var said = PeerForwarding()
        var run = KeptRun()
        // A proof goes with the token that it is for.
        let dropsProofs =
            !forwardsAuthorization && !tokenPlaces.provingIssuers.isDisjoint(with: permit.carried.issuers)
        for index in 0..<head.fields.count {
            let line = head.fields[index]
            guard line.flags.isDisjoint(with: .removedFromRequest), !identity.strips(line, bytes) else {
                continue
            }
            if line.flags.contains(.forwarding) {
                guard permit.peerIsTrusted, !line.flags.contains(.alias), said.note(line) else { continue }
            }
            switch line.name {
            case .host, .xRequestID, .expect: continue
            case .traceParent where isTraced: continue
            case .other where !keepsTraceState && line.isTraceState(bytes): continue
            case .authorization where !forwardsAuthorization: continue
            case .dpop where dropsProofs: continue
            case .cookie where losesCookies(permit.carried.issuers):
                run.flush(bytes, &buffer)
                appendCookies(
                    line.valueRange, bytes, permit.carried.issuers, keepsTokens: forwardsAuthorization,
                    &buffer)
                continue
            case .secWebSocketProtocol where permit.carried.isSubprotocol:
                run.flush(bytes, &buffer)
                Subprotocols.append(line.valueRange, bytes, &buffer)
                continue
            case .referer where tokenPlaces.readsQueries(permit.carried.issuers):
                run.flush(bytes, &buffer)
                appendWithoutQuery(line.valueRange, bytes, &buffer)
                continue
            default: break
            }
            run.keep(line, bytes, &buffer)
        }
        run.flush(bytes, &buffer)
        return said
    }

    /// Writes the page that a request comes from up to its query, which may have the token that opened it.
    private func appendWithoutQuery(_ page: ByteRange, _ bytes: Span<UInt8>, _ buffer: inout Buffer) {
        let text = bytes.slice(page)
        HeaderWriter.put("Referer: ", &buffer)
        let end = ASCII.firstIndex(of: UInt8(ascii: "?"), in: text, from: 0, to: text.count)
        HeaderWriter.put(text.extracting(first: end), &buffer)
        HeaderWriter.put("\r\n", &buffer)
    }

    /// True where one of them looks into cookies, so that some are not for the backend: those of sessions never are, and
    /// tokens only for one that gets the client's credentials, whichever way they came.
    private func losesCookies(_ issuers: IssuerSet) -> Bool {
        guard !issuers.isEmpty else { return false }
        return !sessionPlaces.all.isDisjoint(with: issuers) || tokenPlaces.readsCookies(issuers)
    }

    /// Copies the cookies but for those of sessions, and those that hold tokens unless they are kept, with what is between
    /// them: the line never gets longer than the client's, but for a space behind the colon. No line where nothing is
    /// left.
    private func appendCookies(
        _ value: ByteRange, _ bytes: Span<UInt8>, _ issuers: IssuerSet, keepsTokens: Bool,
        _ buffer: inout Buffer
    ) {
        var pairs = CookiePairs(value)
        var isFirst = true
        while let pair = pairs.next(bytes) {
            if isOurs(bytes.slice(pair), issuers, keepsTokens: keepsTokens) { continue }
            if isFirst {
                HeaderWriter.put("Cookie: ", &buffer)
            } else {
                HeaderWriter.put(";", &buffer)
                if ASCII.isWhitespace(bytes[Int(pair.start) - 1]) { HeaderWriter.put(" ", &buffer) }
            }
            HeaderWriter.put(bytes.slice(pair), &buffer)
            isFirst = false
        }
        if !isFirst { HeaderWriter.put("\r\n", &buffer) }
    }

    /// True where a backend may find a cookie in the pair that is not for it, wherever its parser lets one begin.
    private func isOurs(_ pair: Span<UInt8>, _ issuers: IssuerSet, keepsTokens: Bool) -> Bool {
        if Pair.hasLooseName(pair) { return true }
        var start = 0
        while start < pair.count {
            let text = pair.extracting(droppingFirst: start)
            // What is kept is what was looked at, and no other spelling of it.
            let isKept = keepsTokens && start == 0 && tokenPlaces.reads(cookie: text, for: issuers)
            if !isKept, tokenPlaces.takes(cookie: text, from: issuers) { return true }
            if sessionPlaces.takes(cookie: text, from: issuers) { return true }
            start = Pair.nextStart(pair, behind: start)
        }
        return false
    }

    /// Says for whom the request is forwarded (RFC 7239, and its older `X-` fields). What an untrusted peer said was
    /// dropped (H8); to what a trusted one said, this hop is added.
    private func appendForwarding(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ permit: borrowing Permit,
        _ peer: borrowing PeerFacts,
        _ said: PeerForwarding, _ buffer: inout Buffer
    ) {
        let host = bytes.slice(head.host)
        let address = peer.addressText
        // What was told only in the newer field is told in the older ones, too.
        let told = said.hasForwarded ? toldOrigin(head, bytes, peer) : nil
        let origin = told?.isForwarded == true ? told : nil
        let keepsForwarded = told?.keepsForwarded == true
        if address.count > 0 || said.hasFor {
            HeaderWriter.put("X-Forwarded-For: ", &buffer)
            if said.hasFor { HeaderWriter.putValues(of: .xForwardedFor, head, bytes, &buffer) }
            if let client = origin?.address { HeaderWriter.put(client, &buffer) }
            if said.hasFor || origin?.address != nil, address.count > 0 { HeaderWriter.put(", ", &buffer) }
            HeaderWriter.put(address, &buffer)
            HeaderWriter.put("\r\n", &buffer)
        }
        if !said.hasProto {
            var isSecure = peer.isSecure
            if let origin, !origin.proto.isEmpty {
                isSecure = ForwardedScheme.isSecure(bytes.slice(origin.proto)) == true
            }
            HeaderWriter.put(
                isSecure ? "X-Forwarded-Proto: https\r\n" : "X-Forwarded-Proto: http\r\n", &buffer)
        }
        if !said.hasHost {
            if let named = origin?.host, Authority.parse(bytes, named) != nil {
                HeaderWriter.put("X-Forwarded-Host: ", bytes.slice(named), &buffer)
            } else if host.count > 0 {
                HeaderWriter.put("X-Forwarded-Host: ", host, &buffer)
            }
        }
        // What the peer told only in the older fields would be missing in the newer one, were that begun here. What else
        // there is in the newer one did not count, and would at the backend: it may be the client's own.
        guard keepsForwarded || !said.isOlder else { return }
        HeaderWriter.put("Forwarded: ", &buffer)
        if keepsForwarded {
            HeaderWriter.putValues(of: .forwarded, head, bytes, &buffer)
            HeaderWriter.put(", ", &buffer)
        }
        HeaderWriter.putForwardedElement(peer, host, &buffer)
    }
}

/// What a trusted peer said of whom it forwards for.
struct PeerForwarding {
    var hasFor = false
    var hasProto = false
    var hasHost = false
    var hasForwarded = false
    /// It says something in the older fields.
    var isOlder: Bool { hasFor || hasProto || hasHost }

    /// Notes a forwarding line; true where it is passed on as it is. False for the two that this hop is added to, and
    /// for those that a proxy in front is not known to set: it may have let a client's own pass through.
    mutating func note(_ line: FieldLine) -> Bool {
        switch line.name {
        case .xForwardedFor:
            if !line.valueRange.isEmpty { hasFor = true }
            return false
        case .forwarded:
            if !line.valueRange.isEmpty { hasForwarded = true }
            return false
        case .xForwardedProto: hasProto = true
        case .xForwardedHost: hasHost = true
        case .xForwardedPort, .xForwardedPrefix, .xForwardedServer, .xForwardedScheme, .xForwardedSSL,
            .xForwardedBy:
            break
        default: return false
        }
        return true
    }
}
