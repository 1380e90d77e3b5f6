import Foundation
import Glibc
import Reactor
import Testing

@testable import Telemetry

/// A file that is removed with the value, and a writer's thread that is stopped with it.
private final class Log {
    let path = NSTemporaryDirectory() + "usher-\(UUID().uuidString).log"
    let writer: LogWriter

    init(capacityBytes: Int = 4 << 20) throws {
        writer = try LogWriter(destination: .file(path), capacityBytes: capacityBytes)
    }

    func start() {
        let writer = writer
        Thread.detachNewThread { try? writer.run() }
    }

    /// Stops the writer and gives what it wrote.
    func finish() throws -> [[String: Any]] {
        writer.stop()
        #expect(writer.waitUntilStopped(milliseconds: 60_000))
        return try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map { line in
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8))
            return try #require(object as? [String: Any])
        }
    }

    deinit {
        unlink(path)
    }
}

private func record(
    _ log: AccessLog, path: [UInt8] = Array("/tasks".utf8), user: String = "", status: Int = 200
) {
    let method = Array("GET".utf8)
    let user = Array(user.utf8)
    var record = AccessRecord()
    record.method = method.span
    record.path = path.span
    record.user = user.span
    record.status = status
    record.time = 1_700_000_000_123
    record.duration = 1_500
    log.record(record)
}

@Suite("Access log")
struct AccessLogTests {
    @Test("a line has every field, and null for what there is not")
    func fields() throws {
        let log = try Log()
        log.start()
        let access = AccessLog(writer: log.writer, counters: WorkerCounters())
        record(access, user: "u1")
        access.endTurn()
        let lines = try log.finish()
        #expect(lines.count == 1)
        let line = try #require(lines.first)
        #expect(line["time"] as? String == "2023-11-14T22:13:20.123Z")
        #expect(line["method"] as? String == "GET")
        #expect(line["path"] as? String == "/tasks")
        #expect(line["status"] as? Int == 200)
        #expect(line["bytes"] as? Int == 0)
        #expect(line["duration_ms"] as? Double == 1.5)
        #expect(line["user"] as? String == "u1")
        #expect(line["reason"] as? String == "ok")
        for name in ["upstream_ms", "route", "request_id", "client", "upstream", "listener"] {
            #expect(line[name] is NSNull, "\(name)")
        }
    }

    @Test("H11: hostile bytes in path and user give one valid line each")
    func hostile() throws {
        let log = try Log()
        log.start()
        let access = AccessLog(writer: log.writer, counters: WorkerCounters())
        let paths: [[UInt8]] = [
            Array("/a\"}\n{\"status\":200".utf8), [0x2f, 0xff, 0xfe, 0x00, 0x1b],
            [UInt8](repeating: 0, count: 9000),
            [UInt8](repeating: 0xff, count: 100_000),
        ]
        for path in paths { record(access, path: path, user: "u\r\n\"\\", status: 400) }
        access.endTurn()
        let lines = try log.finish()
        #expect(lines.count == 4)
        #expect(lines.allSatisfy { $0["status"] as? Int == 400 && $0["user"] as? String == "u\r\n\"\\" })
        #expect((lines[2]["path"] as? String)?.unicodeScalars.count == 1024)
    }

    @Test("lines beyond the queue's room are dropped whole and counted")
    func overflow() throws {
        let log = try Log(capacityBytes: 1000)
        let counters = WorkerCounters()
        let access = AccessLog(writer: log.writer, counters: counters)
        for _ in 0..<20 {
            record(access)
            access.endTurn()
        }
        let lost = Int(counters.value(of: .accessLinesLost))
        #expect(lost > 0)
        log.start()
        #expect(try log.finish().count == 20 - lost)
    }

    @Test("a pipe that nobody reads stops the writer's thread and not the recording one")
    func stuck() throws {
        signal(SIGPIPE, SIG_IGN)
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let writer = try LogWriter(destination: .file("/proc/self/fd/\(ends[1])"), capacityBytes: 200_000)
        Thread.detachNewThread { try? writer.run() }
        let counters = WorkerCounters()
        let access = AccessLog(writer: writer, counters: counters)
        // It would stand here for ever.
        for _ in 0..<10_000 { record(access) }
        access.endTurn()
        #expect(counters.value(of: .accessLinesLost) > 0)
        writer.stop()
        #expect(!writer.waitUntilStopped(milliseconds: 20))
        // What was accepted waits for a reader.
        close(ends[1])
        let reading = ends[0]
        Thread.detachNewThread {
            var room = [UInt8](repeating: 0, count: 65_536)
            while read(reading, &room, room.count) > 0 {}
        }
        #expect(writer.waitUntilStopped(milliseconds: 60_000))
        #expect(writer.linesLost == 0)
    }

    @Test("a named pipe without a reader is opened at once, and keeps its lines for one who comes")
    func namedPipe() throws {
        let path = NSTemporaryDirectory() + "usher-pipe-\(UUID().uuidString)"
        #expect(mkfifo(path, 0o600) == 0)
        defer { unlink(path) }
        let writer = try LogWriter(destination: .file(path))
        Thread.detachNewThread { try? writer.run() }
        let access = AccessLog(writer: writer, counters: WorkerCounters())
        record(access)
        access.endTurn()
        let reading = open(path, O_RDONLY)
        defer { close(reading) }
        var room = [UInt8](repeating: 0, count: 65_536)
        let count = read(reading, &room, room.count)
        #expect(room.prefix(max(count, 0)).last == UInt8(ascii: "\n"))
        writer.stop()
        #expect(writer.waitUntilStopped(milliseconds: 60_000))
        #expect(writer.linesLost == 0)
    }

    @Test("a file that was moved away is opened again")
    func reopen() throws {
        let log = try Log()
        log.start()
        let access = AccessLog(writer: log.writer, counters: WorkerCounters())
        let moved = log.path + ".1"
        rename(log.path, moved)
        defer { unlink(moved) }
        try log.writer.reopen()
        record(access)
        access.endTurn()
        #expect(try log.finish().count == 1)
        #expect(try String(contentsOfFile: moved, encoding: .utf8).isEmpty)
    }

    @Test("off takes no lines and loses none; a bad path changes nothing")
    func off() throws {
        let writer = try LogWriter(destination: .off)
        let counters = WorkerCounters()
        let access = AccessLog(writer: writer, counters: counters)
        #expect(!access.isOn)
        record(access)
        access.endTurn()
        #expect(counters.value(of: .accessLinesLost) == 0)
        #expect(throws: Errno.self) { try writer.redirect(to: .file("/proc/no/such/directory")) }
        #expect(!writer.isOn)
        #expect(throws: Errno.self) { _ = try LogWriter(destination: .file("/")) }
    }
}
