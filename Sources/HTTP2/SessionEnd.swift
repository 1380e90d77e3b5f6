import Bytes
import CNghttp2

// The end of a session: GOAWAY, and what it says of streams.

extension HTTP2Session {
    /// Ends the connection with GOAWAY, once the frames before it are sent. A stream whose head has not come whole is not
    /// among those that it names: nothing was done about it, and its client may ask again (RFC 9113 §8.7). Nor is one
    /// that an earlier GOAWAY left out.
    public mutating func end(_ code: HTTP2ErrorCode) {
        // SAFETY: the session and its state belong to this value.
        unsafe state.pointee.isOver = true
        var last = lastLookedAt
        if let unfinished = unsafe state.pointee.unfinishedRequest {
            last = min(last, max(0, unfinished - 2))
        }
        _ = unsafe nghttp2_session_terminate_session2(session, last, code.rawValue)
    }

    /// Says that the connection will end soon, without naming a last stream (RFC 9113 §6.8).
    public mutating func announceEnd() {
        // SAFETY: the session belongs to this value.
        _ = unsafe nghttp2_submit_shutdown_notice(session)
    }

    /// Says which stream is the last that is answered. Those that are open go on; later ones are not looked at.
    ///
    /// From this call on, and not only from when the frame is made, which waits while the client does not read: then
    /// nghttp2 ends what came meanwhile as not processed, and its client may send it again.
    public mutating func refuseNewStreams() {
        // SAFETY: the session and its state belong to this value.
        let last = lastLookedAt
        unsafe state.pointee.lastStream = last
        _ = unsafe nghttp2_submit_goaway(session, 0, last, HTTP2ErrorCode.noError.rawValue, nil, 0)
    }

    private var lastLookedAt: Int32 {
        // SAFETY: the session and its state belong to this value.
        unsafe min(nghttp2_session_get_last_proc_stream_id(session), state.pointee.lastStream)
    }

    /// True for a stream behind the last one that `refuseNewStreams` has named: GOAWAY tells its client, and nghttp2
    /// closes it.
    public func isBehindLast(_ slot: Int32) -> Bool {
        // SAFETY: the state belongs to this value; the array checks the slot.
        unsafe state.pointee.streams[Int(slot)].identifier > state.pointee.lastStream
    }
}
