import Testing

@testable import Config

/// A secret in every place that can hold one, in every wrong form: nothing that is printed may have a piece of it.
@Suite struct HiddenSecretsTests {
    /// No word that a message or a file would have of itself, and no piece of one.
    static let canary = "Kq7RgNU3sdoOL0wNhqoVWhr3g6s1xYv72olp9Zq4"

    /// Where a secret belongs, or what somebody takes for such a place; `@` is the value.
    static let places = [
        "[issuer.other]\nissuer = 'o'\naudience = 'a'\nsecret = @",
        "[issuer.other]\nissuer = 'o'\naudience = 'a'\nsecret_key = @",
        "[issuer.other]\nsecret.value = @", "issuer.other = { secret = @ }", "issuer = { secret = @ }",
        "[issuer.other]\nissuer = 'o'\naudience = 'a'\nsecre = @\nhmac = @",
        "[issuer.other]\nissuer = 'o'\naudience = 'a'\nintrospection = { url = 'https://a/', client_id = 'c', client_secret = @ }",
        "[issuer.other]\nissuer = 'o'\naudience = 'a'\nintrospection = { url = 'https://a/', client_secrets = @ }",
        "[session.browser]\nprovider = 'better-auth'\nsecret = @",
        "[session.browser]\nprovider = 'better-auth'\nsecrets = @",
        "[admin]\naddress = '127.0.0.1:1'\ntoken = @", "[admin]\ntoken = @\ntokn = @", "admin.password = @",
        "[shared]\nredis = @", "[shared]\nredis = 'redis://h'\npassword = @",
        "[shared]\nredis = 'redis://h'\npasswd = @",
        "[shared]\nuser = @", "[tracing]\nurl = 'http://h'\nheaders = @",
        "[tracing]\nurl = 'http://h'\nheaders = { 'X-Key' = @ }",
        "[tracing]\nheaders = { 'X' = { env = 'NOPE' }, 'Y' = @ 'Z' = 1 }", "[tracing]\nheader = { 'X' = @ }",
        "[tracing]\nurl = 'http://h'\nresource = { a = @ }", "[tracing.headers]\nAuthorization = @",
        "[upstream.more]\nservers = ['127.0.0.1:1']\nauthorization = { bearer = @ }",
        "[upstream.more]\nservers = ['127.0.0.1:1']\nauthorization = { bearr = @ }",
        "[upstream.more]\nauthorization = { mint = { secret = @ } }",
        "[upstream.more]\nauthorization = { mint = @ }",
        "[upstream.more]\nauthorization = { mint = { secret = { env = 'SECRET' }, claims = { sub = @ } } }",
        "[upstream.more]\nauthorization = { mint = { secret = { env = 'SECRET' }, claims = @ } }",
        "[upstream.more.authorization]\nbearer = @", "[vault]\npath = @", "secret = @", "api_key = @",
        "[secret]\nvalue = @",
        "[limits]\npass = @", "[[route]]\nbasic_auth = @", "[[route]]\npassword = @",
    ]

    /// What may stand there; `#` is the secret. The environment has it as `CANARY`.
    static let forms = [
        "#", "\"#\"", "'#'", "\"\"\"\n#\"\"\"", "'''\n#\n'''", "[\"#\"]", "[[\"#\", 1], { value = \"#\" }]",
        "{ value = \"#\" }",
        "{ base64 = '#', env = 'NOPE' }", "{ # = 1 }", "{ env = \"#\" }", "{ env = # }", "{ env = [\"#\"] }",
        "{ env = \"$#\" }",
        "{ file = \"#\" }", "{ file = \"/run/#\" }", "{ file = '''\n#''' }", "{ path = \"#\" }",
        "{ env = \"${CANARY}\" }",
        "{ env = \"$CANARY\" }", "{ env = \"X${CANARY}\" }", "{ file = \"${CANARY}\" }",
        "{ file = \"/run/${CANARY}/x\" }",
        "\"${CANARY}\"", "\"x ${CANARY}\"", "\"${NOPE:-#}\"", "\"${#}\"", "\"${#\"", "\"${NOPE}#\"",
        "{ file = \"${NOPE:-#}\" }", "{ file = \"${#}/x\" }", "{ file = \"/run/a@#\" }",
        "{ file = \"/run/${#}/x\" }", "\"redis://${#}:1\"", "\"redis://${U}:${P}#@h:1\"",
        "\"redis://${U}:${P:-#}@h:1\"", "\"redis://${U}:${CANARY}@h:x\"",
        "\"Bearer #\"", "\"Bearer ${CANARY}\"", "\"redis://u:#@h:1\"", "\"redis://u:#@h:x\"",
        "\"redis://:#\"", "\"redis://h/#\"",
        "\"redis://u:#@h/${CANARY}\"", "\"redis://u:${CANARY}@h:x\"", "{ env = \"REDIS\" }",
        "\"https://u:#@h/\"", "\"2:#\"",
        "\"2:#,2:#\"", "{ secret = \"#\" }", "{ env = 'SECRET' } # #", "{ env = 'NOPE' } # #",
        "\"short\" # #", "5 # #",
        // No TOML.
        "\"#", "'#", "\"\"\"\n#\n", "'''\n#", "{ env = \"#\"", "{ value = \"#\" ", "[\"#\"", "[\n\"#\"\n",
        "\"#\" #", "\"#\" \"#\"",
        "\"#\\q\"", "\"#\n\"", "#=", "# = #", "\n#", "\n[#]", "[#", "{ # }", "{\n#\n}", "0#", "0x#", "1979-#",
        "\"#\"\n#=\n",
        "\"\"\"\n#=\n#.secret = #\n",
    ]

    static let environment = variables.merging([
        "CANARY": canary, "REDIS": "redis://u:\(canary)@\(canary):x", "LIST": "2:\(canary),x:\(canary)",
    ]) { _, new in new }

    /// Each six characters in a row, in lower case.
    private static func pieces(_ text: String) -> Set<UInt64> {
        var pieces: Set<UInt64> = []
        var last: UInt64 = 0
        for (index, byte) in text.utf8.enumerated() {
            let folded = (0x41...0x5A).contains(byte) ? byte | 0x20 : byte
            last = (last << 8 | UInt64(folded)) & 0xFFFF_FFFF_FFFF
            if index >= 5 { pieces.insert(last) }
        }
        return pieces
    }

    private static let secretPieces = pieces(canary)

    /// Whether a text has a piece of the secret, in whichever case.
    static func shows(_ text: String) -> Bool { !pieces(text).isDisjoint(with: secretPieces) }

    static func expectHidden(_ text: String) {
        let loaded = load(text, environment)
        let shown = loaded.render()
        #expect(!shows(shown + loaded.source), "\(text)\n\(shown)")
    }

    @Test(arguments: places)
    func noWrongFormOfASecretIsShown(place: String) {
        for form in Self.forms {
            let value = form.split(separator: "#", omittingEmptySubsequences: false).joined(
                separator: Self.canary
            )
            // A comment is what these two are about.
            .replacing(" \(Self.canary) \(Self.canary)", with: " # \(Self.canary)")
            let text = place.split(separator: "@", omittingEmptySubsequences: false).joined(separator: value)
            Self.expectHidden(Sample().text + "\n" + text + "\n")
            Self.expectHidden(text + "\n" + Sample().text)
        }
    }

    /// Every key of the file, with a value that is made of a variable: it is quoted as it is written.
    @Test(arguments: [
        "\"${CANARY}\"", "\"${CANARY}:99999\"", "\"https://u:${CANARY}@h\"", "[\"${CANARY}\"]",
        "{ file = \"${CANARY}\" }",
        "{ url = \"ftp://${CANARY}\" }", "\"/{${CANARY}\"", "\"30${CANARY}\"",
        "{ address = \"[${CANARY}]:1\" }",
        "{ a = \"${CANARY} x\" }", "\"unix:@${CANARY}\"",
        "[{ certificate = \"${CANARY}\", key = \"${CANARY}\" }]",
        "\"optional:${CANARY}\"", "[\"${CANARY}/8\", \"[${CANARY}\"]",
    ])
    func noValueOfAVariableIsShown(form: String) {
        let tables = [
            "[listen.a]", "[listen.a.tls]", "[upstream.a]", "[upstream.a.tls]", "[issuer.a]", "[session.a]",
            "[identity]",
            "[[route]]", "[cors.a]", "[rate_limit.a]", "[limits]", "[log]", "[admin]", "[shared]",
            "[tracing]", "[revocation]",
            "[upstream.a.health]", "[upstream.a.eject]", "[issuer.a.jwks]", "[issuer.a.introspection]",
            "[listen.a.hsts]",
            "[upstream.a.authorization.mint]", "[route.rewrite]", "[route.redirect]",
            "[listen.a.tls.tickets]", "",
        ]
        for table in tables {
            let keys = KeyKinds.all.sorted().map { "\($0) = \(form)" }.joined(separator: "\n")
            Self.expectHidden("\(table)\n\(keys)\n")
        }
    }

    @Test func theUnexpandedTextIsQuoted() {
        func first(_ text: String, _ environment: [String: String] = Self.environment) -> String {
            headlines(load(Sample(first: text).text, environment)).first ?? ""
        }
        #expect(first("workers = \"${CANARY}\"").contains("not \"${CANARY}\""))
        #expect(first("[admin]\naddress = \"${CANARY}:1:2\"").contains("not \"${CANARY}:1:2\""))
        #expect(
            first("[tracing]\nurl = \"https://u:${CANARY}@h\"").hasPrefix(
                "2:7: error: \"…${CANARY}…\" is not a URL"))
        #expect(first("[log]\nlevel = \"x${CANARY}\"").contains("must be one of \"trace\", "))
        #expect(first("[log]\nlevel = \"x${CANARY}\"").hasSuffix("not \"x${CANARY}\""))
        let file = "[admin]\naddress = '127.0.0.1:1'\ntoken = { file = \"${CANARY}\" }"
        #expect(first(file) == "3:18: error: cannot read \"/etc/usher/${CANARY}\": No such file or directory")
    }
}
