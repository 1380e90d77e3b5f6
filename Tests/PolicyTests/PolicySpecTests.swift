import JOSE
import Testing

@testable import Policy

@Suite("What a policy may not say")
struct PolicySpecTests {
    private func error(_ spec: PolicySpec) -> PolicyError? {
        do throws(PolicyError) {
            _ = try PolicySnapshot(spec)
            return nil
        } catch {
            return error
        }
    }

    @Test("references lead somewhere")
    func references() throws {
        #expect(error(spec([try route("/a", upstream: 1)])) == .danglingReference(route: 0))
        #expect(error(spec([try route("/a", auth: .required([1]))])) == .danglingReference(route: 0))
        #expect(error(spec([try route("/a", auth: .required([]))])) == .danglingReference(route: 0))
        #expect(error(spec([try route("/a", auth: .optional([-1]))])) == .danglingReference(route: 0))
        #expect(error(spec([try route("/a")])) == nil)
    }

    @Test("a route that asks for claims or scopes asks for a token")
    func requirementsWithoutToken() throws {
        #expect(
            error(spec([try route("/a", auth: .none, scopes: ["x"])]))
                == .requirementWithoutAuthentication(route: 0))
        let require = [[try needs("sub", "u")]]
        #expect(
            error(spec([try route("/a", auth: .none, require: require)]))
                == .requirementWithoutAuthentication(route: 0))
    }

    @Test("requirements name captures of the path, claims, and values")
    func requirements() throws {
        #expect(
            error(spec([try route("/{a}", require: [[needs("sub", "{b}")]])]))
                == .unknownCapture(route: 0, name: "b"))
        #expect(error(spec([try route("/a", require: [[]])])) == .emptyRequirement(route: 0))
        #expect(
            error(spec([try route("/a", require: [[Requirement(claim: "sub", anyOf: [])]])]))
                == .emptyRequirement(route: 0))
        #expect(error(spec([try route("/a", require: [[needs("a..b", "x")]])])) == .badClaim("a..b"))
        #expect(
            error(spec([], identity: IdentitySpec(headers: [.init(name: "X-A", claim: "")]))) == .badClaim("")
        )
    }

    @Test("scopes are what RFC 6749 allows", arguments: ["", "a b", "a\"b", "a\\b", "ä"])
    func scopes(scope: String) throws {
        #expect(error(spec([try route("/a", scopes: [scope])])) == .badScope(route: 0, scope: scope))
    }

    @Test(
        "strip_prefix is made of whole literal segments of the path",
        arguments: ["", "/", "v1", "/v", "/v1/", "/v2", "/v1/x", "/v1/a/b"])
    func stripPrefix(prefix: String) throws {
        #expect(
            error(spec([try route("/v1/{x}", stripPrefix: prefix)])) == .badStripPrefix(route: 0))
    }

    @Test("J4: issuers of one route are told apart by iss or alg")
    func issuers() throws {
        let both = [issuer(), issuer("other", secret: otherSecret)]
        #expect(
            error(spec([try route("/a", auth: .required([0, 1]))], issuers: both))
                == .issuersNotDistinct(route: 0, first: 0, second: 1))
        #expect(
            error(
                spec(
                    [try route("/a", auth: .required([0])), try route("/b", auth: .required([1]))],
                    issuers: both))
                == nil)
        #expect(
            error(spec([], issuers: [issuer(secret: [1, 2, 3])]))
                == .issuer(IssuerFault(index: 0, error: .secretTooShort)))
    }

    @Test("H9: nobody trusts everybody", arguments: ["0.0.0.0/0", "::/0", "::ffff:0:0/96"])
    func everybody(block: String) {
        #expect(error(spec([], trusted: [block])) == .trustsEverybody(listener: 0))
    }

    @Test("a static bearer can stand in a header, a mint is strong enough")
    func upstreams() {
        #expect(error(spec([], authorization: .bearer([]))) == .badBearer(upstream: 0))
        #expect(error(spec([], authorization: .bearer(Array("a b".utf8)))) == .badBearer(upstream: 0))
        #expect(error(spec([], authorization: .bearer(Array("a\r\nX: y".utf8)))) == .badBearer(upstream: 0))
        #expect(
            error(spec([], authorization: .mint(MintSpec(secret: [1], lifetimeSeconds: 60))))
                == .mint(upstream: 0, .secretTooShort))
    }

    @Test("limits are positive", arguments: [0, -1, 1 << 30])
    func limits(value: Int) {
        #expect(error(spec([], tokensCached: value)) == .badLimit)
        var bytes = spec([])
        bytes.tokenBytes = value
        #expect(error(bytes) == .badLimit)
    }

    @Test("every error says what is wrong")
    func descriptions() {
        for error in [
            PolicyError.badLimit, .badClaim("x"), .equallySpecific(first: 1, second: 2), .noRandomness,
        ] {
            #expect(!error.description.isEmpty)
        }
    }
}

@Suite("Addresses")
struct AddressTests {
    private func written(_ text: String) -> String? {
        IPAddress(text).map { address in
            let facts = PeerFacts(address: address, listener: 0, isSecure: false)
            return textOf(facts)
        }
    }

    private func textOf(_ facts: PeerFacts) -> String { text(facts.addressText) }

    @Test("a connection keeps its certificate when listeners are numbered anew, and has none by itself")
    func certificates() {
        let plain = PeerFacts(address: .none, listener: 0, isSecure: true)
        #expect(plain.clientCertificateSHA256 == nil)
        let proven = PeerFacts(
            address: .none, listener: 0, isSecure: true, clientCertificateSHA256: InlineArray(repeating: 7))
        let moved = proven.numbered(listener: 3)
        #expect(moved.listener == 3 && moved.isSecure && moved.clientCertificateSHA256?[31] == 7)
    }

    @Test(
        "are read, and written as RFC 5952 says",
        arguments: [
            ("127.0.0.1", "127.0.0.1"), ("255.255.255.255", "255.255.255.255"),
            ("10.20.0.100", "10.20.0.100"),
            ("::1", "::1"), ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
            ("2001:db8:0:1:0:0:0:1", "2001:db8:0:1::1"),
            ("1:0:0:2:0:0:0:3", "1:0:0:2::3"), ("fe80::", "fe80::"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
            ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"), ("::ffff:192.0.2.1", "192.0.2.1"), ("0:0:1::", "0:0:1::"),
            ("2001:db8::0:1", "2001:db8::1"),
            ("abcd:ef01:2345:6789:abcd:ef01:2345:6789", "abcd:ef01:2345:6789:abcd:ef01:2345:6789"),
        ])
    func roundTrip(text: String, expected: String) {
        #expect(written(text) == expected)
    }

    @Test(
        "that are none are refused",
        arguments: [
            "", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.x", "1..2.3", " 1.2.3.4", ":::",
            "1::2::3", "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9", "12345::", "g::", "1:2:3:4:5:6:7::8", ":1", "1:", "::1%eth0", "[::1]",
            "1.2.3.4::",
        ])
    func refused(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test(
        "lie in a block or not",
        arguments: [
            ("10.0.0.0/8", "10.1.2.3", true), ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3/32", "10.1.2.4", false), ("192.168.0.0/23", "192.168.1.255", true),
            ("192.168.0.0/23", "192.168.2.0", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true), ("2001:db8::/32", "2001:db9::", false),
            ("::1/128", "::1", true),
            ("fe80::/65", "fe80::7fff:0:0:1", true), ("fe80::/65", "fe80::8000:0:0:1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("2001::/16", "10.0.0.1", false),
        ])
    func blocks(block: String, address: String, isInside: Bool) throws {
        let block = try #require(AddressBlock(block))
        #expect(block.contains(try #require(IPAddress(address))) == isInside)
        #expect(!block.contains(.none))
    }

    @Test(
        "no block",
        arguments: [
            "", "/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0.1/8", "::1/129",
            "2001:db8::1/32", "x/8", "10.0.0.0/+8",
        ])
    func badBlocks(text: String) {
        #expect(AddressBlock(text) == nil)
    }
}
