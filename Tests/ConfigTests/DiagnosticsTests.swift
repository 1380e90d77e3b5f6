import Testing

@testable import Config

/// A mistake in one part of an otherwise good file, and what is said about it: `LINE:COLUMN: fragment`.
/// Added text begins at line 2 (`first`: 1), 4, 6, 10 or 14; replacing text where the part begins.
struct Mistake: Sendable, CustomTestStringConvertible {
    enum Part: Sendable { case first, listen, upstream, issuer, route }

    var part: Part
    var text: String
    var replaces = false
    var expected: [String]

    var testDescription: String { "\(part): \(text)" }

    static func add(_ part: Part, _ text: String, _ expected: String...) -> Mistake {
        Mistake(part: part, text: text, expected: expected)
    }

    static func replace(_ part: Part, _ text: String, _ expected: String...) -> Mistake {
        Mistake(part: part, text: text, replaces: true, expected: expected)
    }

    var sample: Sample {
        var sample = Sample()
        func changed(_ old: String) -> String { (replaces ? "" : old) + text + "\n" }
        switch part {
        case .first: sample.first = text
        case .listen: sample.listen = changed(sample.listen)
        case .upstream: sample.upstream = changed(sample.upstream)
        case .issuer: sample.issuer = changed(sample.issuer)
        case .route: sample.route = changed(sample.route)
        }
        return sample
    }
}

@Suite struct DiagnosticsTests {
    private func check(_ mistake: Mistake, severity: String = "error") {
        let loaded = load(mistake.sample.text)
        let found = headlines(loaded).filter { $0.contains(": \(severity): ") }
        #expect(found.count == mistake.expected.count, "\(found)")
        for (line, expected) in zip(found, mistake.expected) {
            let place = expected.split(separator: " ", maxSplits: 1)
            #expect(line.hasPrefix("\(place[0]) \(severity): "), "\(line) is not at \(place[0])")
            #expect(line.contains(place[1]), "\(line) does not contain \(place[1])")
        }
        if severity == "error" { #expect(loaded.configuration == nil && loaded.hasErrors) }
    }

    static let topLevel: [Mistake] = [
        .add(.first, "worker = 2", "1:1: unknown key \"worker\" in the file; did you mean \"workers\"?"),
        .add(.first, "workers = 0", "1:11: between 1 and 1024, not 0"),
        .add(.first, "workers = \"atuo\"", "1:11: did you mean \"auto\"?"),
        .add(
            .first, "workers = true",
            "1:11: \"workers\" must be \"auto\" or a whole number, not true or false"),
        .add(.first, "wacth = true", "1:1: unknown key \"wacth\" in the file; did you mean \"watch\"?"),
        .add(.first, "watch = 1", "1:9: \"watch\" must be true or false, not a number"),
        .add(
            .first, "takeover = \"unix:/run/a\"",
            "1:12: \"takeover\" needs a path, such as \"/run/usher/takeover.sock\"; did you mean \"/run/a\"?"),
        .add(.route, "[log]\nsampel = {}", "15:1: unknown key \"sampel\" in [log]; did you mean \"sample\"?"),
        .add(
            .route, "[log]\nsample = { \"2xx\" = 1.5, \"4xx\" = \"all\", \"6xx\" = 1 }",
            "15:20: must be between 0 and 1", "15:33: must be a number from 0 to 1", "15:40: unknown key"),
        .add(
            .route, "[log]\naccess_format = \"combine\"",
            "15:17: must be one of \"json\", \"combined\", not \"combine\"; did you mean \"combined\"?"),
        .add(
            .route, "[admin]\naddress = \"127.0.0.1:1\"\nnames = [\"a b\"]\ntokne = 1",
            "16:10: holds host names", "17:1: did you mean \"token\"?"),
        .add(.first, "shared.redis = \"r\"", "1:16: must be an address such as \"redis://127.0.0.1:6379\""),
        .add(.first, "shared = {}", "1:10: [shared] needs \"redis\""),
        .add(
            .route, "[shared]\nredis = \"redis://127.0.0.1/x\"\ntimeot = 1",
            "15:9: must be the number of a database", "16:1: did you mean \"timeout\"?"),
        .add(.first, "tracing = {}", "1:11: [tracing] needs \"url\""),
        .add(.first, "tracing = 1", "1:11: \"tracing\" must be a table"),
        .add(.route, "[tracing]\nurll = \"x\"", "15:1: did you mean \"url\"?"),
        .add(.route, "[tracing]\nurl = \"127.0.0.1:4318\"", "15:7: is not a URL such as"),
        .add(
            .route,
            "[tracing]\nurl = \"http://a\"\nsample = 1.5\ncontinue_from = \"all\"\nsampled_by = \"trustd\"\ninclude = [\"pth\"]",
            "16:10: must be between 0 and 1", "17:17: must be one of \"anyone\", \"trusted\", \"nobody\"",
            "18:14: did you mean \"trusted\"?", "19:12: did you mean \"path\"?"),
        .add(
            .route,
            "[tracing]\nurl = \"http://a\"\nservice = \"\"\nresource = { \"service.name\" = \"x\", \"b\" = 1 }\ntimeout = \"1ms\"",
            "16:11: must have 1 to 255 bytes", "17:14: cannot stand in \"resource\"",
            "17:42: \"b\" must be a string", "18:11: \"timeout\" must be between"),
        .add(
            .route,
            "[tracing]\nurl = \"http://a\"\nheaders = { \"Host\" = { env = \"X\" }, \"a b\" = { env = \"X\" }, \"c\" = { env = \"NOPE\" } }",
            "16:13: is no header that can be sent", "16:37: is no header",
            "16:74: NOPE is not set (or not UTF-8)"),
        .add(.route, "[cors.app]", "14:1: [cors.app] needs \"origins\""),
        .add(.route, "[cors.app]\norigins = []", "15:11: \"origins\" is empty"),
        .add(.route, "[cors.app]\norigin = []", "15:1: did you mean \"origins\"?"),
        .add(
            .route, "[cors.app]\norigins = [\"*\"]\ncredentials = true",
            "15:12: \"*\" with \"credentials\": every page of the web could read"),
        .add(.route, "[cors.app]\norigins = [\"https://a.test\", \"*\"]", "15:30: \"*\" stands alone"),
        .add(.route, "[cors.app]\norigins = [\"null\"]", "15:12: \"null\" is no origin to trust"),
        .add(.route, "[cors.app]\norigins = [\"https://*.a.test\"]", "15:12: compared whole, name each"),
        .add(
            .route, "[cors.app]\norigins = [\"https://App.test:443/x\"]",
            "15:12: as browsers write it; did you mean \"https://app.test\"?"),
        .add(.route, "[cors.app]\norigins = [\"app.test\"]", "15:12: is not an origin, such as"),
        .add(.route, "[cors.app]\norigins = [\"http://a\", \"http://a\"]", "15:24: named twice"),
        .add(
            .route, "[cors.app]\norigins = [\"http://a\"]\nmethods = [\"get\", \"*\", \"TRACE\"]",
            "16:12: did you mean \"GET\"?", "16:19: is not a method that a page may use: name each",
            "16:24: is not a method that a page may use"),
        .add(
            .route,
            "[cors.app]\norigins = [\"http://a\"]\ncredentials = true\nheaders = [\"*\"]\nexpose_headers = [\"a b\", \"X\", \"x\"]",
            "17:12: \"*\" in \"headers\" means nothing with \"credentials\"",
            "18:19: \"a b\" in \"expose_headers\" is not a header name", "18:31: named twice"),
        .add(
            .route, "[cors.app]\norigins = [\"http://a\"]\nheaders = [\"*\", \"a\"]\nmax_age = \"2d\"",
            "16:12: \"*\" in \"headers\" stands alone", "17:11: between 0s and 1d"),
        .add(.route, "[cors.app]\norigins = [\"http://a\"]\nmax_age = \"1500ms\"", "16:11: whole seconds"),
        .add(
            .route,
            "[cors.app]\norigins = [\"http://a\"]\nexpose_headers = [\"\(String(repeating: "a", count: 1024))\"]",
            "14:7: [cors.app] is too long"),
        .add(
            .route, "[session.browser]", "14:1: [session.browser] needs \"provider\"",
            "14:1: [session.browser] needs \"secret\""),
        .add(
            .route, "[rate_limit.per-user]", "14:1: [rate_limit.per-user] needs \"key\"",
            "14:1: [rate_limit.per-user] needs \"requests\"",
            "14:1: [rate_limit.per-user] needs \"per\""),
        .add(
            .route, "[rate_limit.a]\nkey = \"ip\"\nrequests = 0\nper = \"1s\"\nburst = 0",
            "15:7: must be one of", "16:12: between 1 and 1000000", "18:9: between 1 and 1000000"),
        .add(
            .route, "[rate_limit.a]\nkey = \"user\"\nrequests = 1\nper = \"1500ms\"",
            "17:7: must be whole seconds"),
        .add(
            .route, "[rate_limit.a]\nkey = \"user\"\nrequests = 1\nper = 10", "17:7: is a bare number"),
        .add(.route, "[limits]\nfailed_authentications = 5", "15:26: must be \"off\" or a table"),
        .add(
            .route, "[limits]\nfailed_authentications = { requests = 5 }",
            "15:26: \"failed_authentications\" needs \"per\""),
        .add(.route, "[revocation]\nfile = \"nope\"", "15:8: cannot read"),
        .add(.route, "[revocation]\nfile = \"jwks.json\"", "15:8: is not a list such as"),
        .add(.route, "[revocation]\nfiles = \"x\"", "15:1: did you mean \"file\"?"),
        .add(.first, "identity = 5", "1:12: \"identity\" must be a table, not a number"),
    ]

    @Test(arguments: topLevel) func topLevelMistakes(mistake: Mistake) { check(mistake) }

    static let listeners: [Mistake] = [
        .replace(.listen, "", "1:1: there is no listener"),
        .replace(.listen, "[listen]", "1:1: [listen] has no listener"),
        .replace(
            .listen, "listen = 5", "2:10: \"listen\" must be named tables such as [listen.main], not a number"
        ),
        .replace(.listen, "[listen]\naddress = \"h:1\"", "3:1: [listen] holds named tables"),
        .replace(.listen, "[listen.\"a b\"]\naddress = \"1.1.1.1:1\"", "2:9: the name \"a b\""),
        .replace(.listen, "[listen.public]", "2:1: [listen.public] needs \"address\""),
        .replace(.listen, "[listen.public]\nadress = \"1.1.1.1:1\"", "3:1: did you mean \"address\"?"),
        .replace(
            .listen, "[listen.public]\naddress = 8080", "3:11: \"address\" must be a string, not a number"),
        .replace(.listen, "[listen.public]\naddress = \"0.0.0.0\"", "3:11: lacks a port"),
        .replace(.listen, "[listen.public]\naddress = \"8080\"", "3:11: lacks a host"),
        .replace(.listen, "[listen.public]\naddress = \":8080\"", "3:11: did you mean \"0.0.0.0:8080\"?"),
        .replace(.listen, "[listen.public]\naddress = \"0.0.0.0:0\"", "3:11: between 1 and 65535"),
        .replace(.listen, "[listen.public]\naddress = \"0.0.0.0:65536\"", "3:11: between 1 and 65535"),
        .replace(.listen, "[listen.public]\naddress = \"::1:8080\"", "3:11: in brackets"),
        .replace(.listen, "[listen.public]\naddress = \"[::1]\"", "3:11: is not [v6]:port"),
        .replace(.listen, "[listen.public]\naddress = \"[1.2.3.4]:80\"", "3:11: is not an IPv6 address"),
        .replace(
            .listen, "[listen.public]\naddress = \"300.0.0.1:80\"",
            "3:11: neither an IP address nor a host name"),
        .replace(
            .listen, "[listen.public]\naddress = \"example.com:80\"", "3:11: a listener needs an IP address"),
        .replace(.listen, "[listen.public]\naddress = \"unix:\"", "3:11: needs the path of a socket"),
        .replace(
            .listen, "[listen.public]\naddress = \"unix:/\(String(repeating: "a", count: 107))\"",
            "3:11: at most 107"),
        .replace(
            .listen, "[listen.public]\naddress = \"${NOPE}\"",
            "3:11: environment variable NOPE is not set (or not UTF-8)"),
        .replace(.listen, "[listen.public]\naddress = \"${NOPE\"", "3:11: without \"}\""),
        .replace(
            .listen, "[listen.public]\naddress = \"${1}:80\"", "3:11: does not name an environment variable"),
        .replace(
            .listen, "[listen.public]\naddress = \"${NOPE:-${HOST}}:80\"",
            "3:11: the default of \"${NOPE:-…}\" has a \"${\""),
        .replace(
            .listen, "[listen.public]\naddress = \"${HOST:-${NOPE}}:80\"",
            "3:11: the default of \"${HOST:-…}\" has a \"${\""),
        .add(
            .listen, "[listen.b]\naddress = \"127.0.0.1:8080\"",
            "5:11: [listen.b] has the address of [listen.public]"),
        .add(
            .listen, "[admin]\naddress = \"127.0.0.1:8080\"",
            "5:11: [admin] has the address of [listen.public]"),
        .add(
            .listen, "[listen.b]\naddress = \"0.0.0.0:8080\"",
            "5:11: [listen.b] has a part of the address of [listen.public]: 0.0.0.0:8080 and 127.0.0.1:8080"),
        .add(
            .listen, "[listen.b]\naddress = \"[::]:80\"\n[admin]\naddress = \"[::1]:80\"",
            "7:11: [admin] has a part of the address of [listen.b]"),
        .add(.listen, "[admin]", "4:1: [admin] needs \"address\""),
        .add(.listen, "proxy_protocol = true", "4:1: \"proxy_protocol\" needs \"trusted_proxies\""),
        .add(.listen, "proxy_protocol = 1", "4:18: must be true or false"),
        .add(
            .listen,
            "protocols = [\"http/1.1\", \"h2\"]\nmode = \"forward-auth\"\ntrusted_proxies = [\"10.1.0.0/16\"]",
            "4:26: a forward-auth listener speaks \"http/1.1\" alone"),
        .add(.listen, "protocols = [\"http/2\"]", "4:14: unknown protocol \"http/2\""),
        .add(.listen, "protocols = []", "4:13: \"protocols\" is empty"),
        .add(
            .listen, "tls.certificates = []\ntls.client_ca = \"x\"", "4:20: \"certificates\" is empty",
            "5:17: cannot read \"/etc/usher/x\""),
        .add(
            .listen, "tls.certificate = []",
            "4:5: unknown key \"certificate\" in \"tls\" of [listen.public]; did you mean \"certificates\"?"),
        .add(.listen, "tls = true", "4:7: \"tls\" must be a table with \"certificates\", not"),
        .add(
            .listen, "tls.certificates = [{ certificate = \"c\", key = \"k\" }]",
            "4:37: cannot read \"/etc/usher/c\"",
            "4:48: cannot read \"/etc/usher/k\""),
        .add(.listen, "tls.certificates = [1]", "4:21: \"certificates\" must hold { certificate"),
        .add(
            .listen, "tls.client_auth = \"optional\"", "4:1: needs \"certificates\"",
            "4:5: needs \"client_ca\""),
        .add(
            .listen, "tls.minimum_version = \"1.1\"", "4:1: needs \"certificates\"",
            "4:23: \"minimum_version\" must be one of \"1.2\", \"1.3\""),
        .add(.listen, "redirect = \"https\"", "4:1: \"redirect\" of a listener needs mode = \"redirect\""),
        .add(
            .listen, "mode = \"redirect\"\nredirect = \"http\"",
            "5:12: \"redirect\" must be \"https\", or \"https:8443\" with another port than 443, not \"http\""
        ),
        .add(.listen, "tls.hsts = \"1 year\"", "4:1: needs \"certificates\"", "4:12: \"hsts\""),
        .add(.listen, "trusted_proxies = \"10.0.0.0/8\"", "4:19: must be a list of strings, not a string"),
        .add(.listen, "trusted_proxies = [1]", "4:20: must hold strings, not a number"),
        .add(.listen, "trusted_proxies = [\"10.0.0.0/33\"]", "4:20: between 1 and 32"),
        .add(.listen, "trusted_proxies = [\"10.0.0.1/8\"]", "4:20: did you mean \"10.0.0.0/8\"?"),
        .add(.listen, "trusted_proxies = [\"proxy\"]", "4:20: is not a CIDR"),
    ]

    @Test(arguments: listeners) func listenerMistakes(mistake: Mistake) { check(mistake) }

    @Test(
        "H9: nobody can trust everybody",
        arguments: [
            "0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/7", "::/1", "8000::/1",
            "::ffff:0:0/96",
            "::ffff:0.0.0.0/97", "::/64", "1.2.3.4/0", "::1/0",
        ])
    func everybodyIsRefused(range: String) {
        check(.add(.listen, "trusted_proxies = [\"\(range)\"]", "4:20: would trust everybody"))
    }

    static let upstreams: [Mistake] = [
        .replace(.upstream, "[upstream.tasks]", "4:1: [upstream.tasks] needs \"servers\""),
        .replace(.upstream, "[upstream.tasks]\nservers = []", "5:11: is empty"),
        .replace(.upstream, "[upstream.tasks]\nservers = \"h:1\"", "5:11: must be a list"),
        .replace(.upstream, "[upstream.tasks]\nservers = [5]", "5:12: must hold strings or {"),
        .replace(
            .upstream, "[upstream.tasks]\nservers = [\"http://127.0.0.1:8000/x\"]",
            "5:12: did you mean \"127.0.0.1:8000\"?"),
        .replace(
            .upstream, "[upstream.tasks]\nservers = [\"a:1\", \"A:1\"]", "5:19: names the server a:1 twice"),
        .replace(
            .upstream, "[upstream.tasks]\nservers = [{ weight = 1001 }]", "5:12: needs \"address\"",
            "5:23: between 1 and 1000"),
        .replace(
            .upstream, "[upstream.tasks]\nservers = [{ adress = \"a:1\" }]", "5:14: unknown key \"adress\""),
        .replace(.upstream, "[upstream]\ntasks = 5", "5:1: [upstream] holds named tables"),
        .add(.upstream, "protocol = \"http/1\"", "6:12: must be one of \"http/1.1\""),
        .add(.upstream, "balance = \"hash-users\"", "6:11: did you mean \"hash-user\"?"),
        .add(.upstream, "balance = \"random\"", "6:11: must be one of \"round-robin\", \"least-requests\","),
        .add(.upstream, "balance = \"least-request\"", "6:11: did you mean \"least-requests\"?"),
        .add(.upstream, "tls = 1", "6:7: \"tls\" must be true, false or a table"),
        .add(.upstream, "tls = { ca = \"x\" }", "6:14: cannot read \"/etc/usher/x\""),
        .add(.upstream, "tls = { certificate = \"x\" }", "6:1: needs \"key\""),
        .add(.upstream, "tls = { server_name = \"a.example:443\" }", "6:23: is not a host name"),
        .add(.upstream, "health = true", "6:10: \"health\" must be a table such as"),
        .add(.upstream, "health = {}", "6:10: \"health\" of [upstream.tasks] needs \"path\""),
        .add(.upstream, "health = { path = \"h\" }", "6:19: must begin with a slash"),
        .add(.upstream, "health = { path = \"/a b\" }", "6:19: visible ASCII"),
        .add(.upstream, "health = { path = \"/h#x\" }", "6:19: without \"#\""),
        .add(.upstream, "health = { paht = \"/h\" }", "6:12: did you mean \"path\"?"),
        .add(.upstream, "health = { path = \"/h\", interval = 5 }", "6:36: bare number"),
        .add(.upstream, "health = { path = \"/h\", interval = \"50ms\" }", "6:36: between 100ms"),
        .add(.upstream, "health = { path = \"/h\", timeout = \"2m\" }", "6:35: between 10ms"),
        .add(.upstream, "health = { path = \"/h\", healthy_after = 0 }", "6:41: between 1 and 100"),
        .add(.upstream, "health = { path = \"/h\", unhealthy_after = 101 }", "6:43: between 1 and 100"),
        .add(.upstream, "eject = 5", "6:9: \"eject\" must be a table such as"),
        .add(
            .upstream, "eject = { consecutive_failure = 5 }", "6:11: did you mean \"consecutive_failures\"?"),
        .add(.upstream, "eject = { consecutive_failures = 0 }", "6:34: between 1 and 1000"),
        .add(.upstream, "eject = { for = \"2d\" }", "6:17: between 100ms and 1d"),
        .add(.upstream, "slow_start = \"2h\"", "6:14: between 0"),
        .add(.upstream, "resolve_interval = \"10ms\"", "6:20: between 1s and 1d"),
        .add(.upstream, "authorization = \"delete\"", "6:17: must be \"remove\", \"forward\""),
        .add(.upstream, "authorization = \"foward\"", "6:17: did you mean \"forward\"?"),
        .add(.upstream, "authorization = 5", "6:17: must be \"remove\""),
        .add(.upstream, "authorization = {}", "6:17: must be \"remove\""),
        .add(.upstream, "authorization = { bearer = 5 }", "6:28: must be { env"),
        .add(.upstream, "authorization = { bearer = { env = \"SPACED\" } }", "6:28: holds a space"),
        .add(.upstream, "authorization = { bearer = { env = \"EMPTY\" } }", "6:28: \"bearer\" is empty"),
        .add(
            .upstream, "authorization = { baerer = { env = \"SERVICE_TOKEN\" } }",
            "6:19: did you mean \"bearer\"?"),
        .add(.upstream, "authorization = { bearer = { env = \"SECRET\" }, mint = {} }", "6:48: has both"),
        .add(.upstream, "authorization = { mint = {} }", "6:26: \"mint\" needs \"secret\""),
        .add(.upstream, "authorization = { mint = { secret = { env = \"SHORT\" } } }", "6:37: has 5 bytes"),
        .add(
            .upstream, "authorization = { mint = { secret = { env = \"SECRET\" }, algorithm = \"RS256\" } }",
            "6:69: must be one of \"HS256\""),
        .add(
            .upstream, "authorization = { mint = { secret = { env = \"SECRET\" }, lifetime = \"2d\" } }",
            "6:68: between 2s and 1d"),
        .add(
            .upstream,
            "authorization = { mint = { secret = { env = \"SECRET\" }, claims = { sub = \"x\" } } }",
            "6:68: usher's own"),
        .add(
            .upstream, "authorization = { mint = { secret = { env = \"SECRET\" }, claims = { n = 1 } } }",
            "6:72: must be a string"),
        .add(.upstream, "preserve_host = \"yes\"", "6:17: must be true or false, not a string"),
        .add(.upstream, "connect_timeout = 2", "6:19: is a bare number", ),
        .add(.upstream, "connect_timeout = \"2\"", "6:19: is a bare number"),
        .add(
            .upstream, "connect_timeout = 2.5",
            "6:19: is a bare number: a duration is a string with a unit, such as \"30s\" (units"),
        .add(.upstream, "connect_timeout = \"2sec\"", "6:19: did you mean \"2s\"?"),
        .add(
            .upstream, "connect_timeout = \"fast\"", "6:19: must be a duration such as \"30s\", not \"fast\""),
        .add(.upstream, "connect_timeout = \"8d\"", "6:19: between 1ms and 7d, not 8d"),
        .add(.upstream, "connect_timeout = \"0s\"", "6:19: between 1ms and 7d, not 0s"),
        .add(.upstream, "response_timeout = []", "6:20: must be a duration such as \"30s\", not a list"),
        .add(.upstream, "max_connections = 0", "6:19: between 1 and 65535"),
        .add(.upstream, "max_connections = \"5\"", "6:19: must be a whole number, not a string"),
        .add(.upstream, "retries = 11", "6:11: between 0 and 10"),
    ]

    @Test(arguments: upstreams) func upstreamMistakes(mistake: Mistake) { check(mistake) }

    static let issuers: [Mistake] = [
        .replace(
            .issuer, "[issuer.main]\naudience = ['a']\nsecret = { env = 'SECRET' }", "6:1: needs \"issuer\""),
        .replace(
            .issuer, "[issuer.main]\nissuer = 'i'\naudience = 'a'",
            "6:1: needs \"secret\": or \"public_key\" or \"jwks\""),
        .replace(
            .issuer, "[issuer.main]\nissuer = ''\naudience = 'a'\nsecret = { env = 'SECRET' }",
            "7:10: \"issuer\" is empty"),
        .add(.issuer, "jwks = { file = 'jwks.json' }", "10:1: has both \"secret\" and \"jwks\""),
        .add(.issuer, "algorithms = []", "10:14: is empty"),
        .add(.issuer, "algorithms = [\"HS256\", \"HS256\"]", "10:24: named twice"),
        .add(.issuer, "algorithms = [\"hs256\"]", "10:15: did you mean \"HS256\"?"),
        .add(.issuer, "subject = []", "10:11: is empty"),
        .add(.issuer, "subject = \"a..b\"", "10:11: is not a claim"),
        .add(.issuer, "types = []", "10:9: is empty"),
        .add(.issuer, "types = [\"\"]", "10:10: is empty"),
        .add(.issuer, "required_type = 1", "10:17: true or false"),
        .add(.issuer, "leeway = \"1h\"", "10:10: between 0s and 10m, not 1h"),
        .add(.issuer, "leeway = 30", "10:10: is a bare number"),
        .add(.issuer, "maximum_lifetime = \"0s\"", "10:20: between 1s and 3650d"),
        .add(.issuer, "maximum_lifetime = \"off\"", "10:20: must be a duration"),
        .add(.issuer, "refuse_claims = [\"\"]", "10:18: is empty"),
        .add(.issuer, "token_from = [\"cookie:\"]", "10:15: needs the name of a cookie"),
        .add(.issuer, "token_from = [\"query:a b\"]", "10:15: needs the name of a parameter"),
        .add(.issuer, "token_from = [\"header\", \"header\"]", "10:25: twice"),
        .add(.issuer, "token_from = [\"websockets\"]", "10:15: did you mean \"websocket\"?"),
        .add(.issuer, "token_from = [\"body\"]", "10:15: must hold \"header\""),
        .add(.issuer, "trusted_origins = [\"https://a.b/\"]", "10:20: is not an origin"),
        .add(.issuer, "token_from = []", "10:14: is empty"),
        .add(.issuer, "url = \"https://a\"", "10:1: \"url\" in [issuer.main] belongs to a \"provider\""),
        .add(.issuer, "provider = \"better-auth\"", "6:1: needs \"url\": the base URL"),
        .add(.issuer, "provider = \"better_auth\"", "10:12: did you mean \"better-auth\"?"),
        .add(.issuer, "provider = \"better-auth\"\nurl = \"app.example.com\"", "11:7: is not a URL"),
        .add(.issuer, "provider = \"better-auth\"\nurl = \"https://a.b/?x\"", "11:7: has a query"),
        .add(.issuer, "introspection = { url = 'x' }", "10:1: exactly one source of keys"),
        .add(
            .issuer, "[issuer.none]\nissuer = 'i'\naudience = 'a'\nsecret = { env = 'SECRET' }",
            "10:9: cannot be named \"none\""),
        .replace(
            .issuer, "[issuer.main]\nissuer = 'i'\naudience = 'a'\njwks = \"discover\"",
            "7:10: \"i\" is not a URL"),
        .replace(
            .issuer, "[issuer.main]\nissuer = '*'\naudience = 'a'\njwks = \"discover\"",
            "9:8: needs the exact \"issuer\""),
        .replace(
            .issuer, "[issuer.main]\nissuer = 'i'\naudience = 'a'\njwks = { url = 'x' }",
            "9:16: \"x\" is not a URL"),
        .replace(
            .issuer, "[issuer.main]\nissuer = 'i'\naudience = 'a'\njwks = { refresh = '1m' }",
            "9:8: \"jwks\" needs \"url\""),
        .replace(
            .issuer,
            "[issuer.main]\nissuer = 'i'\naudience = 'a'\njwks = { url = 'https://a/', refresh = '10ms' }",
            "9:40: between 100ms and 7d"),
        .replace(
            .issuer,
            "[issuer.main]\nissuer = 'i'\naudience = 'a'\njwks = { url = 'https://a/', ca = 'secret' }",
            "9:35: holds no certificate"),
        .replace(
            .issuer,
            "[issuer.main]\nissuer = 'i'\naudience = 'a'\njwks = { url = 'https://a/', ca = 'broken.pem' }",
            "9:35: holds no certificate"),
        .replace(
            .issuer, "[issuer.main]\nissuer = 'i'\naudience = 'a'\njwks = { url = 'https://a/', file = 'x' }",
            "9:10: has both \"file\" and \"url\""),
        .replace(
            .issuer, "[issuer.main]\nissuer = 'i'\naudience = 'a'\njwks = 'jwks.json'", "9:8: must be { file"),
        .replace(
            .issuer, "[issuer.main]\nissuer = 'i'\naudience = 'a'\njwks = { file = 'nope' }",
            "9:17: cannot read \"/etc/usher/nope\": No such file"),
        .replace(
            .issuer, "[issuer.main]\nissuer = 'i'\naudience = 'a'\njwks = { file = 'list.json' }",
            "9:8: is not a JWK Set"),
        .replace(
            .issuer, "[issuer.main]\nissuer = 'i'\naudience = 'a'\npublic_key = { file = 'secret' }",
            "9:14: is not PEM"),
        .replace(
            .issuer, "[issuer.main]\nissuer = 'i'\naudience = 'a'\npublic_key = { file = 'private.pem' }",
            "9:14: is a private key"),
        .replace(
            .issuer, "[issuer.main]\nissuer = 'i'\naudience = 'a'\npublic_key = { file = 'certificate.pem' }",
            "9:14: that of a certificate is got by `openssl x509 -pubkey -noout`"),
        .replace(
            .issuer, "[issuer.main]\nissuer = 'i'\naudience = 'a'\npublic_key = { file = 'pkcs1.pem' }",
            "9:14: that of an RSA PUBLIC KEY by `openssl rsa -RSAPublicKey_in -pubout`"),
        .replace(
            .issuer, "[issuer.main]\nissuer = 'i'\naudience = 'a'\nsecret = { env = 'NOPE' }",
            "9:18: environment variable NOPE is not set (or not UTF-8)"),
        .replace(
            .issuer, "[issuer.main]\nissuer = 'i'\naudience = 'a'\nsecret = { file = 'nope' }",
            "9:19: cannot read"),
        .replace(
            .issuer,
            "[issuer.main]\nissuer = 'i'\naudience = 'a'\nsecret = { file = 'secret', env = 'SECRET' }",
            "9:12: has both"),
        .replace(.issuer, "[issuer.main]\nissuer = 'i'\naudience = 'a'\nsecret = {}", "9:10: needs { env"),
        .replace(.issuer, "[issuer.main]\nissuer = 'i'\naudience = 'a'\nsecret = 5", "9:10: must be { env"),
        .replace(
            .issuer, "[issuer.main]\nissuer = 'i'\naudience = 'a'\nsecret = '${SECRET}'",
            "9:10: do not expand in a secret"),
    ]

    @Test(arguments: issuers) func issuerMistakes(mistake: Mistake) { check(mistake) }

    @Test("J14: an issuer without audience is refused")
    func missingAudience() {
        let rest = "\nsecret = { env = 'SECRET' }"
        check(.replace(.issuer, "[issuer.main]\nissuer = 'i'" + rest, "6:1: needs \"audience\""))
        check(.replace(.issuer, "[issuer.main]\nissuer = 'i'\naudience = []" + rest, "8:12: is empty"))
        check(.replace(.issuer, "[issuer.main]\nissuer = 'i'\naudience = ['']" + rest, "8:13: is empty"))
        check(
            .replace(
                .issuer, "[issuer.main]\nissuer = 'i'\naudience = ['*', 'a']" + rest, "8:12: stands alone"))
    }

    @Test("J19: a secret of fewer than 32 bytes, or one that everybody knows, is refused")
    func weakSecrets() {
        let start = "[issuer.main]\nissuer = 'i'\naudience = ['a']\n"
        for source in [
            "{ env = 'SHORT' }", "{ file = 'short' }", "'short'", "'0123456789abcdef0123456789abcde'",
        ] {
            check(.replace(.issuer, start + "secret = \(source)", "9:10: an HMAC secret needs at least 32"))
        }
        for source in [
            "{ env = 'DEFAULT' }", "{ file = 'default' }", "'better-auth-secret-12345678901234567890'",
        ] {
            check(.replace(.issuer, start + "secret = \(source)", "9:10: public default"))
        }
        check(.replace(.issuer, start + "secret = { env = 'EMPTY' }", "9:10: is empty"))
    }

    @Test func whatWasMeantByAKeySetInAString() {
        let start = "[issuer.main]\nissuer = 'i'\naudience = ['a']\n"
        check(
            .replace(
                .issuer, start + "jwks = 'https://a.test/jwks'",
                "9:8: did you mean \"{ url = 'https://a.test/jwks' }\"?"))
        check(.replace(.issuer, start + "jwks = 'discovery'", "9:8: did you mean \"discover\"?"))
        check(
            .replace(.issuer, start + "jwks = 'jwks.json'", "9:8: did you mean \"{ file = 'jwks.json' }\"?"))
    }

    @Test(
        "an issuer that is wrong is said once, though its keys are to be discovered there",
        arguments: [
            ("5", "7:10: error: \"issuer\" must be a string"), ("''", "7:10: error: \"issuer\" is empty"),
            ("'${UNSET}'", "7:10: error: "), ("'i'", "7:10: error: \"i\" is not a URL"),
        ])
    func wrongIssuerToDiscover(issuer: String, expected: String) {
        let sample = Sample(
            issuer: "[issuer.main]\nissuer = \(issuer)\naudience = ['a']\njwks = 'discover'\n")
        let lines = headlines(load(sample.text))
        #expect(lines.count == 1 && lines[0].hasPrefix(expected), "\(lines)")
    }

    @Test("J1: HMAC never mixes with public keys")
    func mixedAlgorithms() {
        check(.add(.issuer, "algorithms = [\"HS256\", \"RS256\"]", "10:24: RS256 does not fit the keys"))
        let start = "[issuer.main]\nissuer = 'i'\naudience = ['a']\n"
        check(
            .replace(
                .issuer, start + "jwks = { file = 'jwks.json' }\nalgorithms = ['RS256', 'HS256']",
                "10:24: HS256 does not fit"))
        check(
            .replace(
                .issuer, start + "public_key = { file = 'issuer.pem' }\nalgorithms = ['HS512']",
                "10:15: HMAC never mixes"))
        check(.replace(.issuer, start + "secret = { file = 'issuer.pem' }", "9:10: is a PEM text"))
        check(.replace(.issuer, start + "secret = { file = 'jwks.json' }", "9:10: is a JSON Web Key"))
        // Whatever a secret is for.
        let session = "[session.s]\nprovider = 'better-auth'\ntrusted_origins = []\n"
        check(.add(.issuer, session + "secret = { file = 'issuer.pem' }", "13:10: is a PEM text"))
        check(.add(.issuer, session + "secret = { file = 'jwks.json' }", "13:10: is a JSON Web Key"))
        check(.add(.issuer, session + "secrets = '2:short'", "13:11: version 2 in \"secrets\" has 5 bytes"))
    }

    @Test(arguments: [
        (
            "public_key = { file = 'broken.pem' }",
            "9:14: error: \"/etc/usher/broken.pem\" cannot be used: not a readable PEM key"
        ),
        (
            "public_key = { file = 'rsa.pem' }\nalgorithms = ['ES256']",
            "9:14: error: \"/etc/usher/rsa.pem\" holds a key for none"
        ),
        ("public_key = { file = 'both.pem' }", "9:14: error: \"/etc/usher/both.pem\" has 2 PEM texts"),
        ("public_key = { file = 'words.pem' }", "9:14: error: \"/etc/usher/words.pem\" is not PEM"),
        ("jwks = { file = 'empty.json' }", "9:8: error: \"/etc/usher/empty.json\" holds no key"),
        (
            "jwks = { file = 'jwks.json' }\nalgorithms = ['RS256']",
            "9:8: error: \"/etc/usher/jwks.json\" holds no key for any"
        ),
        ("jwks = { file = 'odd.json' }", "9:8: warning: key 1 of \"/etc/usher/odd.json\" is left out"),
    ])
    func keysThatCannotBeUsed(source: String, expected: String) {
        let sample = Sample(issuer: "[issuer.main]\nissuer = 'i'\naudience = ['a']\n\(source)\n")
        let lines = headlines(load(sample.text))
        #expect(lines.count == 1 && lines[0].hasPrefix(expected), "\(lines)")
    }

    @Test("J2: no algorithm is none", arguments: ["none", "None", "nOnE"])
    func noneIsNoAlgorithm(name: String) {
        check(.add(.issuer, "algorithms = [\"\(name)\"]", "10:15: unsigned tokens are never accepted"))
    }

    static let identities: [Mistake] = [
        .add(.listen, "[identity]\nheader = {}", "5:1: did you mean \"headers\"?"),
        .add(.listen, "[identity]\nheaders = []", "5:11: must be a table"),
        .add(.listen, "[identity.headers]\n\"X User\" = \"sub\"", "5:1: is not a header name"),
        .add(.listen, "[identity.headers]\n\"\" = \"sub\"", "5:1: is not a header name"),
        .add(.listen, "[identity.headers]\nX-User = 5", "5:10: must name a claim"),
        .add(.listen, "[identity.headers]\nX-User = \"\"", "5:10: is not a claim"),
        .add(.listen, "[identity.headers]\nContent_Length = \"sub\"", "5:1: has its own meaning"),
        .add(.listen, "[identity.headers]\nAuthorization = \"sub\"", "5:1: has its own meaning"),
        .add(.listen, "[identity.headers]\nX_HTTP_Method_Override = \"sub\"", "5:1: has its own meaning"),
        .add(.listen, "[identity.headers]\nSec-WebSocket-Key = \"sub\"", "5:1: has its own meaning"),
        .add(.listen, "[identity]\nstrip = [\"*\"]", "5:10: is not a header name"),
        .add(.listen, "[identity]\nstrip = [\"X-*-Id\"]", "5:10: is not a header name"),
        .add(.listen, "[identity]\nstrip = [\"Host\"]", "5:10: would strip \"host\""),
        .add(.listen, "[identity]\nstrip = [\"X-Ok\", \"Cont*\"]", "5:18: would strip \"content-length\""),
    ]

    @Test(arguments: identities) func identityMistakes(mistake: Mistake) { check(mistake) }

    @Test("H1, H2: two identity headers that fold to one name are refused")
    func aliases() {
        for alias in ["x-user-id", "X_User_Id", "X-User_ID", "'X.User.Id'"] {
            check(
                .add(
                    .listen, "[identity.headers]\nX-User-Id = \"sub\"\n\(alias) = \"email\"",
                    "6:1: is the same header as"))
        }
    }

    static let routes: [Mistake] = [
        .replace(.route, "[route]\npath = \"/\"", "10:2: write [[route]], not [route]"),
        .replace(.route, "[[routes]]\npath = \"/\"", "10:3: did you mean \"route\"?"),
        .add(.route, "methds = []", "14:1: did you mean \"methods\"?"),
        .add(.route, "cors = \"app\"", "14:8: there is no [cors.app]"),
        .add(.route, "cors = \"ap\"\n[cors.app]\norigins = [\"http://a\"]", "14:8: did you mean \"app\"?"),
        .add(.route, "rate_limit = \"a\"", "14:14: there is no [rate_limit.a]"),
        .add(
            .route,
            "rate_limit = \"per-usr\"\n[rate_limit.per-user]\nkey = \"user\"\nrequests = 1\nper = \"1s\"",
            "14:14: did you mean \"per-user\"?"),
        .add(
            .route, "stream_lifetime = \"tokn\"",
            "14:19: must be one of \"token\", \"unlimited\", not \"tokn\"; did you mean \"token\"?"),
        .add(.route, "sign_in = \"app.test/sign-in\"", "14:11: must be a URL such as"),
        .add(.route, "sign_in = \"//evil.test\"", "14:11: must be a URL such as"),
        .add(.route, "sign_in = \"https://a/#b\"", "14:11: must be a URL such as"),
        .add(.route, "sign_in = \"javascript:x\"", "14:11: must be a URL such as"),
        .replace(
            .route,
            "[[route]]\npath = \"/a\"\nauth = \"none\"\nupstream = \"tasks\"\nsign_in = \"https://a\"",
            "14:11: \"sign_in\" on a route with auth = \"none\""),
        .add(.route, "methods = \"GET\"", "14:11: must be a list of strings"),
        .add(.route, "methods = []", "14:11: is empty"),
        .add(.route, "methods = [\"get\"]", "14:12: did you mean \"GET\"?"),
        .add(.route, "methods = [\"DELTE\"]", "14:12: did you mean \"DELETE\"?"),
        .add(.route, "methods = [\"GET\", \"GET\"]", "14:19: named twice"),
        .add(.route, "methods = [\"*\"]", "14:12: is not a method; leave"),
        .add(.route, "methods = [\"G T\"]", "14:12: is not a method"),
        .add(
            .route, "methods = [\"CONNECT\", \"trace\"]", "14:12: CONNECT is never let through (P8)",
            "14:23: TRACE is never"),
        .add(.route, "host = []", "14:8: is empty"),
        .add(.route, "host = \"a.example.com:443\"", "14:8: did you mean \"a.example.com\"?"),
        .add(.route, "host = \"*.example.com\"", "14:8: matched exactly"),
        .add(.route, "host = [\"a\", \"A.\"]", "14:14: named twice"),
        .add(.route, "host = \"a_!\"", "14:8: is not a host name"),
        .add(.route, "denied = 401", "14:10: must be 403 or 404"),
        .add(.route, "timeout = \"of\"", "14:11: must be a duration such as \"30s\" or \"off\""),
        .add(.route, "timeout = 60", "14:11: is a bare number"),
        .add(.route, "max_body = 10", "14:12: such as \"10KiB\""),
        .add(.route, "max_body = 10485760", "14:12: such as \"10MiB\""),
        .add(.route, "max_body = \"1500\"", "14:12: such as \"1500B\""),
        .add(.route, "max_body = \"10MB\"", "14:12: did you mean \"10MiB\"?"),
        .add(.route, "rewrite = {}", "14:11: needs \"strip_prefix\""),
        .add(.route, "rewrite = { strip_prefix = \"api\" }", "14:28: begins with \"/\""),
        .add(.route, "rewrite = { strip_prefix = \"/api/\" }", "14:28: does not end with it"),
        .add(.route, "rewrite = { strip_prefix = \"/api/{user_id}\" }", "14:28: does not always begin with"),
        .add(.route, "rewrite = { add_prefix = \"/v1\" }", "14:13: unknown key \"add_prefix\""),
        .add(.route, "scopes = \"a\"", "14:10: must be a list of strings"),
        .add(.route, "scopes = [\"a b\", \"\"]", "14:11: is not a scope", "14:18: is not a scope"),
        .add(.route, "require = {}", "14:11: requires nothing"),
        .add(.route, "require = []", "14:11: is empty"),
        .add(.route, "require = [{}, 5]", "14:12: requires nothing", "14:16: must hold tables"),
        .add(.route, "require = \"sub\"", "14:11: must be a table such as"),
        .add(.route, "require = { sub = [] }", "14:19: the list is empty"),
        .add(
            .route, "require = { sub = 5 }", "14:19: compared with strings, not a number; did you mean \"5\"?"
        ),
        .add(.route, "require = { admin = true }", "14:21: did you mean \"true\"?"),
        .add(.route, "require = { sub = \"{user}\" }", "14:19: {user} is not a capture of the route's path"),
        .add(.route, "require = { sub = \"{userid}\" }", "14:19: did you mean \"{user_id}\"?"),
        .add(.route, "require = { sub = \"user_id}\" }", "14:19: braces name a capture"),
        .add(.route, "require = { sub = \"{}\" }", "14:19: braces name a capture"),
        .replace(
            .route, "[[route]]\nauth = \"none\"\nupstream = \"tasks\"", "10:1: [[route]] needs \"path\""),
        .replace(.route, "[[route]]\npath = \"/\"\nauth = \"none\"", "10:1: [[route]] needs \"upstream\""),
        .replace(
            .route, "[[route]]\npath = \"/\"\nauth = \"none\"\nupstream = \"task\"",
            "13:12: there is no [upstream.task]; did you mean \"tasks\"?"),
        .replace(
            .route, "[[route]]\npath = \"/\"\nauth = \"none\"\nupstream = \"tasks\"\nscopes = [\"a\"]",
            "14:1: \"scopes\" needs a token"),
        .replace(
            .route,
            "[[route]]\npath = \"/\"\nauth = \"none\"\nupstream = \"tasks\"\nrequire = { sub = \"a\" }",
            "14:1: \"require\" needs a token"),
    ]

    @Test(arguments: routes) func routeMistakes(mistake: Mistake) { check(mistake) }

    @Test(
        arguments: [
            ("api", "did you mean \"/api\"?"), ("/a//b", "empty segment"), ("/a/./b", "never matches"),
            ("/a/../b", "never matches"), ("/**/a", "only at the end"), ("/a*", "** for the rest"),
            ("/{a", "** for the rest"), ("/{a-b}", "of letters, digits"), ("/{}", "of letters, digits"),
            ("/{a}/{a}", "two captures {a}"), ("/:id", "did you mean \"{id}\"?"),
            ("/<int:id>", "a capture is written {name}"),
            ("/a?b", "no query"), ("/a#b", "no query"), ("/a b", "take {name}"),
            ("/é", "take {name}"),
            ("/a%2fb", "(P2)"), ("/a%2Fb", "(P2)"), ("/%41", "(P2)"), ("/%c3%a9", "(P2)"), ("/a%4", "(P2)"),
            ("/%00", "(P2)"),
            ("", "begins with"), ("/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}", "8 captures"),
        ])
    func pathMistakes(path: String, fragment: String) {
        check(
            .replace(
                .route, "[[route]]\npath = \"\(path)\"\nauth = \"main\"\nupstream = \"tasks\"",
                "11:8: \(fragment)"))
    }

    @Test func aRouteWithoutAuthIsAnErrorNeverOpen() {
        let loaded = load(Sample(route: "[[route]]\npath = \"/\"\nupstream = \"tasks\"\n").text)
        #expect(
            headlines(loaded) == [
                "10:1: error: [[route]] needs \"auth\": \"main\", or \"none\" for everybody"
            ])
        #expect(loaded.configuration == nil)
    }

    @Test(
        arguments: [
            ("[]", "12:8: is empty"), ("\"mian\"", "12:8: there is no [issuer.mian]; did you mean \"main\"?"),
            ("\"nome\"", "12:8: did you mean \"none\"?"),
            ("5", "12:8: must be a string or a list of strings"),
            ("[\"main\", \"none\"]", "12:17: \"none\" stands alone"),
            ("[\"main\", \"main\"]", "12:17: named twice"),
            ("\"optional:none\"", "12:8: means nothing"), ("\"optional:\"", "12:8: lacks the name"),
            ("[\"optional:main\", \"main\"]", "12:8: mixes optional and required"),
            ("true", "12:8: must be a string"),
        ])
    func authMistakes(auth: String, expected: String) {
        check(.replace(.route, "[[route]]\npath = \"/\"\nauth = \(auth)\nupstream = \"tasks\"", expected))
    }

    @Test("J4: issuers that a token could not be told apart for are refused on one route")
    func indistinctIssuers() {
        var sample = Sample()
        sample.issuer +=
            "[issuer.b]\nissuer = 'https://app.example.com'\naudience = ['a']\nsecret = { file = 'secret' }\n"
        sample.route = "[[route]]\npath = \"/\"\nauth = [\"main\", \"b\"]\nupstream = \"tasks\"\n"
        let lines = headlines(load(sample.text))
        #expect(lines.count == 1 && lines[0].hasPrefix("16:8: error: the issuers \"main\" and \"b\" share"))
    }

    @Test("J4: of issuers that are asked a route has one, which may share its iss with one that has keys")
    func askedIssuers() {
        func asked(_ name: String, _ iss: String) -> String {
            "[issuer.\(name)]\nissuer = '\(iss)'\naudience = ['a']\nintrospection = { url = 'https://as.example.com/i', "
                + "client_id = 'c', client_secret = { file = 'secret' } }\n"
        }
        var sample = Sample()
        sample.issuer += asked("b", "https://app.example.com") + asked("c", "https://as.example.com")
        func lines(_ names: String) -> [String] {
            sample.route = "[[route]]\npath = \"/\"\nauth = [\(names)]\nupstream = \"tasks\"\n"
            return headlines(load(sample.text)).filter { !$0.contains("has no effect") }
        }
        #expect(lines("\"main\", \"b\"") == [])
        #expect(lines("\"main\", \"c\"") == [])
        let both = lines("\"b\", \"c\"")
        #expect(
            both.count == 1 && both[0].hasPrefix("20:8: error: the issuers \"b\" and \"c\" both have"),
            "\(both)")
    }

    @Test(
        "A claim that is put together of captures names one path, or there is a warning",
        arguments: [
            ("{a}", false), ("x-{a}-y", false), ("{a}/{b}", false), ("{a}-/{b}", false), ("{a};{b}", false),
            ("{a}{b}", true), ("{a}-{b}", true), ("/{a}-x-{b}/", true),
        ])
    func twoReadings(value: String, isAmbiguous: Bool) {
        var sample = Sample()
        sample.route =
            "[[route]]\npath = \"/{a}/{b}\"\nauth = \"main\"\nrequire = { sub = \"\(value)\" }\nupstream = \"tasks\"\n"
        let lines = headlines(load(sample.text))
        #expect(lines.count == (isAmbiguous ? 1 : 0), "\(lines)")
        #expect(
            lines.allSatisfy { $0.hasPrefix("13:19: warning: \"\(value)\": one claim fits several paths") })
    }

    @Test func aRouteIsATable() {
        #expect(headlines(load("route = [5]")).last == "1:10: error: a route must be a table, not a number")
    }

    @Test func twoEquallySpecificRoutesAreAnError() {
        let rest = "auth = \"main\"\nupstream = \"tasks\"\n"
        for (first, second) in [
            ("path = \"/a/{x}\"", "path = \"/a/{y}\""), ("path = \"/a/**\"", "path = \"/a/**\""),
            ("path = \"/a\"\nmethods = [\"GET\", \"PUT\"]", "path = \"/a\"\nmethods = [\"PUT\"]"),
            ("path = \"/a\"\nhost = \"h\"", "path = \"/a\"\nhost = [\"i\", \"H.\"]"),
        ] {
            let route = "[[route]]\n\(first)\n\(rest)[[route]]\n\(second)\n\(rest)"
            let lines = headlines(load(Sample(route: route).text))
            #expect(lines.count == 1 && lines[0].contains("as specific as"), "\(lines)")
            #expect(lines.first?.contains("in line 10") == true)
        }
    }

    static let limits: [Mistake] = [
        .add(
            .listen, "[limits]\nheader_bytes = 32768",
            "5:16: a size is a string with a unit, such as \"32KiB\""),
        .add(.listen, "[limits]\nheader_bytes = \"2MiB\"", "5:16: between 1KiB and 240KiB, not 2MiB"),
        .add(.listen, "[limits]\nheader_count = 0", "5:16: between 1 and 1000"),
        .add(.listen, "[limits]\ntarget_bytes = \"64KiB\"", "5:16: between 64B and 32KiB"),
        .add(.listen, "[limits]\ntoken_bytes = \"17KiB\"", "5:15: between 256B and 16KiB"),
        .add(.listen, "[limits]\nconnections = \"many\"", "5:15: \"auto\" or a whole number"),
        .add(.listen, "[limits]\nconnections = 0", "5:15: between 1 and"),
        .add(.listen, "[limits]\nconnections = 1.5", "5:15: must be \"auto\" or a whole number"),
        .add(.listen, "[limits]\nidle_timeout = \"0s\"", "5:16: between 1ms and 7d"),
        .add(.listen, "[limits]\ntokens_cached = -1", "5:17: between 1 and 1000000"),
        .add(.listen, "[limits]\nheaders = 5", "5:1: unknown key \"headers\" in [limits]"),
        .add(.listen, "[log]\nlevel = \"warn\"", "5:9: did you mean \"warning\"?"),
        .add(.listen, "[log]\nformat = \"xml\"", "5:10: must be one of \"json\", \"text\""),
        .add(.listen, "[log]\naccess = \"stdot\"", "5:10: did you mean \"stdout\"?"),
        .add(.listen, "[log]\naccess = \"stderr\"", "5:10: a file of that name is \"./stderr\""),
        .add(.listen, "[log]\naccess = \"\"", "5:10: or a path"),
        .add(.listen, "[log]\naccess = false", "5:10: must be a string, not true or false"),
    ]

    @Test(arguments: limits) func limitMistakes(mistake: Mistake) { check(mistake) }

    static let warnings: [Mistake] = [
        .add(.route, "rewrite = { strip_prefix = \"/v1\" }", "14:28: there is nothing to strip"),
        .replace(.route, "", "1:1: every request is answered 404"),
        .replace(
            .issuer, "[issuer.main]\nissuer='i'\naudience='a'\njwks = { url = 'http://keys.internal/jwks' }",
            "9:16: is not encrypted"),
        .replace(
            .issuer, "[issuer.main]\nissuer='i'\naudience='a'\nsecret = '\(goodSecret)'",
            "9:10: is written into the file"),
        .add(.upstream, "authorization = { bearer = 'abc' }", "6:28: is written into the file"),
        .add(.listen, "[admin]\naddress = \"0.0.0.0:9901\"", "5:11: can be reached from other machines"),
        .replace(
            .route, "[[route]]\npath='/'\nauth='optional:main'\nupstream='tasks'\nscopes=['a']",
            "14:1: refuses requests without a token"),
    ]

    @Test(arguments: warnings) func whatIsOnlyWarnedOf(mistake: Mistake) {
        check(mistake, severity: "warning")
        #expect(load(mistake.sample.text).configuration != nil)
    }
}
