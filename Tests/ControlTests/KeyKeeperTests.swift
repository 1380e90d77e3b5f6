import Config
import Logging
import Policy
import Proxy
import Reactor
import Testing

@testable import Control

@Suite("The keeper of keys")
struct KeyKeeperTests {
    /// An issuer with keys from that port of this machine, or with a secret.
    private func issuers(port: Int?) throws -> [IssuerConfiguration] {
        let keys =
            port.map { "jwks = { url = \"http://127.0.0.1:\($0)/jwks\" }" }
            ?? "secret = \"0123456789abcdef0123456789abcdef\""
        return [try issuer(keys: keys)]
    }

    @Test(
        "J4, J7: what was to be said of an issuer's keys is not said of those from another place",
        arguments: [2, nil])
    func reload(port: Int?) throws {
        let poller = try Poller()
        let keeper = try KeyKeeper(environment: [:], log: Logger(label: "test"))
        let start = Instant.now()
        keeper.configure(try issuers(port: 1), now: start)
        for isMoved in [false, true] {
            // The fetch begins, and fails for want of an answer.
            let later = start.advanced(byMilliseconds: isMoved ? 7_200_000 : 0)
            keeper.run(poller, now: later)
            keeper.run(poller, now: later.advanced(byMilliseconds: 60_000))
            keeper.configure(try issuers(port: isMoved ? port : 1), now: start)
            #expect(keeper.takeNotices().isEmpty == isMoved)
        }
    }

    @Test(
        "the authorities that a key server's certificate is held to are parsed once, and not for each address that is tried"
    )
    func trust() throws {
        let configured = try issuers(port: 1)[0]
        guard case .remote(let remote) = configured.keySource else {
            Issue.record("no keys to fetch")
            return
        }
        let keys = FetchedKeys(configured, remote, now: .now())
        let system = SystemTrust(SystemAuthorities(environment: [:]))
        #expect(try keys.context(or: system) === keys.context(or: system))
    }

    @Test("nobody waits for the keys of an issuer whose tokens no route accepts")
    func unused() throws {
        let poller = try Poller()
        let keeper = try KeyKeeper(environment: [:], log: Logger(label: "test"))
        let start = Instant.now()
        let configured = try issuers(port: 1)
        keeper.configure(configured, used: [], now: start)
        keeper.run(poller, now: start)
        #expect(keeper.issuersWithoutKeys == [] && keeper.fetched("main")?.fetches == 1)
        #expect(keeper.status(now: start).map(\.isExpected) == [false], "there is nothing to be alarmed at")
        keeper.configure(configured, used: ["main"], now: start)
        #expect(keeper.issuersWithoutKeys == ["main"] && keeper.status(now: start)[0].isExpected)
        #expect(keeper.fetched("main")?.fetches == 1, "a route that needs them is no reason to begin again")
        keeper.configure(configured, now: start)
        #expect(keeper.issuersWithoutKeys == ["main"])
    }

    @Test("J7: keys that were chosen by another rule are fetched anew", arguments: [false, true])
    func otherRule(isOther: Bool) throws {
        let poller = try Poller()
        let keeper = try KeyKeeper(environment: [:], log: Logger(label: "test"))
        let start = Instant.now()
        var configured = try issuers(port: 1)
        keeper.configure(configured, now: start)
        keeper.run(poller, now: start)
        configured[0].requiresNamedKeys = isOther
        keeper.configure(configured, now: start)
        #expect(keeper.fetched("main")?.fetches == (isOther ? 0 : 1))
    }

    @Test("an unknown key that its place does not have is a reason to read the metadata again")
    func metadataAgain() throws {
        let keeper = try KeyKeeper(environment: [:], log: Logger(label: "test"))
        keeper.configure([try issuer(keys: #"jwks = "discover""#)], now: Instant.now())
        let known = try #require(keeper.fetched("main"))
        func planned() -> [String] { known.steps.map { $0.url.target } }
        known.plan()
        let pages = [
            "/t/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/t",
            "/t/.well-known/oauth-authorization-server",
        ]
        #expect(planned() == pages)
        #expect(known.skipAlternative("not there"))
        let metadata = #"{"issuer":"https://a.example/t","jwks_uri":"https://a.example/keys"}"#
        // The key of RFC 8037, A.2.
        let keySet = Array(
            #"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#
                .utf8)
        #expect(try !known.take(Array(metadata.utf8)) && known.take(keySet))
        known.plan()
        #expect(planned() == ["/keys"])
        known.plan(for: true)
        #expect(planned() == ["/keys", pages[1]])
        #expect(try !known.take(keySet) && planned() == [pages[1]])
        #expect(try known.take(Array(metadata.utf8)) && known.isConfirmed, "they are where they were")
        known.plan(for: true)
        #expect(try !known.take(keySet) && !known.skipAlternative("not there"))
        #expect(known.isConfirmed, "the metadata is away, the keys are not")
        known.plan(for: true)
        let elsewhere = metadata.replacing("/keys", with: "/new")
        #expect(try !known.take(keySet) && !known.take(Array(elsewhere.utf8)) && planned() == ["/new"])
        #expect(!known.skipAlternative("not there yet"))
        known.plan()
        #expect(planned() == ["/keys"])
        #expect(!known.skipAlternative("not there"))
        known.plan(for: true)
        #expect(planned() == pages)
    }

    @Test(
        "what is checked before a reload are the keys that workers get behind it, and looking changes nothing",
        arguments: [false, true])
    func preview(isOther: Bool) throws {
        let keeper = try KeyKeeper(environment: [:], log: Logger(label: "test"))
        let start = Instant.now()
        var configured = try issuers(port: 1)
        keeper.configure(configured, now: start)
        let known = try #require(keeper.fetched("main"))
        known.plan()
        let keys = Array(
            #"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#
                .utf8)
        #expect(try known.take(keys))
        configured[0].requiresNamedKeys = isOther
        var checked = PolicySpec()
        checked.issuers = [IssuerEntry(name: "main", spec: configured[0].spec)]
        var sent = checked
        keeper.preview(&checked, under: configured)
        #expect(keeper.fetched("main") === known)
        keeper.configure(configured, now: start)
        keeper.fill(&sent)
        #expect(checked.issuers[0].spec.keys == sent.issuers[0].spec.keys)
        #expect(checked.issuers[0].spec.keys == (isOther ? .pending : .jwks(keys)))
    }

    @Test(
        "J9: a worker that began behind earlier notices is not taken for one that has not read them",
        arguments: [0, 1])
    func lateWorker(unsent: Int) throws {
        let poller = try Poller()
        let keeper = try KeyKeeper(environment: [:], log: Logger(label: "test"))
        let start = Instant.now()
        keeper.configure(try issuers(port: 1), now: start)
        keeper.run(poller, now: start)
        keeper.run(poller, now: start.advanced(byMilliseconds: 60_000))
        if unsent == 0 { #expect(keeper.takeNotices().count == 1) }
        var policy = PolicySpec()
        keeper.fill(&policy)
        let later = start.advanced(byMilliseconds: 120_000)
        keeper.asked(KeyRequest(issuer: "main", noticesSeen: 0), poller, now: later)
        // What is on its way to it answers it.
        #expect(keeper.fetched("main")?.fetches == (unsent == 0 ? 2 : 1))
        keeper.asked(KeyRequest(issuer: "main", noticesSeen: UInt64(unsent)), poller, now: later)
        #expect(keeper.fetched("main")?.fetches == 2)
    }
}
