import ArgumentParser
import Config
import Crypto
import JOSE
import Reactor

/// `usher token sign`
struct TokenSignCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sign",
        abstract: "Make a signed token and print it.",
        discussion: """
            The token says iat (now) and exp (now and the lifetime) unless a claim says otherwise. Claims given with \
            --claim win over --claims-json, and both over the flags.

              usher token sign --algorithm HS256 --secret-env BETTER_AUTH_SECRET \\
                --subject alice --issuer https://app.example.com \\
                --audience https://app.example.com
            """)

    @Option(
        help: ArgumentHelp(
            "HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 or EdDSA.",
            valueName: "name"))
    var algorithm: String

    @Option(
        help: ArgumentHelp(
            "HMAC: the secret is in this file; one line end at its end is left out.", valueName: "file"))
    var secretFile: String?

    @Option(help: ArgumentHelp("HMAC: the secret is in this environment variable.", valueName: "name"))
    var secretEnv: String?

    @Option(help: ArgumentHelp("The others: the private key is in this file, as PEM.", valueName: "file"))
    var keyFile: String?

    @Option(help: ArgumentHelp("The kid of the header.", valueName: "kid"))
    var kid: String?

    @Option(help: ArgumentHelp("The typ of the header; empty for none.", valueName: "type"))
    var type: String = "JWT"

    @Option(help: ArgumentHelp("A claim: name=text, or name:=json.", valueName: "name=value"))
    var claim: [String] = []

    @Option(help: ArgumentHelp("Claims, as a JSON object.", valueName: "json"))
    var claimsJson: String?

    @Option(help: ArgumentHelp("The claim sub.", valueName: "subject"))
    var subject: String?

    @Option(help: ArgumentHelp("The claim iss.", valueName: "issuer"))
    var issuer: String?

    @Option(help: ArgumentHelp("The claim aud; several make a list.", valueName: "audience"))
    var audience: [String] = []

    @Option(
        help: ArgumentHelp(
            "How long the token is good for; below zero (--lifetime=-1h) it is over.", valueName: "duration"))
    var lifetime: Lifetime = Lifetime(seconds: 3600)

    func validate() throws {
        guard let algorithm = SignatureAlgorithm(algorithm) else {
            throw ValidationError("--algorithm: \"\(algorithm)\" is not one of those that usher knows.")
        }
        let sources = [secretFile, secretEnv, keyFile].compactMap { $0 }
        guard sources.count == 1 else {
            throw ValidationError("Give exactly one of --secret-file, --secret-env and --key-file.")
        }
        guard algorithm.isHMAC == (keyFile == nil) else {
            throw ValidationError(
                algorithm.isHMAC
                    ? "\(algorithm.name) signs with a secret, not with --key-file."
                    : "\(algorithm.name) signs with --key-file, not with a secret.")
        }
        do throws(Claims.Failure) {
            _ = try claims(now: 0)
        } catch {
            throw ValidationError(error.message)
        }
    }

    func run() throws {
        guard let algorithm = SignatureAlgorithm(algorithm) else { throw ExitCode.validationFailure }
        let key = try key()
        let payload = try claims(now: wallClockMicroseconds() / 1_000_000).payload
        let token: [UInt8]
        do throws(SigningError) {
            let signer = try CompactTokenSigner(
                algorithm: algorithm, key: key, keyID: kid, type: type.isEmpty ? nil : type)
            token = try signer.sign(payload: payload.span)
        } catch {
            throw Console.fail(Self.describe(error))
        }
        try Console.output(String(decoding: token, as: UTF8.self))
    }

    /// The claims at that time, in seconds since 1970.
    func claims(now: Int64) throws(Claims.Failure) -> Claims {
        var claims = Claims()
        if let issuer { claims.set("iss", JSONTree(string: issuer)) }
        if let subject { claims.set("sub", JSONTree(string: subject)) }
        if let only = audience.first, audience.count == 1 {
            claims.set("aud", JSONTree(string: only))
        } else if !audience.isEmpty {
            claims.set("aud", .array(audience.map { JSONTree(string: $0) }))
        }
        let expires = now + lifetime.seconds
        // A token that is over was issued before it was over.
        claims.set("iat", JSONTree(integer: min(now, expires)))
        claims.set("exp", JSONTree(integer: expires))
        if let claimsJson { try claims.merge(json: claimsJson) }
        for argument in claim { try claims.merge(argument: argument) }
        return claims
    }

    private func key() throws -> CompactTokenSigner.Key {
        if let secretEnv {
            guard let secret = SystemFiles.environment()[secretEnv], !secret.isEmpty else {
                throw Console.fail("the environment variable \(secretEnv) is not set (or not UTF-8)")
            }
            return .secret(Array(secret.utf8))
        }
        let path = secretFile ?? keyFile ?? ""
        do throws(Errno) {
            let bytes = try FileContents.read(path, limitBytes: 1 << 20)
            return secretFile == nil ? .privateKeyPEM(bytes) : .secret(Self.withoutLineEnd(bytes))
        } catch {
            throw Console.fail("cannot read \"\(path)\": \(error)")
        }
    }

    /// The bytes without one line end at their end: editors add it, and nobody means it.
    static func withoutLineEnd(_ bytes: [UInt8]) -> [UInt8] {
        guard bytes.last == 0x0a else { return bytes }
        let rest = bytes.dropLast()
        return Array(rest.last == 0x0d ? rest.dropLast() : rest)
    }

    private static func describe(_ error: SigningError) -> String {
        switch error {
        case .algorithmDoesNotFitKey: "the key and the algorithm do not belong together"
        case .secretTooShort: "the secret has fewer than 32 bytes"
        case .badKey(let error): "the key file holds no usable private key: \(error.reason)"
        case .malformedPayload: "the claims are not a strict JSON object"
        case .reservedClaim(let name): "the claim \(name) is given twice"
        case .badLifetime: "the lifetime is not positive"
        case .signingFailed: "OpenSSL could not sign"
        }
    }
}
