import Bytes
import Testing

@testable import JOSE

@Suite("Better Auth's sessions")
struct SessionVerifierTests {
    @Test(
        "Moments as JavaScript writes them",
        arguments: [
            ("2026-01-31T22:40:00.000Z", 1_769_899_200), ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59.999Z", 951_868_799), ("2026-01-31T23:40:00+01:00", 1_769_899_200),
            ("2026-01-31 17:10:00.5-05:30", 1_769_899_200), ("1969-12-31T23:59:59Z", -1),
            ("2100-03-01T00:00:00Z", 4_107_542_400), ("2026-01-31T22:40:00", nil),
            ("2026-01-31T22:40:00.Z", nil),
            ("2026-13-01T00:00:00Z", nil), ("2026-00-01T00:00:00Z", nil), ("2026-01-00T00:00:00Z", nil),
            ("2026-01-01T24:00:00Z", nil), ("2026-01-01T00:60:00Z", nil), ("2026-01-01T00:00:00ZZ", nil),
            ("2026-01-01T00:00:00+1:00", nil), ("2026-01-01T00:00:00+24:00", nil),
            ("+02026-01-01T00:00:00Z", nil),
            ("1769899200000", nil), ("", nil), ("Sat, 31 Jan 2026 22:40:00 GMT", nil),
        ])
    func moments(text: String, expected: Int64?) {
        let bytes = Array(text.utf8)
        #expect(ISODate.seconds(bytes.span) == expected)
    }

    private static let key = Array("edge-test-secret-0123456789abcdefghijkl".utf8)
    private static let token = "hV3nB8xQ1rT6yU2iO9pA5sD7fG4jK0lZ"
    private static let code = "+R+ASILzmsL3XbY4LTaa3RkULz3J/J3NXneYhmF2Aug="

    private func open(_ text: String, asBearer: Bool) throws -> String? {
        let verifier = try SessionVerifier(SessionSpec(secrets: [Self.key]), place: 0)
        let bytes = Array(text.utf8)
        var token = ByteArray()
        let isOpen =
            asBearer
            ? verifier.open(bearer: bytes.span, into: &token)
            : verifier.open(cookie: bytes.span, into: &token)
        guard isOpen else { return nil }
        return String(decoding: token.span.indices.map { token[$0] }, as: UTF8.self)
    }

    @Test(
        "Which spellings of a signature count, in a cookie and as a bearer",
        arguments: [
            (Self.code, true, true), ("%2BR%2BASILzmsL3XbY4LTaa3RkULz3J%2FJ3NXneYhmF2Aug%3D", true, true),
            ("-R-ASILzmsL3XbY4LTaa3RkULz3J_J3NXneYhmF2Aug", false, true),
            ("-R-ASILzmsL3XbY4LTaa3RkULz3J_J3NXneYhmF2Aug=", false, true),
            ("+R+ASILzmsL3XbY4LTaa3RkULz3J/J3NXneYhmF2Aug", false, true),
            // J8: bits behind the last byte.
            ("+R+ASILzmsL3XbY4LTaa3RkULz3J/J3NXneYhmF2Auh=", false, false),
            ("+R+ASILzmsL3XbY4LTaa3RkULz3J/J3NXneYhmF2Aug==", false, false),
            ("+R+ASILzmsL3XbY4LTaa3RkULz3J/J3NXneYhmF2Aug%", false, false), ("", false, false),
            ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", false, false),
        ])
    func signatures(code: String, cookie: Bool, bearer: Bool) throws {
        #expect(try open("\(Self.token).\(code)", asBearer: false) == (cookie ? Self.token : nil))
        #expect(try open("\(Self.token).\(code)", asBearer: true) == (bearer ? Self.token : nil))
    }

    @Test("A bearer without a dot is added as it stands; a cookie without one is none")
    func unsigned() throws {
        #expect(try open(Self.token, asBearer: true) == Self.token)
        #expect(try open(Self.token, asBearer: false) == nil)
        #expect(try open(".\(Self.code)", asBearer: false) == nil)
        #expect(try open(".\(Self.code)", asBearer: true) == nil)
    }

    @Test("J19: short and public secrets are refused, earlier ones too")
    func secrets() {
        for secrets in [
            [], [Array(Self.key.prefix(31))], [Self.key, Array(Self.key.prefix(31))],
            [Array("better-auth-secret-12345678901234567890".utf8)],
        ] {
            #expect(throws: IssuerError.self) {
                _ = try SessionVerifier(SessionSpec(secrets: secrets), place: 0)
            }
        }
    }

    @Test(
        "The compact form is found from behind, and only as it is written",
        arguments: [
            (#"{"session":{"a":1},"expiresAt":12,"signature":"S"}"#, true),
            (#"{"session":{"a":",\"expiresAt\":9,\"signature\":\"x"},"expiresAt":12,"signature":"S"}"#, true),
            (#"{"session":{},"expiresAt":12,"signature":"S"}"#, true),
            (#"{"session":{"a":1},"expiresAt":,"signature":"S"}"#, false),
            (#"{"session":{"a":1},"expiresAt":1234567890123456,"signature":"S"}"#, false),
            (#"{"session":{"a":1},"expiresAt":-1,"signature":"S"}"#, false),
            (#"{"session":{"a":1}, "expiresAt":12,"signature":"S"}"#, false),
            (#"{"session":[1],"expiresAt":12,"signature":"S"}"#, false),
            (#"{"expiresAt":12,"session":{"a":1},"signature":"S"}"#, false), (#"{"session":{"#, false),
            ("", false),
        ])
    func compact(text: String, isFound: Bool) {
        let bytes = Array(
            text.replacing("\"S\"", with: "\"" + String(repeating: "A", count: 43) + "\"").utf8)
        let found = CompactSession(bytes.span)
        #expect((found != nil) == isFound)
        guard let found else { return }
        #expect(String(decoding: bytes[found.expiry], as: UTF8.self) == "12")
        #expect(
            bytes[found.payload].first == UInt8(ascii: "{") && bytes[found.payload].last == UInt8(ascii: "}"))
    }
}
