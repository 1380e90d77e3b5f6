import ArgumentParser
import Testing

@testable import usher

@Suite("Claims on the command line")
struct ClaimsTests {
    private func payload(_ arguments: [String], json: String? = nil) throws -> String {
        var claims = Claims()
        if let json { try claims.merge(json: json) }
        for argument in arguments { try claims.merge(argument: argument) }
        return String(decoding: claims.payload, as: UTF8.self)
    }

    @Test(
        "name=text and name:=json",
        arguments: [
            (["role=admin"], #"{"role":"admin"}"#), (["n=5"], #"{"n":"5"}"#), (["n:=5"], #"{"n":5}"#),
            (["a:=[1, {\"b\":null}]"], #"{"a":[1,{"b":null}]}"#), (["e="], #"{"e":""}"#),
            (["q=a\"b\\c\n"], #"{"q":"a\"b\\c\u000a"}"#), (["exp=12"], #"{"exp":12}"#),
            (["exp=soon"], #"{"exp":"soon"}"#),
            (["url=a=b"], #"{"url":"a=b"}"#), (["a=1", "a=2"], #"{"a":"2"}"#), (["ü=é"], #"{"ü":"é"}"#),
        ])
    func claims(arguments: [String], expected: String) throws {
        #expect(try payload(arguments) == expected)
    }

    @Test("a claim replaces one of the JSON object, in its place")
    func replace() throws {
        #expect(try payload(["a=x"], json: #"{"a":1,"b":2}"#) == #"{"a":"x","b":2}"#)
    }

    @Test(
        "what is no claim is refused",
        arguments: ["", "name", "=x", ":=1", "n:=", "n:=x", "n:={", "n:=01", "n:=1 2", "n:='a'", "n:=[1,]"])
    func badClaim(argument: String) {
        #expect(throws: Claims.Failure.self) { try payload([argument]) }
    }

    @Test(
        "what is no JSON object is refused", arguments: ["", "[]", "1", "{", "{\"a\"}", "{\"a\":1}x", "null"])
    func badObject(json: String) {
        #expect(throws: Claims.Failure.self) { try payload([], json: json) }
    }

    @Test("flags become claims, and --claim wins")
    func flags() throws {
        let command = try TokenSignCommand.parse([
            "--algorithm", "HS256", "--secret-env", "S", "--issuer", "i", "--audience", "a", "--audience",
            "b",
            "--subject", "s", "--lifetime", "2m", "--claim", "sub=other",
        ])
        let text = String(decoding: try command.claims(now: 1000).payload, as: UTF8.self)
        #expect(text == #"{"iss":"i","sub":"other","aud":["a","b"],"iat":1000,"exp":1120}"#)
    }

    @Test(
        "flags that do not go together are a usage error",
        arguments: [
            ["--algorithm", "HS256"], ["--algorithm", "none", "--secret-env", "S"],
            ["--algorithm", "hs256", "--secret-env", "S"], ["--algorithm", "HS256", "--key-file", "k"],
            ["--algorithm", "RS256", "--secret-env", "S"],
            ["--algorithm", "HS256", "--secret-env", "S", "--secret-file", "f"],
            ["--algorithm", "HS256", "--secret-env", "S", "--lifetime", "5"],
            ["--algorithm", "HS256", "--secret-env", "S", "--claim", "x"], ["--secret-env", "S"],
        ])
    func usage(arguments: [String]) {
        #expect {
            _ = try TokenSignCommand.parse(arguments)
        } throws: { error in
            TokenSignCommand.exitCode(for: error).rawValue == 64
        }
    }

    @Test("lifetimes", arguments: [("90s", 90), ("5m", 300), ("1h", 3600), ("7d", 604_800), ("-1h", -3600)])
    func lifetimes(text: String, seconds: Int64) {
        #expect(Lifetime(argument: text)?.seconds == seconds)
    }

    @Test(
        "texts that are no lifetime",
        arguments: ["", "5", "h", "1w", "1.5h", "+1h", "9999999999999999d", "4000000d", "1 h"])
    func badLifetimes(text: String) {
        #expect(Lifetime(argument: text) == nil)
    }
}
