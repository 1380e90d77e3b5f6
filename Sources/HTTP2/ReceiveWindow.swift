internal import Bytes
internal import CNghttp2

// How much content the other side may send ahead of who takes it (RFC 9113 §5.2).
//
// A stream begins with a window of 64 KiB. Over a way of 100 ms that is 640 KB a second, whatever the line could carry, so
// an upload that moves on gets a wider one: once a whole window of it was taken, which one that nobody reads never sees.

extension HTTP2Session {
    /// Content that was received has gone on, or was thrown away: the other side may send as much again.
    public mutating func consume(_ slot: Int32, _ count: Int) {
        // SAFETY: the session and its state belong to this value.
        let record = unsafe state.pointee.streams[Int(slot)]
        if record.isClosed || record.identifier == 0 {
            _ = unsafe nghttp2_session_consume_connection(session, count)
        } else {
            _ = unsafe nghttp2_session_consume(session, record.identifier, count)
            if !record.isWide, unsafe state.pointee.widens(slot, afterTaking: count) {
                _ = unsafe nghttp2_session_set_local_window_size(
                    session, 0, record.identifier, Int32(HTTP2Limits.wideWindowBytes))
            }
        }
    }

    /// Content of a stream that nobody knows any more was thrown away.
    public mutating func consumeConnection(_ count: Int) {
        // SAFETY: the session belongs to this value.
        _ = unsafe nghttp2_session_consume_connection(session, count)
    }
}

extension SessionState {
    /// Notes that so much of a stream's content was taken; true where its window is to be widened now.
    ///
    /// Towards a backend none is: its connection is shared by clients, and those who do not read would fill its window.
    mutating func widens(_ slot: Int32, afterTaking count: Int) -> Bool {
        guard role == .server else { return false }
        streams[Int(slot)].takenBytes += count
        guard streams[Int(slot)].takenBytes >= HTTP2Limits.streamWindowBytes,
            wideStreams < HTTP2Limits.wideStreamCount
        else { return false }
        streams[Int(slot)].isWide = true
        wideStreams += 1
        return true
    }
}
