import Config
import Policy

// What goes to a server that judges credentials, and what its answers mean.

extension RemoteSource {
    /// The whole request for a question; the connection stays open behind it.
    func request(_ question: RemoteQuestion) -> [UInt8] {
        if case .introspection(let name, let secret) = kind { return introspection(question, name, secret) }
        var lines = [
            "\(method) \(url.target) HTTP/1.1", "Host: \(url.authority)",
            "User-Agent: usher/\(Version.usher)",
            "Accept: application/json", "Accept-Encoding: identity",
        ]
        // Whoever limits rates by it must see one address and not a chain.
        if !question.clientAddress.isEmpty { lines.append("X-Forwarded-For: \(question.clientAddress)") }
        var bytes = Array((lines.joined(separator: "\r\n") + "\r\n").utf8)
        switch question.form {
        case .cookies: bytes += Array("Cookie: ".utf8) + question.text
        case .bearer, .token: bytes += Array("Authorization: Bearer ".utf8) + question.text
        }
        return bytes + Array("\r\n\r\n".utf8)
    }

    private var method: String {
        switch kind {
        case .betterAuthSession: "GET"
        case .introspection: "POST"
        }
    }

    /// What an answer says of the credential; a reason for the log where it says nothing.
    func verdict(_ answer: FetchAnswer) throws(FetchFailure) -> RemoteAnswer.Result {
        switch kind {
        case .betterAuthSession: try sessionVerdict(answer)
        case .introspection: try introspectionVerdict(answer)
        }
    }

    /// Better Auth answers 200 with `null` where there is no session, and 401 where one was lost while it was refreshed.
    private func sessionVerdict(_ answer: FetchAnswer) throws(FetchFailure) -> RemoteAnswer.Result {
        switch answer.status {
        case 200: break
        case 401: return .refused
        default: throw FetchFailure("the answer has status \(answer.status)")
        }
        let space: [UInt8] = [0x20, 0x09, 0x0A, 0x0D]
        let body = answer.body.drop { space.contains($0) }
        if body.first == UInt8(ascii: "{") { return .accepted(answer.body) }
        if Array(body.prefix(4)) == Array("null".utf8), body.dropFirst(4).allSatisfy({ space.contains($0) }) {
            return .refused
        }
        throw FetchFailure("the answer is no session, and not null")
    }

    /// What of an answer's `Set-Cookie` is passed on: no more than a browser's share, and nothing that could end the
    /// line.
    static func passable(_ cookies: [[UInt8]]) -> [[UInt8]] {
        var total = 0
        return cookies.filter { cookie in
            guard !cookie.isEmpty, cookie.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else { return false }
            total += cookie.count + 14
            return total <= largestCookieBytes
        }
    }

    /// All cookies of an answer together: a session in chunks takes 13 KiB.
    private static let largestCookieBytes = 32_768
}
