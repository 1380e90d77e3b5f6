import Reactor
import Testing

@testable import Control

@Suite("Healthcheck")
struct HealthTargetTests {
    @Test(
        "addresses that mean all interfaces are asked on loopback",
        arguments: [
            ("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("192.0.2.1:80", "192.0.2.1:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"), ("unix:/run/u.sock", "unix:/run/u.sock"),
        ])
    func reachable(listening: String, asked: String) throws {
        #expect(try #require(SocketAddress(listening)).reachable.description == asked)
    }

    @Test(
        "URLs that can be asked",
        arguments: [
            ("http://127.0.0.1:9901/readyz", "127.0.0.1:9901", "/readyz"),
            ("http://0.0.0.0:1", "127.0.0.1:1", "/readyz"),
            ("http://127.0.0.1/x?y=1", "127.0.0.1:80", "/x?y=1"),
            ("unix:/run/a.sock", "unix:/run/a.sock", "/readyz"),
            ("http://[::1]:9901/", "[::1]:9901", "/"),
        ])
    func urls(url: String, address: String, path: String) throws {
        let target = try #require(HealthTarget(url: url))
        #expect(target.address.description == address && target.path == path)
    }

    @Test(
        "URLs that cannot",
        arguments: [
            "", "https://127.0.0.1/", "127.0.0.1:80", "http://", "http:///x", "http://127.0.0.1:99999/",
            "ftp://h/",
            "http://u:p@127.0.0.1/", "http://127.0.0.1/a b", "http://127.0.0.1/\r\nX: y", "unix:",
            "unix:relative",
            "http://127.0.0.1/#f", "http://no-such-host.invalid/",
        ])
    func badURLs(url: String) {
        #expect(HealthTarget(url: url) == nil)
    }

    @Test("nobody there is unhealthy, and says so in one line")
    func refused() throws {
        // A port that was just given back: nobody listens there.
        let address = try Listener(at: .ipv4(0x7f00_0001, port: 0)).address
        let finding = HealthTarget(address: address, path: "/readyz").probe(timeoutMilliseconds: 1000)
        #expect(!finding.isHealthy && finding.text.contains("refused") && !finding.text.contains("\n"))
    }

    @Test("a listener that never answers is unhealthy in time; without a page to ask, connecting is enough")
    func silent() throws {
        let listener = try Listener(at: .ipv4(0x7f00_0001, port: 0))
        let asked = HealthTarget(address: listener.address, path: "/readyz").probe(timeoutMilliseconds: 50)
        #expect(!asked.isHealthy && asked.text.contains("no answer in time"))
        #expect(HealthTarget(address: listener.address, path: nil).probe(timeoutMilliseconds: 1000).isHealthy)
    }
}
