import Testing

@testable import Config

@Suite struct RenderingTests {
    @Test func allMistakesComeInOneRunInTheOrderOfTheFile() {
        let loaded = load(
            """
            workers = -1
            [[route]]
            path = "/a"
            upstream = "tsaks"
            [upstream.tasks]
            servers = []
            retries = 99
            [listen.public]
            address = "nowhere"
            [issuer.main]
            leeway = 5
            [limits]
            header_byte = 5
            """)
        #expect(
            headlines(loaded).map { $0.prefix { $0 != " " } } == [
                "1:11:", "2:1:", "4:12:", "6:11:", "7:11:", "9:11:", "10:1:", "10:1:", "10:1:", "11:10:",
                "13:1:",
            ])
        #expect(loaded.configuration == nil)
    }

    @Test func theLineAndACaretFollowTheHeadline() {
        let loaded = load(Sample(first: "\twrokers = 2 # é").text)
        #expect(
            loaded.render() == """
                /etc/usher/usher.toml:1:2: error: unknown key "wrokers" in the file; did you mean "workers"?
                  1 | \twrokers = 2 # é
                    | \t^

                """)
    }

    @Test func columnsCountCharactersAndNotBytes() {
        let loaded = load(Sample(first: "workers = [\"éé\", 1]").text)
        #expect(headlines(loaded).first?.hasPrefix("1:11: ") == true)
        let inner = load(
            Sample(first: "listen.b = { address = \"1.1.1.1:1\", trusted_proxies = [\"é\", \"x\"] }").text)
        #expect(headlines(inner).map { $0.prefix { $0 != " " } }.last == "1:61:")
    }

    @Test func aSecretInTheFileIsNeverShown() {
        var sample = Sample()
        for secret in ["\"hunter2\"", "'hunter2'", "\"\"\"\nhunter2\"\"\""] {
            sample.issuer = "[issuer.main]\nissuer = 'i'\naudience = 'a'\nsecret = \(secret)\n"
            let loaded = load(sample.text)
            #expect(!loaded.render().contains("hunter2") && !loaded.source.contains("hunter2"))
            #expect(loaded.render().contains("secret = ***"))
        }
        let broken = load("secret = \"hunter2")
        #expect(broken.hasErrors && !broken.render().contains("hunter2"))
    }

    @Test func controlCharactersOfTheFileReachNoTerminal() {
        let rendered = load(Sample(first: "\"a\\u001b[31m\\nb\" = 1").text).render()
        #expect(!rendered.contains("\u{1B}"))
        #expect(rendered.split(separator: "\n").count == 3)
    }

    @Test func aTextThatIsNoTOMLIsOneMistakeWithItsPlace() {
        let loaded = load("workers = 1\nworkers = 2\n")
        #expect(loaded.diagnostics.count == 1 && loaded.configuration == nil)
        #expect(headlines(loaded)[0].hasPrefix("2:"))
        #expect(loaded.render().contains("  2 | workers = 2\n"))
    }

    @Test func aFileThatCannotBeReadIsADiagnostic() {
        let named = Configuration.load(path: "/nope.toml", environment: [:], files: files)
        #expect(
            named.render() == "/nope.toml: error: cannot read the configuration: No such file or directory\n")
        let fromEnvironment = Configuration.load(
            path: nil, environment: ["USHER_CONFIG": "/nope.toml"], files: files)
        #expect(fromEnvironment.path == "/nope.toml" && fromEnvironment.hasErrors)
        let nowhere = Configuration.load(path: nil, environment: [:], files: files)
        #expect(nowhere.hasErrors && nowhere.render().contains("./usher.toml"))
    }

    @Test func theDefaultPathsAreTriedInTurn() {
        let here = MemoryFiles(files: ["./usher.toml": Sample().text])
        #expect(Configuration.load(path: nil, environment: variables, files: here).path == "./usher.toml")
        let both = MemoryFiles(files: ["./usher.toml": "", "/etc/usher/usher.toml": Sample().text])
        let loaded = Configuration.load(path: nil, environment: variables, files: both)
        #expect(loaded.path == "/etc/usher/usher.toml" && loaded.configuration != nil)
    }

    @Test func aDirectoryIsNoConfiguration() {
        let loaded = Configuration.load(path: "/", environment: [:], files: SystemFiles())
        #expect(loaded.render() == "/: error: cannot read the configuration: Is a directory\n")
        #expect(SystemFiles.environment()["PATH"] != nil)
    }
}
