import Config
import Foundation
import Logging
import Reactor
import Testing

@testable import Control

@Suite("The keeper of revocations")
struct RevocationKeeperTests {
    @Test("a list that could not be read is read at the next look, though it has not changed again")
    func readAgain() throws {
        let file = NSTemporaryDirectory() + "usher-\(UUID().uuidString).json"
        try Data(#"{"jti": []}"#.utf8).write(to: URL(fileURLWithPath: file))
        defer { try? FileManager.default.removeItem(atPath: file) }
        let text = """
            [listen.a]
            address = "127.0.0.1:1"
            [upstream.u]
            servers = ["127.0.0.1:2"]
            [revocation]
            file = "\(file)"
            [[route]]
            path = "/"
            auth = "none"
            upstream = "u"
            """
        let loaded = Configuration.load(
            text: Array(text.utf8), path: "x", environment: [:], files: SystemFiles())
        let log = Logger(label: "test")
        var now = Instant.now()
        var keeper = RevocationKeeper()
        keeper.configure(try #require(loaded.configuration), now: now)
        let first = keeper.poll(now, log)
        #expect(!first)
        try Data(#"{"jti": ["a", "b"]}"#.utf8).write(to: URL(fileURLWithPath: file))
        let withoutDescriptors = Self.tries(&keeper, &now, throwing: 24)  // EMFILE
        #expect(withoutDescriptors == 3 && keeper.list.count == 0)
        now = now.advanced(byMilliseconds: RevocationKeeper.pollMilliseconds)
        let isRead = keeper.poll(now, log)
        #expect(isRead && keeper.list.count == 2)
        now = now.advanced(byMilliseconds: RevocationKeeper.pollMilliseconds)
        let isReadTwice = keeper.poll(now, log)
        #expect(!isReadTwice, "nothing has changed")
        try Data(#"{"jti": ["a"]}"#.utf8).write(to: URL(fileURLWithPath: file))
        let tooLarge = Self.tries(&keeper, &now, throwing: 27)  // EFBIG
        #expect(tooLarge == 1, "it stays too large until it changes")
    }

    /// How often three looks try to read a file that cannot be read for that reason.
    private static func tries(
        _ keeper: inout RevocationKeeper, _ now: inout Instant, throwing number: Int32
    ) -> Int {
        var tries = 0
        for _ in 0..<3 {
            now = now.advanced(byMilliseconds: RevocationKeeper.pollMilliseconds)
            let hasChanged = keeper.poll(now, Logger(label: "test")) { (_: String) throws(Errno) in
                tries += 1
                throw Errno(number)
            }
            #expect(!hasChanged)
        }
        return tries
    }
}
