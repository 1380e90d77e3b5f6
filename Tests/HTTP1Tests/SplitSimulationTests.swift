import Bytes
import HTTP
import Testing

@testable import HTTP1

/// A generator of the same numbers in every run, so that a failure can be repeated (xorshift).
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}

/// Mutated messages, fed in random pieces: how the input is split must not matter.
@Suite("Split simulation")
struct SplitSimulationTests {
    private static let heads = [
        "GET /a?b HTTP/1.1\r\nHost: a\r\nConnection: close, x\r\nX: 1\r\n\r\n",
        "POST http://h/ HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\n",
        "\r\nPUT / HTTP/1.0\r\nTransfer_Encoding: chunked\r\nUser-Agent: a b c d e f g h\r\n\r\n",
    ]
    private static let bodies = [
        "5\r\nhello\r\n1;a=b\r\n,\r\n0\r\n\r\nGET", "A \t;x\r\n0123456789\r\n0\r\nX: 1\r\nY: 2\r\n\r\nrest",
        "0\r\n\r\n0\r\n\r\n",
    ]
    /// Bytes that mean something to a parser.
    private static let meaningful = Array("\r\n\r\n :;,\t\u{0}\u{7f}0aF-_%/HXé".utf8)

    private func mutate(_ text: String, _ random: inout SeededGenerator) -> [UInt8] {
        var bytes = Array(text.utf8)
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            let place = Int.random(in: 0..<bytes.count, using: &random)
            let byte = Self.meaningful.randomElement(using: &random) ?? 0
            switch Int.random(in: 0...2, using: &random) {
            case 0: bytes[place] = byte
            case 1: bytes.insert(byte, at: place)
            default: bytes.remove(at: place)
            }
        }
        return bytes
    }

    private func steps(_ count: Int, _ random: inout SeededGenerator) -> [Int] {
        let cuts = (0..<Int.random(in: 0...6, using: &random)).map { _ in
            Int.random(in: 0...count, using: &random)
        }
        return cuts.sorted() + [count]
    }

    /// A fault in a head whose end has not come may be seen later, or by the timeout; nothing else may differ.
    @Test("F2, RFC 9112 §2.2: mutated request heads", arguments: 1...200)
    func heads(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        for head in Self.heads {
            let bytes = mutate(head, &random)
            let whole = parseRequest(bytes, steps: [bytes.count])
            for steps in [steps(bytes.count, &random), Array(0...bytes.count)] {
                let split = parseRequest(bytes, steps: steps)
                if case .refused = whole.result, split.result == .incomplete { continue }
                #expect(
                    split == whole, "\(String(decoding: bytes, as: UTF8.self).debugDescription) at \(steps)")
            }
        }
    }

    @Test("F2, RFC 9112 §7.1: mutated chunked bodies", arguments: 1...200)
    func bodies(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        for body in Self.bodies {
            let bytes = mutate(body, &random)
            let whole = decodeBody(.chunked, bytes, steps: [])
            for steps in [steps(bytes.count, &random), Array(0...bytes.count)] {
                let split = decodeBody(.chunked, bytes, steps: steps)
                #expect(
                    split == whole, "\(String(decoding: bytes, as: UTF8.self).debugDescription) at \(steps)")
            }
        }
    }
}
