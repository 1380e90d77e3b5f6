import Bytes
import Testing

@testable import HTTP

@Suite("Field names")
struct FieldNameTests {
    private func lookUp(_ text: String) -> (name: FieldName, flags: FieldFlags) {
        // Alone, and with bytes behind it: the look-up reads words.
        let alone = Array(text.utf8)
        let first = FieldName.lookUp(alone.span, ByteRange(start: 0, count: alone.count))
        let followed = Array("xx\(text): Value that goes on for a while\r\n".utf8)
        let second = FieldName.lookUp(followed.span, ByteRange(start: 2, count: alone.count))
        #expect(first.name == second.name && first.flags == second.flags)
        return first
    }

    @Test("Every name is found in any case, and no neighbour of it", arguments: FieldName.allCases)
    func everyName(name: FieldName) {
        guard name != .other else { return }
        let text = name.text.description
        for spelling in [text, text.uppercased(), text.prefix(1).uppercased() + text.dropFirst()] {
            let found = lookUp(spelling)
            #expect(found.name == name && found.flags == name.flags)
        }
        for other in [text + "x", String(text.dropLast()) + "~", "\u{7E}" + text] {
            #expect(lookUp(other).name == .other)
        }
    }

    @Test(
        "Unknown names have no flags",
        arguments: [
            "x", "x-user-id", "X-Custom", "a-name-that-is-longer-than-thirty-two-bytes-indeed", "x_user_id",
            "~",
        ])
    func unknown(text: String) {
        let found = lookUp(text)
        #expect(found.name == .other && found.flags == [])
    }

    @Test(
        "RFC 9110 §7.6.1: hop-by-hop fields",
        arguments: [
            "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Transfer-Encoding", "Upgrade",
            "Proxy-Authorization", "Proxy-Authenticate",
        ])
    func hopByHop(text: String) {
        #expect(lookUp(text).flags.contains(.hopByHop))
        #expect(!FieldFlags.removedFromResponse.isDisjoint(with: lookUp(text).flags))
    }

    @Test(
        "H6: client-certificate fields are removed from every request",
        arguments: [
            "X-SSL-Client-Cert", "X-SSL-Client-S-DN", "X-SSL-CLIENT-anything", "X-Client-Cert",
            "X-Client-Cert-Chain",
            "X-Client-Certificate", "X-Forwarded-Client-Cert", "SSL-Client-Verify", "SSL-Client-Whatever",
            "Client-Cert",
            "X_SSL_Client_Cert", "X.Client.Cert", "XFCC",
        ])
    func clientCertificates(text: String) {
        #expect(lookUp(text).flags.contains(.clientCertificate))
        #expect(!FieldFlags.removedFromRequest.isDisjoint(with: lookUp(text).flags))
    }

    @Test(
        "H8: forwarding fields are known as such",
        arguments: [
            "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix",
            "X-Forwarded-Uri", "X-Forwarded-Made-Up", "X-Real-IP", "X-Original-URL", "X-Rewrite-URL",
            "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_Forwarded_For",
            "x.original.url",
            "X-Forwarded_For", "X_Forwarded_Made_Up",
        ])
    func forwarding(text: String) {
        #expect(lookUp(text).flags.contains(.forwarding))
    }

    @Test("H12: Proxy is never forwarded")
    func proxy() {
        #expect(lookUp("pRoXy").flags.contains(.neverForwarded))
        #expect(!FieldFlags.removedFromRequest.isDisjoint(with: lookUp("Proxy").flags))
    }

    @Test(
        "H1, H2: other spellings of known names bear their flags and are marked",
        arguments: [
            ("Content_Length", .framing), ("Transfer.Encoding", .framing), ("transfer_encoding", .hopByHop),
            ("proxy!authorization", .hopByHop),
        ] as [(String, FieldFlags)])
    func aliases(text: String, flag: FieldFlags) {
        let found = lookUp(text)
        #expect(found.name == .other && found.flags.contains(flag) && found.flags.contains(.alias))
    }

    @Test(
        "RFC 9110 §6.5.1: fields that a trailer section must not hold",
        arguments: [
            "Content-Length", "Transfer-Encoding", "Host", "Authorization", "Cookie", "Set-Cookie",
            "Content-Type",
            "Cache-Control", "Connection", "X-Forwarded-For",
        ])
    func trailers(text: String) {
        #expect(!FieldFlags.removedFromTrailers.isDisjoint(with: lookUp(text).flags))
        #expect(FieldFlags.removedFromTrailers.isDisjoint(with: lookUp("grpc-status").flags))
    }

    @Test(
        "Ordinary fields pass",
        arguments: [
            "Accept", "Content-Type", "User-Agent", "Cookie", "X-Custom", "Referer", "Trailer", "Via",
        ])
    func ordinary(text: String) {
        #expect(FieldFlags.removedFromRequest.union(.forwarding).isDisjoint(with: lookUp(text).flags))
    }

    /// Every known name, spoilt by one byte at its end or inside, is read up to that byte: the parser refuses it there.
    @Test("A spoilt name ends where it is spoilt", arguments: FieldName.allCases.filter { $0 != .other })
    func spoilt(name: FieldName) {
        let text = Array("\(name.text)".utf8)
        for byte in UInt8.min...UInt8.max where !ASCII.isToken(byte) {
            for place in [text.count, text.count / 2] {
                var line = text
                line.insert(byte, at: place)
                line += Array(": value\r\n".utf8) + [UInt8](repeating: 0x61, count: 40)
                let scanned = FieldName.scan(line.span, from: 0)
                #expect(scanned.end == place)
            }
        }
        let whole = text + Array(": value\r\n".utf8) + [UInt8](repeating: 0x61, count: 40)
        let scanned = FieldName.scan(whole.span, from: 0)
        #expect(scanned.name == name && scanned.end == text.count && scanned.flags == name.flags)
    }
}
