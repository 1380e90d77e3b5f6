import Bytes
import Config
import Policy

// Token introspection (RFC 7662) on the wire.

extension RemoteSource {
    /// The request of RFC 7662 §2.1, with the client's name and secret by HTTP Basic authentication (RFC 6749 §2.3.1).
    func introspection(_ question: RemoteQuestion, _ name: String, _ secret: Secret) -> [UInt8] {
        let body =
            Array("token=".utf8) + Self.encoded(question.text) + Array("&token_type_hint=access_token".utf8)
        let credentials = Self.encoded(Array(name.utf8)) + [UInt8(ascii: ":")] + Self.encoded(secret.bytes)
        let head = [
            "POST \(url.target) HTTP/1.1", "Host: \(url.authority)", "User-Agent: usher/\(Version.usher)",
            "Accept: application/json", "Accept-Encoding: identity",
            "Authorization: Basic \(String(decoding: Base64.encode(credentials.span), as: UTF8.self))",
            "Content-Type: application/x-www-form-urlencoded", "Content-Length: \(body.count)",
        ]
        return Array((head.joined(separator: "\r\n") + "\r\n\r\n").utf8) + body
    }

    /// 200 with an object says something; 401 is about usher's own credentials, and not about the token (§2.3).
    func introspectionVerdict(_ answer: FetchAnswer) throws(FetchFailure) -> RemoteAnswer.Result {
        guard answer.status == 200 else {
            throw FetchFailure(
                "the answer has status \(answer.status)"
                    + (answer.status == 401 ? ": client_id and client_secret are not accepted" : ""))
        }
        let space: [UInt8] = [0x20, 0x09, 0x0A, 0x0D]
        guard answer.body.first(where: { !space.contains($0) }) == UInt8(ascii: "{") else {
            throw FetchFailure("the answer is no JSON object")
        }
        return .accepted(answer.body)
    }

    /// `application/x-www-form-urlencoded`.
    private static func encoded(_ bytes: [UInt8]) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return bytes.flatMap { byte in
            ASCIISet.unreserved.contains(byte)
                ? [byte] : [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }
}
