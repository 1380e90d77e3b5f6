internal import Bytes
internal import HTTP2

// What a session does with the buffers of a stream, whoever's it is.

extension Transport {
    /// True of a stream whose end has not come, or has trailers before it. A length does not say that a message is over: trailers
    /// may follow any content (RFC 9113 §8.1). That the content has the length is what the session sees to (§8.1.1).
    var mayOweTrailers: Bool { isStream && !(hasEnded && trailing.isEmpty) }

    /// Keeps the trailer lines that a session has decoded until the body before them has gone on.
    mutating func keepTrailers(
        _ text: ByteRange, of scratch: borrowing HTTP2Scratch, from pool: inout BlockPool
    ) {
        guard !text.isEmpty, let size = BlockPool.SizeClass.holding(Int(text.count) + 2) else { return }
        trailing.attach(from: &pool, size)
        let fits = trailing.append(scratch.text.span(text)) && trailing.append("\r\n")
        precondition(fits, "the block was chosen for it")
    }

    /// Copies a DATA frame, whose content is the beginning of the output, to the connection's own output.
    mutating func moveContent(of frame: HTTP2DataFrame, to frames: inout Buffer, _ pool: inout BlockPool) {
        let fits =
            frames.append(word: frame.header) && frames.append(frame.lastHeaderByte)
            && frames.append(output.bytes.extracting(first: Int(frame.count)))
        precondition(fits, "the session was told how much room there is")
        output.consume(Int(frame.count))
        isWritable = true
        sentBytes &+= UInt64(frame.count)
        output.detachIfEmpty(to: &pool)
    }
}
