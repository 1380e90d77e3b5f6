import Foundation
import Logging
import Testing

@testable import Control

@Suite("Application log")
struct ApplicationLogTests {
    private func line(
        _ format: ApplicationLog.Format, _ message: String, _ metadata: Logger.Metadata = [:]
    ) -> String {
        ApplicationLog.line(format, time: "T", level: .warning, message: message, metadata: metadata)
    }

    private func object(_ line: String) throws -> [String: Any] {
        #expect(line.hasSuffix("\n") && line.count(where: \.isNewline) == 1)
        return try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    }

    @Test("a JSON line has time, level, message and the metadata by name")
    func json() throws {
        let metadata: Logger.Metadata = [
            "reason": "no \"luck\"", "count": .stringConvertible(3), "on": .stringConvertible(true),
            "list": .array(["a", .stringConvertible(1)]), "map": .dictionary(["k": "v"]),
        ]
        let object = try object(line(.json, "hello", metadata))
        #expect(object["time"] as? String == "T" && object["level"] as? String == "warning")
        #expect(object["message"] as? String == "hello" && object["reason"] as? String == "no \"luck\"")
        #expect(object["count"] as? Int == 3 && object["on"] as? Bool == true)
        #expect((object["map"] as? [String: String]) == ["k": "v"] && (object["list"] as? [Any])?.count == 2)
    }

    @Test(
        "metadata cannot replace time, level or message, nor break the line",
        arguments: ["time", "level", "message"])
    func reserved(name: String) throws {
        let object = try object(
            line(.json, "a\n{\"level\":\"x\"}\u{1b}[31m", [name: "forged", "k\"\n": "v\r\n"]))
        #expect(object["level"] as? String == "warning" && object["time"] as? String == "T")
        #expect(object["metadata_" + name] as? String == "forged" && object["k\"\n"] as? String == "v\r\n")
    }

    @Test("text stays one line, and nothing in it steers a terminal")
    func text() {
        #expect(
            line(.text, "hello you", ["a": "b", "c": "d e", "n": ""])
                == "T warning  hello you a=b c=\"d e\" n=\"\"\n")
        let hostile = line(.text, "x\ny\u{1b}[2J\u{9b}", ["k": "a=b\n", "x y": "\u{7f}"])
        #expect(hostile.count(where: \.isNewline) == 1)
        #expect(
            hostile.unicodeScalars.dropLast().allSatisfy {
                $0.value >= 0x20 && !(0x7f...0x9f).contains($0.value)
            })
    }

    @Test("what is below the level is not written; what is logged goes out with its error and metadata")
    func levels() throws {
        let written = Collector()
        var log = Logger(label: "t") { _ in ApplicationLog(format: .json, level: .info) { written.add($0) } }
        log.debug("hidden")
        log[metadataKey: "all"] = "1"
        log.info("shown", metadata: ["own": "2"])
        log.logLevel = .error
        log.info("hidden too")
        #expect(written.lines.count == 1)
        let object = try object(written.lines[0])
        #expect(object["all"] as? String == "1" && object["own"] as? String == "2")
        #expect((object["time"] as? String)?.count == 24)
    }

    private final class Collector: @unchecked Sendable {
        private let lock = NSLock()
        private var collected: [String] = []
        var lines: [String] { lock.withLock { collected } }
        func add(_ line: [UInt8]) {
            lock.withLock { collected.append(String(decoding: line, as: UTF8.self)) }
        }
    }
}
