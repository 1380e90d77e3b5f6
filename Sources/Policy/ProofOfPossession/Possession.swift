internal import Bytes
internal import Crypto
internal import HTTP
internal import JOSE

/// How a token came.
enum TokenScheme: BitwiseCopyable {
    /// As one that whoever has it may use: `Bearer`, or outside the header.
    case bearer
    /// As one that is bound to a key: `DPoP` (RFC 9449 §7.1).
    case proof
}

/// A proof that holds, and was not used before.
struct UnusedProof: BitwiseCopyable {
    let mark: SHA256Digest
    let issuedAt: Int64
}

/// A token that holds by itself is asked what else it demands: a proof that the sender has the key that it is bound to
/// (RFC 9449), or the client certificate (RFC 8705). Never remembered: it is of the request, not of the token.
extension PolicySnapshot {
    /// What becomes of a request with a good token.
    mutating func admit(
        _ identity: Handle, _ scheme: TokenScheme, _ token: Span<UInt8>, _ head: borrowing RequestHead,
        _ bytes: Span<UInt8>, _ origin: borrowing RequestOrigin, now: Int64
    ) -> Authenticated {
        let binding = cache[identity].binding
        let rule = proofs.rule(cache[identity].issuer)
        if binding.isNone, scheme == .bearer, rule?.isRequired != true { return .token(identity) }
        do throws(TokenRefusal) {
            try checkCertificate(binding, origin.peer)
            try checkScheme(scheme, binding, rule)
            if let key = binding.key, let rule {
                try checkProof(boundTo: key, token, rule, head, bytes, origin.peer, now: now)
            }
            return .token(identity)
        } catch {
            return .refused(.tokenInvalid, error)
        }
    }

    /// The certificate that the token names is the one of the connection (RFC 8705 §3).
    private func checkCertificate(_ binding: TokenBinding, _ peer: PeerFacts) throws(TokenRefusal) {
        guard let certificate = binding.certificate else { return }
        guard let own = peer.clientCertificateSHA256 else { throw .boundToKey }
        guard SHA256Digest(bytes: own) == certificate else { throw .wrongCertificate }
    }

    /// A bound token is no bearer token, and one that is not bound proves nothing with a proof (RFC 9449 §7.1, §7.2).
    private func checkScheme(
        _ scheme: TokenScheme, _ binding: TokenBinding, _ rule: ProofRules.Rule?
    ) throws(TokenRefusal) {
        switch scheme {
        case .bearer:
            guard binding.key == nil else { throw .boundToKey }
            guard rule?.isRequired != true else { throw .proofMissing }
        case .proof:
            guard binding.key != nil else { throw .notBoundToKey }
            guard rule != nil else { throw .boundToKey }
        }
    }

    /// The checks of RFC 9449 §4.3, the replay last. The proof is not used up yet: the same request may be decided on
    /// again, because it has to wait, and then shows the same proof.
    private mutating func checkProof(
        boundTo key: SHA256Digest, _ token: Span<UInt8>, _ rule: ProofRules.Rule,
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ peer: PeerFacts, now: Int64
    ) throws(TokenRefusal) {
        guard let range = ProofField.find(head) else { throw .proofMissing }
        let proof = try proofVerifier.verify(bytes.slice(range), boundTo: key)
        guard let target = clientTarget(head, bytes, peer),
            ASCII.equals(proofVerifier.method(of: proof), bytes.slice(head.methodRange)),
            target.matches(proofVerifier.target(of: proof), bytes)
        else { throw .proofOfOtherRequest }
        let digest = proofVerifier.digest(of: token)
        guard SHA256Digest(base64URL: proofVerifier.tokenDigest(of: proof)) == digest else {
            throw .proofOfOtherToken
        }
        guard proof.issuedAt <= now + rule.leewaySeconds, proof.issuedAt >= now - rule.lifetimeSeconds else {
            throw .proofStale
        }
        if rule.needsNonce {
            guard proofs.accepts(nonce: proofVerifier.nonce(of: proof), now: now) else {
                throw .proofNeedsNonce
            }
        }
        let mark = proofVerifier.mark(of: proof, key: key)
        guard proofs.memory?.knows(mark, issuedAt: proof.issuedAt) == false else { throw .proofReplayed }
        unusedProof = UnusedProof(mark: mark, issuedAt: proof.issuedAt)
    }

    /// Uses up the proof that the request at hand came with, if any; false where another request was faster. To be called
    /// where nothing is left to wait for, and before a permit: of all requests with one proof, which may have waited
    /// side by side in several workers, one gets past this.
    mutating func useProof(now: Int64) -> Bool {
        guard let proof = unusedProof else { return true }
        unusedProof = nil
        return proofs.memory?.note(proof.mark, issuedAt: proof.issuedAt, now: now) == true
    }

    /// The target as the client saw it: the connection's and the request's own, or what a trusted proxy in front says
    /// of them (H8); nil where that cannot be told for certain.
    private func clientTarget(
        _ head: borrowing RequestHead, _ bytes: Span<UInt8>, _ peer: PeerFacts
    ) -> ProofTarget? {
        var isSecure = peer.isSecure
        var authority = head.authority
        if let told = toldOrigin(head, bytes, peer) {
            guard !told.isSchemeAmbiguous, !told.isHostAmbiguous else { return nil }
            if !told.proto.isEmpty {
                guard let secure = ForwardedScheme.isSecure(bytes.slice(told.proto)) else { return nil }
                isSecure = secure
            }
            if !told.host.isEmpty {
                guard let forwarded = Authority.parse(bytes, told.host) else { return nil }
                authority = forwarded
            }
        }
        return ProofTarget(isSecure: isSecure, authority: authority, path: head.path)
    }
}

/// The field `DPoP` (RFC 9449 §4.1).
enum ProofField {
    /// The value of the one line with that name; nil where there is none, or a second one.
    static func find(_ head: borrowing RequestHead) -> ByteRange? {
        var found: ByteRange?
        for index in 0..<head.fields.count where isProof(head.fields[index]) {
            guard found == nil else { return nil }
            found = head.fields[index].valueRange
        }
        return found
    }

    /// True for a line of that name.
    static func isProof(_ line: FieldLine) -> Bool {
        line.name == .dpop && !line.flags.contains(.alias)
    }
}
