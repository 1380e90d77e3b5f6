import Bytes
import Testing

@testable import HTTP1

@Suite("WebSocket frames")
struct WebSocketFramesTests {
    /// A frame of RFC 6455 §5.2 with that many payload bytes.
    private func frame(_ size: Int, opcode: UInt8 = 2, isFinal: Bool = true, isMasked: Bool = false)
        -> [UInt8]
    {
        var bytes = [opcode | (isFinal ? 0x80 : 0)]
        let mask: UInt8 = isMasked ? 0x80 : 0
        switch size {
        case ..<126: bytes.append(UInt8(size) | mask)
        case ..<65_536: bytes += [126 | mask, UInt8(size >> 8), UInt8(size & 255)]
        default: bytes += [127 | mask] + (0..<8).reversed().map { UInt8(size >> ($0 * 8) & 255) }
        }
        if isMasked { bytes += [1, 2, 3, 4] }
        // Payload that looks like a Close frame, were it looked at.
        return bytes + [UInt8](repeating: 0x88, count: size)
    }

    private let sizes = [0, 1, 125, 126, 127, 255, 256, 65_535, 65_536, 70_000]

    @Test(
        "RFC 6455 §5.2: boundaries are found whatever the length's form, masked or not",
        arguments: [false, true])
    func boundaries(isMasked: Bool) {
        var frames = WebSocketFrames()
        #expect(frames.isAtBoundary)
        for size in sizes {
            let bytes = frame(size, isMasked: isMasked)
            #expect(frames.advance(over: bytes.span.extracting(first: bytes.count - 1)) == bytes.count - 1)
            #expect(!frames.isAtBoundary, "before the last byte of \(size)")
            #expect(frames.advance(over: bytes.span.extracting(last: 1)) == 1)
            #expect(frames.isAtBoundary && !frames.hasClosed, "behind \(size)")
        }
    }

    @Test("every split into two gives the same, and so does byte by byte")
    func splits() {
        let stream = frame(3, isFinal: false) + frame(200, opcode: 0) + frame(0, opcode: 9) + frame(130)
        for split in 0...stream.count {
            var frames = WebSocketFrames()
            _ = frames.advance(over: stream.span.extracting(first: split))
            _ = frames.advance(over: stream.span.extracting(droppingFirst: split))
            #expect(frames.isAtBoundary)
        }
        var frames = WebSocketFrames()
        var boundaries: [Int] = []
        for index in stream.indices {
            _ = frames.advance(over: stream.span.extracting(index..<index + 1))
            if frames.isAtBoundary { boundaries.append(index + 1) }
        }
        #expect(boundaries == [5, 209, 211, 345])
    }

    @Test("stops behind the frame that is under way")
    func stopping() {
        let stream = frame(300) + frame(5)
        for first in 1...303 {
            var frames = WebSocketFrames()
            _ = frames.advance(over: stream.span.extracting(first: first))
            let rest = stream.span.extracting(droppingFirst: first)
            #expect(frames.advance(over: rest, stopping: true) == 304 - first)
            #expect(frames.isAtBoundary)
        }
        var frames = WebSocketFrames()
        #expect(frames.advance(over: stream.span, stopping: true) == 304)
        #expect(frames.advance(over: stream.span.extracting(first: 100), stopping: true) == 100)
        #expect(!frames.isAtBoundary)
    }

    @Test("RFC 6455 §5.5.1: a Close frame is noticed with its first byte")
    func close() {
        var frames = WebSocketFrames()
        _ = frames.advance(over: frame(2, opcode: 8).span.extracting(first: 1))
        #expect(frames.hasClosed && !frames.isAtBoundary)
    }

    @Test("a length of all ones does not overflow")
    func largest() {
        var frames = WebSocketFrames()
        let header: [UInt8] = [0x82, 127] + [UInt8](repeating: 0xFF, count: 8)
        _ = frames.advance(over: header.span)
        #expect(!frames.isAtBoundary)
        #expect(frames.advance(over: [UInt8](repeating: 0, count: 5000).span, stopping: true) == 5000)
        #expect(!frames.isAtBoundary)
    }

    @Test("RFC 6455 §5.5.1: the Close frame that the proxy writes")
    func writing() {
        var pool = BlockPool(keptBytes: 0)
        var buffer = Buffer()
        buffer.attach(from: &pool, .tiny)
        defer { buffer.detach(to: &pool) }
        let fits = buffer.appendWebSocketClose(.policyViolation, reason: "bye")
        #expect(fits)
        var written: [UInt8] = []
        for index in buffer.bytes.indices { written.append(buffer.bytes[index]) }
        #expect(written == [0x88, 5, 0x03, 0xF0] + Array("bye".utf8))
        var frames = WebSocketFrames()
        _ = frames.advance(over: written.span)
        #expect(frames.isAtBoundary && frames.hasClosed)
        while buffer.append(0) {}
        let fitsAgain = buffer.appendWebSocketClose(.goingAway, reason: "")
        #expect(!fitsAgain)
    }
}
