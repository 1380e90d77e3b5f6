import Bytes
import CNghttp2

/// Finds the headers of the frames in what is received (RFC 9113 §4.1), so that each can be priced before anything is done
/// about it, whatever its type: nghttp2 tells nobody of those that it ignores.
struct FrameWalk {
    /// The header of a frame.
    struct Header {
        var length = 0
        var type: UInt8 = 0
        var flags: UInt8 = 0
    }

    /// Bytes until the next header: at first the client's preface.
    private var skip = 24
    private var header = Header()
    /// How many of the nine bytes of a header are known.
    private var known = 0

    /// Moves on to the next frame whose header ends in `bytes` behind `offset`; nil where none does.
    @inline(__always)
    mutating func next(_ bytes: Span<UInt8>, _ offset: inout Int) -> Header? {
        while offset < bytes.count {
            if skip > 0 {
                let count = min(skip, bytes.count - offset)
                skip -= count
                offset += count
                continue
            }
            if known == 0, offset <= bytes.count &- 9 {
                let whole = Header(ASCII.word(bytes, at: offset))
                offset += 9
                skip = whole.length
                return whole
            }
            take(bytes[offset])
            offset += 1
            guard known == 9 else { continue }
            let complete = header
            skip = header.length
            known = 0
            header = Header()
            return complete
        }
        return nil
    }

    private mutating func take(_ byte: UInt8) {
        switch known {
        case 0...2: header.length = header.length << 8 | Int(byte)
        case 3: header.type = byte
        case 4: header.flags = byte
        default: break
        }
        known += 1
    }
}

extension FrameWalk.Header {
    /// The header that begins with these eight bytes, the first of them the lowest.
    @inline(__always)
    init(_ word: UInt64) {
        length = Int(word.byteSwapped &>> 40)
        type = UInt8(truncatingIfNeeded: word &>> 24)
        flags = UInt8(truncatingIfNeeded: word &>> 32)
    }

    /// It asks for an answer.
    var isPing: Bool {
        UInt32(type) == NGHTTP2_PING.rawValue && flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0
    }
}
