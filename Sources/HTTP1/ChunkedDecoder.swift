import Bytes
import HTTP

/// Finds the data in a chunked body (RFC 9112 §7.1), in input that is split anywhere.
///
/// Lines end with CRLF and nothing else. Sizes are bounded so that they cannot overflow, extensions are bounded and
/// dropped. The trailer section is not taken apart before it is complete: its bytes stay in the input until then.
struct ChunkedDecoder: Sendable, BitwiseCopyable {
    private enum State: UInt8 {
        case size, whitespace, extensionStart, extensionRest, sizeLineFeed
        case data, dataCarriageReturn, dataLineFeed
        case trailers, end, failed
    }

    private var state = State.size
    private var fault = MessageFault.badChunkSize
    /// Digits of the size so far: 15 significant ones at most, leading zeros among 16.
    private var digits: UInt8 = 0
    /// Bytes of this chunk that are still to come.
    private var remaining: UInt64 = 0
    private var extensionBytes: Int32 = 0
    private var extensionBytesInAll: Int32 = 0
    /// How much of the trailer section was searched for its end.
    private var trailerScanned: Int32 = 0

    /// A decoder at the start of a body.
    init() {}

    /// True when `end` was given.
    var isComplete: Bool { state == .end }

    /// The next event of the input from `offset`, which moves behind the bytes that the event used up.
    mutating func next(_ input: Span<UInt8>, _ offset: inout Int) -> BodyEvent {
        while true {
            switch state {
            case .data where offset < input.count: return data(input, &offset)
            case .trailers: return trailers(input, &offset)
            case .end: return .end(trailers: .empty)
            case .failed: return .malformed(fault)
            default:
                guard offset < input.count else { return .needMore }
                take(input[offset])
                if state != .failed { offset += 1 }
            }
        }
    }

    /// One byte of what stands between the data of two chunks.
    private mutating func take(_ byte: UInt8) {
        switch state {
        case .size: takeSize(byte)
        case .whitespace, .extensionStart, .extensionRest: takeExtension(byte)
        case .sizeLineFeed: expect(byte, 0x0A, then: remaining == 0 ? .trailers : .data, else: .badChunkSize)
        case .dataCarriageReturn: expect(byte, 0x0D, then: .dataLineFeed, else: .badChunkEnd)
        case .dataLineFeed:
            expect(byte, 0x0A, then: .size, else: .badChunkEnd)
            (digits, remaining, extensionBytes) = (0, 0, 0)
        case .data, .trailers, .end, .failed: preconditionFailure("handled by next")
        }
    }

    private mutating func takeSize(_ byte: UInt8) {
        if let digit = ASCII.hexadecimalValue(byte) {
            // Below 2^60 after 15 significant digits: no sum of it with an offset overflows.
            guard digits < 16, remaining < 1 << 56 else { return fail(.badChunkSize) }
            digits += 1
            remaining = remaining << 4 | UInt64(digit)
            return
        }
        guard digits > 0 else { return fail(.badChunkSize) }
        switch byte {
        case 0x0D: state = .sizeLineFeed
        case 0x3B: state = .extensionStart
        case 0x20, 0x09: state = .whitespace
        default: fail(.badChunkSize)
        }
    }

    /// RFC 9112 §7.1.1: `*( BWS ";" BWS name [ "=" value ] )`. What they say is dropped.
    private mutating func takeExtension(_ byte: UInt8) {
        extensionBytes += 1
        extensionBytesInAll += 1
        guard extensionBytes <= HeadLimits.chunkExtensionBytes,
            extensionBytesInAll <= HeadLimits.chunkExtensionBytesPerBody
        else { return fail(.chunkExtensionTooLong) }
        switch (state, byte) {
        case (.whitespace, 0x20), (.whitespace, 0x09), (.extensionStart, 0x20), (.extensionStart, 0x09):
            return
        case (.whitespace, 0x3B): state = .extensionStart
        case (.extensionStart, let byte) where ASCII.isToken(byte): state = .extensionRest
        case (.extensionRest, 0x0D): state = .sizeLineFeed
        case (.extensionRest, let byte) where ASCII.isFieldValue(byte): return
        default: fail(.badChunkExtension)
        }
    }

    private mutating func expect(
        _ byte: UInt8, _ wanted: UInt8, then next: State, else fault: MessageFault
    ) {
        if byte == wanted { state = next } else { fail(fault) }
    }

    private mutating func fail(_ fault: MessageFault) {
        self.fault = fault
        state = .failed
    }

    private mutating func data(_ input: Span<UInt8>, _ offset: inout Int) -> BodyEvent {
        let count = Int(min(remaining, UInt64(input.count - offset)))
        let range = ByteRange(start: offset, count: count)
        offset += count
        remaining -= UInt64(count)
        if remaining == 0 { state = .dataCarriageReturn }
        return .data(range)
    }

    /// The trailer section, once its empty line is there.
    private mutating func trailers(_ input: Span<UInt8>, _ offset: inout Int) -> BodyEvent {
        guard let end = endOfTrailers(input, offset) else {
            if input.count - offset >= HeadLimits.trailerBytes { fail(.trailerTooLarge) }
            return state == .failed ? .malformed(fault) : .needMore
        }
        let section = ByteRange(from: offset, to: end)
        if section.count > HeadLimits.trailerBytes {
            fail(.trailerTooLarge)
        } else if let fault = TrailerSection.fault(input, section) {
            fail(fault)
        }
        guard state != .failed else { return .malformed(fault) }
        offset = end + 2
        state = .end
        return .end(trailers: section.isEmpty ? .empty : section)
    }

    /// The offset of the empty line's CRLF, or nil before it has come. A bare line feed is a fault.
    private mutating func endOfTrailers(_ input: Span<UInt8>, _ start: Int) -> Int? {
        var index = start + Int(trailerScanned)
        while index < input.count {
            index = ASCII.firstIndex(of: 0x0A, in: input, from: index, to: input.count)
            guard index < input.count else { break }
            guard index > start, input[index - 1] == 0x0D else {
                fail(.badTrailer)
                return nil
            }
            if index == start + 1 || input[index - 2] == 0x0A { return index - 1 }
            index += 1
        }
        trailerScanned = Int32(input.count - start)
        return nil
    }
}
