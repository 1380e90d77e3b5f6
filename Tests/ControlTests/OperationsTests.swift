import Foundation
import HTTP
import Proxy
import Reactor
import Telemetry
import Testing

@testable import Control

@Suite("Takeover, service manager, watched files, history")
struct OperationsTests {
    @Test("the words of a takeover, there and back")
    func words() throws {
        let address = SocketAddress.ipv4(0x7f00_0001, port: 0)
        let all: [TakeoverMessage] = [
            .ask, .successors, .complete, .ready, .draining, .listener(address, real: address.with(port: 5)),
            .admin(.unix("/run/a b.sock"), real: .unix("/run/a b.sock")),
        ]
        for message in all { #expect(TakeoverMessage(message.text) == message) }
        for text in [
            "", "ask", "listener", "listener\n127.0.0.1:1", "ready\n", "listener\nx\ny", "admin\n\n",
        ] {
            #expect(TakeoverMessage(text) == nil)
        }
    }

    @Test("sockets of the service manager are taken by this process alone")
    func activation() {
        var complaints: [String] = []
        let none: [[String: String]] = [
            [:], ["LISTEN_FDS": "1"], ["LISTEN_PID": "7", "LISTEN_FDS": "1"],
            ["LISTEN_PID": "5", "LISTEN_FDS": "-1"],
            ["LISTEN_PID": "5", "LISTEN_FDS": "x"], ["LISTEN_PID": "5"],
        ]
        for environment in none {
            let found: [InheritedSocket] = .ofServiceManager(environment, process: 5) {
                complaints.append($0)
            }
            #expect(found.isEmpty)
        }
        #expect(complaints.isEmpty)
    }

    @Test("a socket belongs to a listener by name or by address")
    func fits() {
        let (here, there) = (SocketAddress.ipv4(1, port: 1), SocketAddress.ipv4(2, port: 2))
        let activated = InheritedSocket(real: here, name: "public", descriptors: [])
        #expect(activated.fits(name: "public", address: there) && activated.fits(name: "x", address: here))
        #expect(!activated.fits(name: "x", address: there))
        let taken = InheritedSocket(address: there, real: here, name: nil, descriptors: [])
        #expect(taken.fits(name: "x", address: there) && !taken.fits(name: "x", address: here))
    }

    @Test("a change counts once it has stayed; a turned link and a rename are changes too")
    func watched() throws {
        let folder = URL(fileURLWithPath: NSTemporaryDirectory() + "usher-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        func write(_ name: String, _ text: String) throws {
            try Data(text.utf8).write(to: folder.appendingPathComponent(name))
        }
        try write("one", "1")
        try write("two", "22")
        let link = folder.appendingPathComponent("link").path
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "one")
        var watcher = FileWatcher()
        var now = Instant.now()
        func look() -> Bool {
            now = now.advanced(byMilliseconds: FileWatcher.pollMilliseconds)
            return watcher.poll(now)
        }
        let files = [link, folder.path + "/missing"]
        func stamps() -> [String: FileStamp] {
            files.reduce(into: [:]) { $0[$1] = FileContents.stamp($1) }
        }
        watcher.watch(files, as: stamps(), isOn: true, now: now)
        #expect(!look() && !look())
        try FileManager.default.removeItem(atPath: link)
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "two")
        #expect(!look() && look(), "seen, then stayed")
        watcher.watch(files, as: stamps(), isOn: true, now: now)
        #expect(!look() && !look())
        try write("missing", "x")
        #expect(!look())
        try write("missing", "xyz")
        #expect(!look() && look(), "still changing at the second look")
        let before = stamps()
        try write("two", "333")
        watcher.watch(files, as: before, isOn: true, now: now)
        #expect(!look() && look(), "changed since it was read")
        watcher.watch([], as: [:], isOn: false, now: now)
        #expect(watcher.deadline == .never)
    }

    @Test("a second of the history is what was counted in it")
    func history() throws {
        let counters = WorkerCounters()
        counters.countResponse(status: 200)
        var history = TrafficHistory()
        var now = Instant.now()
        history.start(at: now)
        history.sample([counters], at: now, wallMilliseconds: 1)
        #expect(history.ring.isEmpty)
        for _ in 0..<3 { counters.countResponse(status: 401) }
        counters.countEnd(reason: .tokenMissing)
        counters.countEnd(reason: .ok)
        counters.countDuration(microseconds: 900)
        history.sample([counters], at: now, wallMilliseconds: 2)
        #expect(history.ring.isEmpty, "the second is not over")
        now = now.advanced(byMilliseconds: 1000)
        history.sample([counters], at: now, wallMilliseconds: 3)
        let second = try #require(history.ring.first)
        #expect(second.classes == [0, 0, 0, 3, 0] && second.reasons.map(\.code) == [.tokenMissing])
        #expect(second.quantiles.allSatisfy { $0 > 900 && $0 <= 1024 } && history.endMilliseconds == 3)
        for _ in 0..<400 {
            now = now.advanced(byMilliseconds: 1000)
            history.sample([counters], at: now, wallMilliseconds: 4)
        }
        #expect(
            history.ring.count == TrafficHistory.seconds && history.ring.last?.classes == [0, 0, 0, 0, 0])
    }
}
