import ArgumentParser
import Config
import Control
import Policy
import Reactor

/// `usher explain`
struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract:
            "Say what would become of a request: the route, each check, what the backend sees, the answer.",
        discussion: """
            Nothing is sent to a backend. The parser and the policy are those of a running proxy, with its reason \
            codes. Keys with a URL are fetched where the token needs them, as a running proxy would.

              usher explain GET https://api.example.com/api/alice/tasks --token @token.txt
              usher explain GET /api/alice/tasks -H 'X-User-Id: mallory'

            A server that is asked about sessions or opaque tokens is not asked here: the answer then depends on it.

            Exits with 2 where the proxy refuses the request, with 1 where the configuration or the arguments cannot be \
            used, else with 0: it goes to the backend, or the proxy answers a preflight or redirects, or the answer \
            depends on a server that is not asked here. Tokens, cookies and other credentials are never printed.
            """)

    @OptionGroup var file: ConfigurationOption

    @Argument(help: ArgumentHelp("The method, such as GET.", valueName: "method"))
    var method: String

    @Argument(
        help: ArgumentHelp(
            "http://host/path, https://host/path as over TLS, or /path as it is on the wire, with the host \"localhost\".",
            valueName: "url"))
    var url: String

    @Option(
        help: ArgumentHelp(
            "The token: @file, - for the standard input, or its text. It goes into Authorization, as Bearer, or as "
                + "DPoP where a field DPoP is given.", valueName: "token"))
    var token: String?

    @Option(
        name: [.customShort("H"), .customLong("header")], parsing: .unconditionalSingleValue,
        help: ArgumentHelp("A header field, \"Name: value\"; may be repeated.", valueName: "field"))
    var header: [String] = []

    @Option(help: ArgumentHelp("The client's address; \"unix\" for none.", valueName: "address"))
    var address: String = "127.0.0.1"

    @Option(
        help: ArgumentHelp(
            "The listener that the request comes in by. Default: the first of the file.", valueName: "name"))
    var listener: String?

    @Flag(help: "Fetch no keys: an issuer whose keys have a URL has none then.")
    var offline = false

    func run() throws {
        let (configuration, _) = try file.load()
        let request = try imagine(configuration)
        let environment = file.source().environment
        let explanation: Explanation
        do throws(StartFailure) {
            explanation = try Explanation(
                of: request, under: configuration, now: wallClockMicroseconds() / 1_000_000
            ) { issuer in
                guard !offline else { return .failure(StartFailure("--offline")) }
                do throws(StartFailure) {
                    return .success(
                        try KeysAtOnce.fetch(configuration.keyIssuers[issuer], environment: environment))
                } catch {
                    return .failure(error)
                }
            }
        } catch {
            throw Console.fail(error.reason)
        }
        let mask = CredentialMask(request, configuration)
        try Console.output(ExplanationText(explanation, request, configuration, mask).text, terminator: "")
        if explanation.isRefused { throw ExitCode(2) }
    }

    // MARK: The request

    private func imagine(_ configuration: Configuration) throws -> ImaginedRequest {
        var (isSecure, host, target) = try parts(of: url)
        var fields = try header.map(field)
        if let place = fields.firstIndex(where: { $0.name.lowercased() == "host" }) {
            host = fields.remove(at: place).value
        }
        if let token = try tokenText() {
            guard !fields.contains(where: { $0.name.lowercased() == "authorization" }) else {
                throw Console.fail("--token and a field Authorization: one of the two")
            }
            let hasProof = fields.contains { $0.name.lowercased() == "dpop" }
            fields.insert(("Authorization", (hasProof ? "DPoP " : "Bearer ") + token), at: 0)
        }
        guard let address = address == "unix" ? IPAddress.none : IPAddress(address) else {
            throw Console.fail("--address must be an IP address or \"unix\", not \"\(address)\"")
        }
        return ImaginedRequest(
            method: try single(method, "the method"), target: try single(target, "the URL"),
            host: try single(host, "the host"), isSecure: isSecure, address: address,
            listener: try place(in: configuration), fields: fields)
    }

    private func place(in configuration: Configuration) throws -> Int {
        guard let listener else { return 0 }
        let names = configuration.listeners.map(\.name)
        guard let place = names.firstIndex(of: listener) else {
            throw Console.fail(
                "the configuration has no listener \"\(listener)\"; it has \(names.joined(separator: ", "))")
        }
        return place
    }

    private func tokenText() throws -> String? {
        guard let token else { return nil }
        switch TokenInput.read(token) {
        case .success(let bytes): return try single(String(decoding: bytes, as: UTF8.self), "the token")
        case .failure(let failure): throw Console.fail(failure.message)
        }
    }

    private func field(_ text: String) throws -> (name: String, value: String) {
        guard let colon = text.firstIndex(of: ":"), colon > text.startIndex else {
            throw Console.fail("-H must be \"Name: value\"")
        }
        let value = text[text.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
        return (try single(String(text[..<colon]), "a field"), try single(String(value), "a field"))
    }

    /// Text that cannot make a second line of the head; what else is wrong with it, the parser says.
    private func single(_ text: String, _ what: String) throws -> String {
        guard !text.utf8.contains(where: { $0 == 0x0d || $0 == 0x0a }) else {
            throw Console.fail("\(what) has a line break")
        }
        return text
    }

    private func parts(of url: String) throws -> (isSecure: Bool, host: String, target: String) {
        if url.hasPrefix("/") || url == "*" { return (false, "localhost", url) }
        // What follows `#` of a URL, a client keeps for itself.
        let url = String(url.prefix { $0 != "#" })
        for (scheme, isSecure) in [
            ("http://", false), ("https://", true), ("ws://", false), ("wss://", true),
        ] where url.lowercased().hasPrefix(scheme) {
            let rest = url.dropFirst(scheme.count)
            let host = rest.prefix { $0 != "/" && $0 != "?" }
            let target = String(rest.dropFirst(host.count))
            return (isSecure, String(host), target.hasPrefix("/") ? target : "/" + target)
        }
        throw Console.fail("the URL must begin with http://, https:// or /, not \"\(url)\"")
    }
}
