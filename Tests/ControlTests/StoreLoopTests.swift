import Config
import Logging
import Reactor
import Testing

@testable import Control

/// What the thread of the shared store does with answers that come late.
@Suite struct StoreLoopTests {
    private func target(_ name: String) throws -> StoreTarget {
        let text = "listen.a.address = '127.0.0.1:1'\nshared.redis = 'redis://\(name)'\n"
        let loaded = Configuration.load(
            text: Array(text.utf8), path: "x", environment: [:], files: SystemFiles())
        return StoreTarget(shared: try #require(loaded.configuration?.shared), authorities: [])
    }

    @Test("what a look-up for the store before has found is not where the new one is")
    func anotherName() throws {
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let loop = try StoreLoop(StoreChannels(), log: quiet)
        let found = LookupAnswer(identifier: 1, addresses: [.ipv4(0x7f00_0001, port: 0)])
        loop.obey(.configure(try target("before.invalid"), quiet))
        loop.connect()
        loop.obey(.configure(try target("now.invalid"), quiet))
        loop.connect()
        loop.note(found)
        #expect(loop.line == nil, "it is looked up by its own name now")
        loop.note(found)
        #expect(loop.line?.address == .ipv4(0x7f00_0001, port: 6379))
    }
}
