import Policy
import Testing

@testable import Config

@Suite struct SharedValuesTests {
    private func shared(_ lines: String) throws -> SharedConfiguration {
        var sample = Sample()
        sample.route = "[shared]\n\(lines)\n" + sample.route
        let loaded = load(sample.text)
        let configuration = try #require(loaded.configuration, "\(headlines(loaded))")
        let spec = try #require(configuration.policy.sharedLimits)
        #expect(!spec.checksRevocations && spec.prefix == configuration.shared?.prefix)
        return try #require(configuration.shared)
    }

    @Test func defaults() throws {
        let shared = try shared("redis = 'redis://127.0.0.1'")
        #expect(shared.host == "127.0.0.1" && !shared.isSecure && shared.database == 0)
        #expect(shared.user.isEmpty && shared.password == nil && shared.prefix == "usher:")
        #expect(shared.timeout == .milliseconds(100) && shared.whenUnavailable == .local)
        guard case .ip(_, port: 6379) = shared.address else {
            Issue.record("\(shared.address)")
            return
        }
    }

    @Test func everyPartOfAnAddress() throws {
        let whole = try shared("redis = 'rediss://us%2Fer:p%40:ss@redis.test:7000/12'")
        #expect(whole.user == "us/er" && whole.password?.bytes == Array("p@:ss".utf8))
        #expect(whole.isSecure && whole.address == .name("redis.test", port: 7000) && whole.database == 12)
        let six = try shared("redis = 'redis://:p@[::1]/'")
        #expect(six.user.isEmpty && six.password?.bytes == [112] && six.host == "::1")
        #expect(try shared("redis = 'redis://user@localhost'").user == "user")
        #expect(try shared("redis = 'unix:/run/r.sock'").address == .unix(path: "/run/r.sock"))
    }

    @Test func whatElseThereIs() throws {
        let shared = try shared(
            "redis = 'redis://127.0.0.1'\nwhen_unavailable = 'refuse'\ntimeout = '5ms'\nprefix = 'a:'\n"
                + "revocations_kept = '1h'\npassword = { env = 'SECRET' }")
        #expect(shared.whenUnavailable == .refuse && shared.timeout == .milliseconds(5))
        #expect(shared.prefix == "a:" && shared.revocationsKept == .seconds(3600) && shared.password != nil)
    }
}
