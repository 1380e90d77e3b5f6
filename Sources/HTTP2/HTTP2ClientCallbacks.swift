import Bytes
import CNghttp2
import HTTP

// What nghttp2 calls in a session with a backend. What both roles do the same is in HTTP2Callbacks.swift.

/// The callbacks of a client's session; nil where memory is short.
func makeClientCallbacks() -> OpaquePointer? {
    var callbacks: OpaquePointer?
    // SAFETY: an out-parameter; the functions capture nothing.
    guard unsafe nghttp2_session_callbacks_new(&callbacks) == 0 else { return nil }
    unsafe nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, onBeginAnswer)
    unsafe nghttp2_session_callbacks_set_on_header_callback(callbacks, onHeader)
    unsafe nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, onInvalidHeader)
    unsafe nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, onInvalidFrame)
    unsafe nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, onAnswerFrame)
    unsafe nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, onData)
    unsafe nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, onClose)
    unsafe nghttp2_session_callbacks_set_send_data_callback(callbacks, onSendData)
    return unsafe callbacks
}

private func onBeginAnswer(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?, _ data: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe state(data), let frame = unsafe frame else { return failure }
    // SAFETY: the frame is valid for the call, and one of HEADERS; slots are stored as numbers.
    guard let slot = unsafe slot(session, frame.pointee.hd.stream_id) else { return 0 }
    let isFull = unsafe state.pointee.withScratch { $0.text.count > HTTP2Scratch.textBytes } ?? true
    guard !isFull else {
        _ = unsafe nghttp2_submit_rst_stream(
            session, 0, frame.pointee.hd.stream_id, HTTP2ErrorCode.enhanceYourCalm.rawValue)
        return streamFailure
    }
    let hasHead = unsafe state.pointee.streams[Int(slot)].hasFinalHead
    unsafe state.pointee.begin(hasHead ? .trailers : .answer, slot)
    return 0
}

private func onAnswerFrame(
    _ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>?, _ data: UnsafeMutableRawPointer?
) -> Int32 {
    guard let state = unsafe state(data), let frame = unsafe frame else { return failure }
    // SAFETY: the frame is valid for the call, and of the type that its header says.
    let header = unsafe frame.pointee.hd
    let endsStream = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    switch UInt32(header.type) {
    case NGHTTP2_SETTINGS.rawValue:
        unsafe state.pointee.hasSettings = true
        return 0
    case NGHTTP2_HEADERS.rawValue:
        guard unsafe finishAnswer(state, endsStream: endsStream) else {
            _ = unsafe refuseSection(session, header.stream_id, state)
            return 0
        }
    case NGHTTP2_DATA.rawValue:
        break
    default:
        return 0
    }
    if endsStream, let slot = unsafe slot(session, header.stream_id) {
        unsafe state.pointee.note(.end(slot: slot))
    }
    return 0
}

/// Turns the section that is complete into an event; false where it is beyond the limits.
private func finishAnswer(_ state: State, endsStream: Bool) -> Bool {
    // SAFETY: the state is the one of the session that calls.
    // A section that is over is none, and its slot may be another session's.
    let slot = unsafe state.pointee.withScratch { $0.section.kind == .none ? -1 : $0.section.slot } ?? -1
    let isOfHead = unsafe slot >= 0 && state.pointee.streams[Int(slot)].isHead
    let finished = unsafe state.pointee.withScratch { scratch -> (slot: Int32, isFinal: Bool)? in
        let start = scratch.text.count
        guard scratch.section.kind != .none else { return (-1, false) }
        guard scratch.section.fault == nil else { return nil }
        var isFinal = false
        if scratch.section.kind == .answer {
            isFinal = !scratch.section.isInterim
            scratch.section.appendAnswer(
                to: &scratch.text, isWhole: endsStream && !isOfHead)
            scratch.events.append(.answer(slot: slot, text: scratch.text.range(since: start)))
        } else {
            scratch.section.appendTrailers(to: &scratch.text)
            scratch.events.append(.trailers(slot: slot, text: scratch.text.range(since: start)))
        }
        scratch.section.end()
        return (slot, isFinal)
    }
    guard case .some(.some(let section)) = finished else { return false }
    if section.isFinal { unsafe state.pointee.streams[Int(section.slot)].hasFinalHead = true }
    return true
}
