import Reactor
import Testing

@testable import Config

/// What is still shown beside hidden secrets, and what is said of places that hold none.
@Suite struct SecretFormsTests {
    private func issuer(_ secret: String, _ environment: [String: String] = variables) -> LoadedConfiguration
    {
        var sample = Sample()
        sample.issuer = "[issuer.main]\nissuer = 'i'\naudience = 'a'\nsecret = \(secret)\n"
        return load(sample.text, environment)
    }

    @Test(arguments: ["${BETTER_AUTH_SECRET}", "$BETTER_AUTH_SECRET"])
    func aVariableIsNamedWithoutADollar(name: String) {
        let loaded = issuer("{ env = \"\(name)\" }", ["BETTER_AUTH_SECRET": goodSecret])
        #expect(
            headlines(loaded) == [
                "9:18: error: \"env\" is the name of an environment variable: write the name alone, without \"$\"; "
                    + "did you mean \"BETTER_AUTH_SECRET\"?"
            ])
        #expect(loaded.render().contains("9 | secret = { env = \"\(name)\" }\n    |                  ^"))
    }

    @Test func aNameThatMayBeTheSecretIsNotShown() {
        let text = issuer("{ env = 'correcthorsebatterystaple' }").render()
        #expect(
            !text.contains("correct")
                && text.contains("the environment variable that \"env\" names is not set"))
        #expect(text.contains("9 | secret = { env = *************************** }"))
        #expect(headlines(issuer("{ env = 'odd.name' }", ["odd.name": goodSecret])) == [])
    }

    /// What may be read of a value whose file or variable is not there: it is what one looks for.
    @Test(arguments: [
        "{ file = '/run/credentials/usher@main.service/BetterAuthSecret' }",
        "{ file = 'keys/AuthSecret2.txt' }",
        "{ env = 'better_auth_secret' }", "{ env = 'jwt_key2' }",
    ])
    func pathsAndNamesAreShown(secret: String) {
        let loaded = issuer(secret)
        let value = secret.split(separator: "'")[1]
        #expect(headlines(loaded).first?.contains(value) == true, "\(headlines(loaded))")
        #expect(loaded.render().contains(" | secret = \(secret)\n"))
    }

    @Test(arguments: [
        "{ env = 'correct_horse_battery_staple' }", "{ env = 'hunter2_key_of_mine_and_no_other' }",
        "{ env = 'Secret_Key' }", "{ file = 'p@ss.word' }", "{ file = 'CorrectHorse.BatteryStaple' }",
        "{ file = '/p/aBcDeFgHiJkL' }", "{ file = '/run/Kq7RgNU3sdoO' }",
        "{ file = '/Kq/RgNUsdoOLwNhqoVWhr' }",
    ])
    func whatMayBeASecretIsNot(secret: String) {
        let loaded = issuer(secret)
        let value = secret.split(separator: "'")[1]
        #expect(loaded.hasErrors && !loaded.render().contains(value), "\(loaded.render())")
    }

    /// Any file that is there, none of which can be read.
    private struct Unreadable: FileSource {
        func read(path: String) -> FileReading { .failed(reason: "Permission denied") }
        func stamp(path: String) -> FileStamp? { path == "/etc/usher/x8Kq2" ? FileContents.stamp("/") : nil }
    }

    @Test func whatIsThereIsNoSecret() {
        func first(_ secret: String) -> String? {
            var sample = Sample()
            sample.issuer = "[issuer.main]\nissuer = 'i'\naudience = 'a'\nsecret = \(secret)\n"
            return headlines(
                Configuration.load(
                    text: Array(sample.text.utf8), path: "/etc/usher/usher.toml",
                    environment: ["MySecret": goodSecret], files: Unreadable())
            ).first
        }
        #expect(
            first("{ file = 'x8Kq2' }")
                == "9:19: error: cannot read \"/etc/usher/x8Kq2\": Permission denied")
        #expect(first("{ file = 'x8Kq3' }") == "9:19: error: cannot read \"/etc/usher/…\": Permission denied")
        #expect(first("{ file = \"x8Kq2\\u0000\" }")?.contains("x8Kq2") == false)
        #expect(
            first("{ env = 'mysecret' }")
                == "9:18: error: environment variable mysecret is not set (or not UTF-8); did you mean \"MySecret\"?"
        )
    }

    @Test func theExampleOfAMessageIsNotTakenForWhatItHides() {
        var sample = Sample()
        sample.issuer =
            "[issuer.main]\nissuer = 'i'\naudience = 'a'\njwks = 'https://a.example/jwks.json?key=hunter2'\n"
        let loaded = load(sample.text)
        #expect(
            headlines(loaded).first
                == "9:8: error: \"jwks\" must be { file = \"jwks.json\" }, not a string; did you mean \"{ url = '…' }\"?"
        )
        #expect(!loaded.render().contains("hunter2"))
    }

    @Test func anAddressOfVariablesIsShown() {
        func messages(_ address: String, _ environment: [String: String]) -> String {
            load(
                Sample().text + "[shared]\nredis = \"\(address)\"\n",
                environment.merging(variables) { a, _ in a }
            )
            .render()
        }
        let address = "redis://${RH}:6379/0"
        #expect(messages(address, ["RH": ""]).contains("\"\(address)\" lacks a host\n"))
        #expect(
            messages(address, ["RH": "h/x"]).contains(
                "must be the number of a database, such as \"/0\", not that of \"\(address)\"\n"))
        #expect(
            messages("redis://:6379", [:]).contains(
                "\":6379\" lacks a host; did you mean \"127.0.0.1:6379\"?"))
        let login = "redis://${RU}:${RP}@${rh}:6379/0"
        let shown = messages(login, ["RU": "me", "RP": "hunter2", "rh": "cache.example"])
        #expect(shown.contains("is not encrypted") && shown.contains(" | redis = \"\(login)\"\n"))
        #expect(!shown.contains("hunter2"))
    }

    @Test(arguments: [
        ("'hunter2hunter2'", "secret = ****************"), ("[1, 'hunter2']", "secret = **************"),
        ("{ value = 'hunter2' }", "secret = { value = ********* }"), ("12345678", "secret = ********"),
        ("{ env = 'UNSET' } # hunter2", "secret = { env = 'UNSET' } *********"),
        ("'${UNSET}${TOO}'", "secret = '${UNSET}${TOO}'"),
        ("'${UNSET}hunter2'", "secret = *****************"),
        ("{ file = 'not-there/k8s.txt' }", "secret = { file = 'not-there/k8s.txt' }"),
        ("{ file = 'not-there.txt' }", "secret = { file = 'not-there.txt' }"),
    ])
    func theKeyAndTheShapeStay(secret: String, shown: String) {
        let text = issuer(secret).render()
        #expect(text.contains("  9 | \(shown)\n    | "), "\(text)")
        #expect(!text.contains("hunter2"))
    }

    @Test(arguments: [
        "adress = \"127.0.0.1:8080\"", "wrokers = 2 # é", "workers = \"two\"",
        "[limits]\nheader_byte = \"1KiB\"",
        "[log]\nlevel = \"loud\"", "[cors.a]\norigins = [\"nonsense\"]",
        "[tracing]\nurl = \"127.0.0.1:4318\"",
        "[upstream.more]\nauthorization = \"forwrd\"", "[shared]\nredis = \"redis://localhost/x\"",
        "[admin]\nadress = \"${HOST}:1\"", "[revocation]\nfile = \"Lists@1/Revoked.json\"",
        "[revocation]\nfile = \"/Lists@1/Revoked.json\"",
    ])
    func harmlessLinesAreShown(text: String) {
        let last = text.split(separator: "\n").last ?? ""
        let isShown = load(Sample(first: text).text).render().contains(" | \(last)\n")
        #expect(isShown != text.contains("redis"), "a database that is no number may be a password")
    }

    @Test(arguments: [
        ("workers = 1\nworkers = 2", " 2 | workers = 2\n"), ("[upstream.tasks\n", " 1 | [upstream.tasks\n"),
        ("[log]\n[log] # x", " 2 | [log] * *\n"), ("[issuer.main]\nsecret = \"a b", " 2 | secret = ** *\n"),
        ("[log]\r\nlevel = \"info\r\n", " 2 | level = *****\n"), ("a = \"\"\"\nabc=\n", " 2 | ****\n"),
    ])
    func aTextThatIsNoTOMLShowsItsKeys(text: String, shown: String) {
        let rendered = load(text).render()
        #expect(rendered.contains(shown), "\(rendered)")
    }

    @Test func whatTheParserQuotesIsNoValue() {
        let quoted = TOMLComplaint.withoutValues
        #expect(quoted("expected value-terminator, saw 'h'") == "expected value-terminator, saw '…'")
        #expect(
            quoted("cannot redefine existing table 'log.sample'")
                == "cannot redefine existing table 'log.sample'")
        #expect(quoted("'0xabc' is not representable in 64 bits") == "'…' is not representable in 64 bits")
        #expect(quoted("expected a, saw '''") == "expected a, saw …")
        #expect(quoted("expected ']', saw '\\n'") == "expected ']', saw '\\n'")
        #expect(quoted("expected day between 1 and 30 (inclusive), saw 99").hasSuffix("saw …"))
    }

    @Test func whatEditorsPutIntoASecretsFileIsWarnedOf() {
        func warnings(_ contents: String) -> [String] {
            let folder = MemoryFiles(files: ["/etc/usher/s": contents])
            var sample = Sample()
            sample.issuer = "[issuer.main]\nissuer = 'i'\naudience = 'a'\nsecret = { file = 's' }\n"
            let loaded = Configuration.load(
                text: Array(sample.text.utf8), path: "/etc/usher/usher.toml", environment: [:], files: folder)
            #expect(!loaded.hasErrors && !loaded.render().contains("0123456"))
            return headlines(loaded)
        }
        #expect(
            warnings(goodSecret) == [] && warnings(goodSecret + "\n") == []
                && warnings(goodSecret + "\r\n") == [])
        #expect(
            warnings("\u{feff}" + goodSecret).first?.contains(
                "9:19: warning: the file of \"secret\" begins with a") == true)
        for contents in [goodSecret + "\n\n", " " + goodSecret, goodSecret + " \n", goodSecret + "\t"] {
            #expect(warnings(contents).first?.contains("white space or a further line end") == true)
        }
        #expect(warnings(goodSecret + "\n" + goodSecret + "\n").first?.contains("several lines") == true)
    }

    @Test func aQuestionIsNoPartOfAnAddressThatIsLogged() {
        #expect(RemoteURL("https://h/keys?key=hunter2").map(\.place) == "https://h/keys?…")
        #expect(RemoteURL("https://h/keys?key=hunter2")?.target == "/keys?key=hunter2")
    }

    /// Another one's values are hidden, which is safe, and of no help.
    @Test func everyKeyIsSortedIn() {
        let keys = [
            ConfigurationReader.keys, ConfigurationReader.listenerKeys, ConfigurationReader.upstreamKeys,
            ConfigurationReader.issuerKeys, ConfigurationReader.routeKeys, ConfigurationReader.limitKeys,
            ConfigurationReader.crossOriginKeys, ConfigurationReader.sessionKeys,
            ConfigurationReader.sharedKeys,
            ConfigurationReader.tracingKeys, ConfigurationReader.introspectionKeys,
            ConfigurationReader.revocationKeys,
        ].joined()
        for key in keys { #expect(KeyKinds.all.contains(key), "\(key)") }
        let shown = ShippedFilesTests.load("usher.example.toml").source
        #expect(!shown.contains("***") || shown.contains("claims = { "))
    }
}
