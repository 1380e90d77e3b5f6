import Bytes
import Config
import JOSE
import Reactor
import Testing

@testable import Control

@Suite struct ResponseReaderTests {
    private enum Result: Equatable { case answer(UInt16, String), incomplete, failed(String) }

    /// Reads a response in pieces of that size, and its end where the connection ends with it.
    private func read(_ text: String, pieces size: Int, ends: Bool = false) -> Result {
        var reader = ResponseReader()
        let bytes = Array(text.utf8)
        do throws(FetchFailure) {
            var offset = 0
            while offset < bytes.count {
                let piece = Array(bytes[offset..<min(offset + size, bytes.count)])
                if let answer = try reader.take(piece.span) { return result(answer) }
                offset += size
            }
            guard ends, let answer = try reader.endOfInput(isAuthentic: true) else { return .incomplete }
            return result(answer)
        } catch {
            return .failed(error.reason)
        }
    }

    private func result(_ answer: FetchAnswer) -> Result {
        .answer(answer.status, String(decoding: answer.body, as: UTF8.self))
    }

    @Test(arguments: [1, 2, 7, 1000])
    func everyFramingInPiecesOfEverySize(size: Int) {
        #expect(
            read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", pieces: size) == .answer(200, "hello"))
        #expect(
            read(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nA: b\r\n\r\n",
                pieces: size)
                == .answer(200, "hello"))
        #expect(read("HTTP/1.0 200 OK\r\n\r\nhello", pieces: size, ends: true) == .answer(200, "hello"))
        #expect(read("HTTP/1.1 204 No Content\r\n\r\n", pieces: size) == .answer(204, ""))
        #expect(
            read(
                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                pieces: size)
                == .answer(200, "ok"))
    }

    @Test func interimResponsesEnd() {
        let hint = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        let last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        #expect(read(String(repeating: hint, count: 32) + last, pieces: 100) == .answer(200, "ok"))
        #expect(
            read(String(repeating: hint, count: 33) + last, pieces: 100)
                == .failed("interim responses without end"))
    }

    @Test func whatIsCutIsNoAnswer() {
        let cut = Result.failed("the connection ended before the answer did")
        #expect(read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", pieces: 9, ends: true) == cut)
        #expect(
            read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", pieces: 9, ends: true)
                == cut)
        #expect(read("HTTP/1.1 200", pieces: 9, ends: true) == cut)
    }

    @Test func withoutALengthTheEndMustBeVouchedFor() throws {
        var reader = ResponseReader()
        let answer = try reader.take(Array("HTTP/1.1 200 OK\r\n\r\n{}".utf8).span)
        #expect(answer == nil)
        do throws(FetchFailure) {
            _ = try reader.endOfInput(isAuthentic: false)
            Issue.record("it was believed")
        } catch {
            #expect(error.reason == "the connection ended before the answer did")
        }
    }

    @Test("J10: at most 256 KiB", arguments: [262_144, 262_145])
    func size(count: Int) {
        let body = String(repeating: "x", count: count)
        for head in ["Content-Length: \(count)\r\n", ""] {
            let outcome = read("HTTP/1.1 200 OK\r\n\(head)\r\n\(body)", pieces: 16_384, ends: true)
            #expect((outcome == .answer(200, body)) == (count == 262_144))
        }
    }

    @Test(arguments: [
        ("max-age=60", 60), ("public, max-age=60", 60), ("Max-Age=\"60\", private", 60), ("max-age = 5", 5),
        ("s-maxage=9", nil), ("max-age=-1", nil), ("max-age", nil), ("no-store", nil), ("", nil),
        ("max-age=99999999999999999999", Int64.max),
    ])
    func maximumAge(value: String, expected: Int64?) {
        #expect(CacheControl.maximumAge(value) == expected)
    }

    @Test(
        "what a cache has held for a while is fresh for so much less",
        arguments: [
            ("Cache-Control: max-age=60\r\nAge: 45", 15), ("Age: 45\r\nCache-Control: max-age=60", 15),
            ("Cache-Control: max-age=60\r\nAge: 60", 0), ("Cache-Control: max-age=60\r\nAge: 7200", 0),
            ("Cache-Control: max-age=60\r\nAge: 99999999999999999999", 0),
            ("Cache-Control: max-age=60\r\nAge: 5, 59", 55),
            ("Cache-Control: max-age=60\r\nage:5\r\nAge: 59", 55),
            ("Cache-Control: max-age=60\r\nAge: x\r\nAge: -3", 60), ("Cache-Control: max-age=60\r\nAge:", 60),
            ("Cache-Control: no-cache\r\nAge: 45", nil), ("Age: 45", nil),
        ] as [(String, Int64?)])
    func age(lines: String, expected: Int64?) throws {
        var reader = ResponseReader()
        let text = "HTTP/1.1 200 OK\r\n\(lines)\r\nContent-Length: 2\r\n\r\n{}"
        let answer = try #require(try reader.take(Array(text.utf8).span))
        #expect(answer.maximumAge == expected)
    }
}

@Suite struct FetchedKeysTests {
    private func keys(_ location: RemoteKeys.Location) throws -> FetchedKeys {
        FetchedKeys(
            try issuer(keys: "jwks = \"discover\""), RemoteKeys(location), now: Instant(microseconds: 0))
    }

    private func discovering() throws -> FetchedKeys {
        let issuer = try #require(RemoteURL("https://a.example/t"))
        return try keys(.discovery(issuer: issuer, name: "https://a.example/t"))
    }

    private static let set = Array(
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}"
            .utf8)

    @Test func aSilentAddressIsTriedLast() throws {
        let keys = try discovering()
        let all = [1, 2, 3].map { SocketAddress.ipv4($0, port: 1) }
        #expect(keys.inTurn(all) == all)
        keys.silent = all[0]
        #expect(keys.inTurn(all) == [all[1], all[2], all[0]])
        keys.silent = all[2]
        #expect(keys.inTurn(all) == all)
        keys.silent = SocketAddress.ipv4(1, port: 2)
        #expect(keys.inTurn(all) == all)
    }

    @Test func whereMetadataIs() throws {
        let found = FetchedKeys.metadataURLs(try #require(RemoteURL("https://a.example/t/"))).map(
            \.description)
        #expect(
            found == [
                "https://a.example/t/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server/t",
                "https://a.example/t/.well-known/oauth-authorization-server",
            ])
        // Without a path, behind it and in front of it is the same place.
        #expect(FetchedKeys.metadataURLs(try #require(RemoteURL("https://a.example/"))).count == 2)
    }

    @Test func theMetadataLeadsToTheKeys() throws {
        let keys = try discovering()
        keys.plan()
        #expect(keys.skipAlternative("status 404"))
        let document = "{\"issuer\":\"https://a.example/t\",\"jwks_uri\":\"https://keys.example/k\"}"
        #expect(try keys.take(Array(document.utf8)) == false)
        #expect(keys.steps.map(\.url.description) == ["https://keys.example/k"])
        #expect(try keys.take(Self.set) && keys.hasNewKeys && keys.report.usableKeys == 1)
        keys.plan()
        #expect(keys.steps.count == 1 && !keys.hasNewKeys)
        #expect(try keys.take(Self.set) && !keys.hasNewKeys)
        #expect(!keys.skipAlternative("status 500"))
        keys.plan()
        #expect(keys.steps.count == 3, "the metadata is read again after a failure")
    }

    @Test(arguments: [
        "{\"issuer\":\"https://a.example\",\"jwks_uri\":\"https://a.example/k\"}",
        "{\"issuer\":\"https://a.example/t/\",\"jwks_uri\":\"https://a.example/k\"}",
        "{\"issuer\":\"https://a.example/t\",\"jwks_uri\":\"http://a.example/k\"}",
        "{\"issuer\":\"https://a.example/t\",\"jwks_uri\":\"file:///etc/passwd\"}",
        "{\"issuer\":\"https://a.example/t\"}", "{\"issuer\":\"https://a.example/t\",\"jwks_uri\":5}", "[]",
        "",
        "{\"issuer\":\"https://a.example/t\",\"issuer\":\"https://a.example/t\",\"jwks_uri\":\"https://a.example/k\"}",
    ])
    func metadataThatIsRefused(text: String) throws {
        let keys = try discovering()
        keys.plan()
        #expect(throws: FetchFailure.self) { try keys.take(Array(text.utf8)) }
    }

    @Test(arguments: ["{\"keys\":[]}", "{\"keys\":5}", "<html>", "", "{\"keys\":[{\"kty\":\"odd\"}]}"])
    func aBadKeySetLeavesTheOldOne(text: String) throws {
        let keys = try keys(.url(try #require(RemoteURL("https://a.example/k"))))
        keys.plan()
        #expect(try keys.take(Self.set))
        keys.plan()
        #expect(throws: FetchFailure.self) { try keys.take(Array(text.utf8)) }
        #expect(keys.keys == Self.set && !keys.hasNewKeys && keys.report.usableKeys == 1)
    }
}

@Suite("Numbers of connections") struct TokenSourceTests {
    @Test("however many there have been, each kind keeps to its own: events of another would go to nobody")
    func ranges() {
        let kinds: [(first: UInt64, isOwn: (UInt64) -> Bool)] = [
            (Token.firstProbe, Token.isProbe), (Token.firstFetch, Token.isFetch),
            (Token.firstVerdict, Token.isVerdict), (Token.firstExport, Token.isExport),
        ]
        for (place, kind) in kinds.enumerated() {
            var tokens = TokenSource(above: kind.first, behind: TokenSource.count - 3)
            let given = (0..<5).map { _ in tokens.next() }
            #expect(Set(given).count == 5)
            for token in given {
                #expect(kinds.map { $0.isOwn(token) } == kinds.indices.map { $0 == place })
            }
        }
    }
}
