internal import Crypto
internal import JOSE

extension ConfigurationReader {
    /// Builds a verifier of the issuer alone, so that a key that cannot be used is found where the file names it.
    func checkKeys(_ issuer: IssuerConfiguration) {
        guard !issuer.algorithms.isEmpty, !issuer.subject.isEmpty, fitsKeySource(issuer) else { return }
        do throws(IssuerFault) {
            let verifier = try TokenVerifier(issuers: [issuer.spec])
            for key in verifier.keyReport(ofIssuer: 0)?.skipped ?? [] {
                loader.warning(
                    issuer.keyPosition,
                    "key \(key.index + 1) of \"\(issuer.origin)\" is left out: \(key.reason)")
            }
        } catch {
            loader.error(issuer.keyPosition, "\"\(issuer.origin)\" \(text(error.error, issuer))")
        }
    }

    /// What does not has been reported where the algorithm stands.
    private func fitsKeySource(_ issuer: IssuerConfiguration) -> Bool {
        var isSecret = false
        if case .secret = issuer.keySource { isSecret = true }
        return issuer.algorithms.allSatisfy { $0.isHMAC == isSecret } && issuer.audience?.isEmpty != true
    }

    /// Why each of the keys of a set is none of them; a key for another algorithm is of use where it is named.
    private func reasons(_ issuer: IssuerConfiguration) -> String {
        let report = KeySetReport(issuer.spec)
        return report.skipped.isEmpty ? ": it is empty" : " (\(report.reasons))"
    }

    private func text(_ error: IssuerError, _ issuer: IssuerConfiguration) -> String {
        let algorithms = issuer.algorithms.map(\.rawValue).joined(separator: ", ")
        return switch error {
        case .badKey(.notAPublicKey):
            "cannot be used: not a PEM PUBLIC KEY; that of a certificate is got by `openssl x509 -pubkey -noout`, "
                + "that of an RSA PUBLIC KEY by `openssl rsa -RSAPublicKey_in -pubout`"
        case .badKey(let reason): "cannot be used: \(reason.reason)"
        case .algorithmsDoNotFitKey: "holds a key for none of the algorithms \(algorithms)"
        case .badKeySet(.tooLarge): "is larger than 256 KiB"
        case .badKeySet(.malformed):
            "is not a JWK Set: strict JSON, an object with a list \"keys\" (RFC 7517, 5)"
        case .badKeySet(.tooManyKeys): "has more than 100 keys"
        case .badKeySet(.noUsableKey):
            "holds no key for any of the algorithms \(algorithms)\(reasons(issuer))"
        default: "cannot be used: \(error)"
        }
    }
}

extension IssuerConfiguration {
    /// Where its keys were read, for messages.
    fileprivate var origin: String {
        switch keySource {
        case .secret: "secret"
        case .remote: "jwks"
        case .introspection: "introspection"
        case .publicKey(_, let origin), .keySet(_, let origin): origin
        }
    }
}
