/// Something of Usher that reads bytes which others wrote. It is run on whatever a fuzzer makes up, and says itself
/// what must hold of the outcome; a trap, and what AddressSanitizer sees, are found besides.
protocol FuzzTarget: AnyObject {
    init() throws

    /// Throws a `Violation` where something does not hold that must.
    func run(_ input: [UInt8]) throws
}

/// What does not hold.
struct Violation: Error, CustomStringConvertible {
    let description: String
}

func demand(_ condition: Bool, _ what: @autoclosure () -> String) throws {
    if !condition { throw Violation(description: what()) }
}

enum FuzzTargets {
    /// By the name of their folder of seeds.
    static var all: [String: any FuzzTarget.Type] {
        [
            "request-head": RequestHeadTarget.self,
            "response-head": ResponseHeadTarget.self,
            "body": BodyTarget.self,
            "target": PathTarget.self,
            "http2": HTTP2Target.self,
            "http2-backend": HTTP2BackendTarget.self,
            "websocket": WebSocketTarget.self,
            "base64url": Base64URLTarget.self,
            "json": JSONTarget.self,
            "token": TokenTarget.self,
            "claims": ClaimsTarget.self,
            "proof": ProofTarget.self,
            "jwks": KeySetTarget.self,
            "pem": PEMTarget.self,
            "issuer-answer": IssuerAnswerTarget.self,
            "session": SessionTarget.self,
            "session-data": SessionDataTarget.self,
            "revocation": RevocationTarget.self,
            "proxy-header": ProxyHeaderTarget.self,
            "forwarded": ForwardedTarget.self,
            "redis": RedisTarget.self,
            "toml": ConfigurationTarget.self,
            "policy": PolicyTarget.self,
            "canary": CanaryTarget.self,
        ]
    }
}

/// A violation that a fuzzer must find, or it is one that finds nothing.
final class CanaryTarget: FuzzTarget {
    func run(_ input: [UInt8]) throws {
        guard input.count >= 4, input[0] == UInt8(ascii: "U"), input[1] == UInt8(ascii: "s") else { return }
        try demand(input[2] != UInt8(ascii: "h") || input[3] != UInt8(ascii: "!"), "the canary was found")
    }
}

/// Where the input is cut into pieces, decided by its first byte.
struct Cuts {
    let places: [Int]

    init(_ seed: UInt8, count: Int) {
        switch seed & 3 {
        case 0: places = Array(0...count)
        case 1: places = [min(Int(seed >> 2), count), count]
        default:
            let step = max(Int(seed >> 2), 1)
            places = Array(stride(from: 0, to: count, by: step)) + [count]
        }
    }
}
